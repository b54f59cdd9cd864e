//! The configuration in writing: the template, and what is in force. Both are TOML.
//!
//! Not here: the help of the command line (`cli.rs`).
//! Invariant: no secret is shown.

use std::fmt::Write as _;

use super::layers::Loaded;
use super::settings::SETTINGS;

const COLUMNS: usize = 96;

const INTRODUCTION: &str = "Configuration of Tidelog; `tidelog serve --config FILE` reads it.\n\
    A line like #name = … is a setting with its default: take the # away to change it.\n\
    A flag wins over a TIDELOG_… variable, a variable over this file. `tidelog config` prints\n\
    what is in force and where it comes from.";

const TOKENS: &str = "Tokens. Without any, everybody who can connect may do everything, and only\n\
    a loopback address is listened on. `tidelog token` makes a token and its table:\n\
    \n  [[token]]\
    \n  name = \"orders\"                     (for logs; unique)\
    \n  sha256 = \"…\"                        (64 hexadecimal digits)\
    \n  topics = [\"orders\", \"invoices.*\"]   (names, or beginnings of names and a *)\
    \n  access = \"write\"                    (\"read\", or \"write\", which includes read)";

/// A documented file in which everything is at its default.
#[must_use]
pub fn template() -> String {
    let mut out = comment(INTRODUCTION);
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            out += &format!("\n# ---- {group} ----\n");
        }
        let bounds = setting.bounds().map(|bounds| format!(" {bounds}")).unwrap_or_default();
        let help = wrapped(&format!("{}{bounds}", setting.paragraph()));
        let value = toml_value(setting.default);
        out += &format!("\n{}#{} = {value}\n", comment(&help), setting.name);
    }
    out += "\n# ---- Tokens ----\n\n";
    out += &comment(TOKENS);
    out
}

impl Loaded {
    /// What is in force and where each value comes from; secrets are masked.
    #[must_use]
    pub fn report(&self) -> String {
        let line = |given: &super::source::Given| {
            format!("{} = {}", given.setting.name, toml_value(&given.shown()))
        };
        let width = self.in_force.given.iter().map(|given| line(given).chars().count()).max();
        let width = width.unwrap_or(0).min(60);
        let mut out = String::new();
        for given in &self.in_force.given {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:width$}  # {}", line(given), given.origin());
        }
        for token in &self.config.tokens {
            let topics: Vec<String> =
                token.topics.iter().map(|topic| format!("\"{topic}\"")).collect();
            let _ = write!(
                out,
                "\n[[token]]\nname = \"{}\"\nsha256 = \"***\"\ntopics = [{}]\naccess = \"{}\"\n",
                token.name,
                topics.join(", "),
                token.access
            );
        }
        out
    }
}

/// A value as TOML: numbers, true and false as they are, anything else in quotes.
fn toml_value(text: &str) -> String {
    if text.parse::<u64>().is_ok() || text.parse::<bool>().is_ok() {
        return text.to_owned();
    }
    toml::Value::from(text).to_string()
}

fn comment(text: &str) -> String {
    let line = |line: &str| format!("# {line}").trim_end().to_owned() + "\n";
    text.lines().map(line).collect()
}

/// Breaks a paragraph into lines.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column + 1 + length > COLUMNS {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
