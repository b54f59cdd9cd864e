//! The TOML file: every key is a setting, `[[token]]` tables are tokens, anything else is a
//! mistake with its line.
//!
//! Not here: the values of settings (`form.rs`); they leave this file as text.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::SETTINGS;
use super::source::{Given, Mistake, Source};
use super::suggest::did_you_mean;
use super::token::{self, Access, Token, TopicPattern};

/// Key of the tokens.
pub(super) const TOKEN: &str = "token";
const TOKEN_KEYS: [&str; 4] = ["name", "sha256", "topics", "access"];

/// What the file says.
#[derive(Default)]
pub(super) struct File {
    pub(super) given: Vec<Given>,
    /// The tokens that were understood.
    pub(super) tokens: Vec<Token>,
    /// Whether there were others.
    pub(super) has_wrong_token: bool,
    pub(super) mistakes: Vec<Mistake>,
}

impl File {
    /// A file of which nothing else can be said.
    pub(super) fn of_mistakes(mistakes: Vec<Mistake>) -> Self {
        Self { mistakes, ..Self::default() }
    }
}

/// A key with its value, and where they are.
type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// Reads the file.
///
/// # Errors
/// When nothing can be said about its keys: it is not there, or it is not TOML.
pub(super) fn read(path: &Path) -> Result<File, Vec<Mistake>> {
    let name: Arc<str> = path.display().to_string().into();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Mistake::new(&*name, format!("cannot be read: {error}"))])?;
    let mut reader = Reader { path: name, text: &text, file: File::default() };
    let (document, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let mistakes = errors.iter().map(|error| {
            let at = reader.at(&error.span().unwrap_or_default());
            Mistake::new(at, format!("is not TOML: {}", error.message().replace('\n', ", ")))
        });
        return Err(mistakes.collect());
    }
    for entry in by_line(document.get_ref()) {
        reader.entry(entry);
    }
    Ok(reader.file)
}

/// The entries of a table, in the order of the file.
fn by_line<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct Reader<'a> {
    path: Arc<str>,
    text: &'a str,
    file: File,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn at(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.path, self.line(span))
    }

    fn mistake(&mut self, span: &Range<usize>, key: &str, what: impl std::fmt::Display) {
        let at = format!("{}: {key}", self.at(span));
        self.file.mistakes.push(Mistake::new(at, what));
    }

    fn entry(&mut self, (key, value): Entry<'_>) {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        if name == TOKEN {
            return self.tokens(&span, value.get_ref());
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let known = SETTINGS.iter().map(|setting| setting.name).chain([TOKEN]);
            let what = format!("is not a setting{}", did_you_mean(name, known));
            return self.mistake(&span, name, what);
        };
        match scalar(value.get_ref()) {
            Ok(text) => {
                let source = Source::File { path: self.path.clone(), line: self.line(&span) };
                self.file.given.push(Given { setting, text, source });
            }
            Err(what) => self.mistake(&span, name, what),
        }
    }

    fn tokens(&mut self, span: &Range<usize>, value: &DeValue<'_>) {
        let before = self.file.mistakes.len();
        let DeValue::Array(tokens) = value else {
            self.file.has_wrong_token = true;
            return self.mistake(span, TOKEN, "must be written as [[token]], once for each token");
        };
        for token in tokens.iter() {
            match token.get_ref() {
                DeValue::Table(table) => self.token(&token.span(), table),
                _ => self.mistake(&token.span(), TOKEN, "must be a table"),
            }
        }
        self.file.has_wrong_token = self.file.mistakes.len() > before;
    }

    fn token(&mut self, span: &Range<usize>, table: &DeTable<'_>) {
        for (key, _) in by_line(table) {
            let name = key.get_ref().as_ref();
            if !TOKEN_KEYS.contains(&name) {
                let hint = if SETTINGS.iter().any(|setting| setting.name == name) {
                    "; settings stand above the first [[token]]".to_owned()
                } else {
                    did_you_mean(name, TOKEN_KEYS)
                };
                let what = format!("is not a key of a token{hint}");
                self.mistake(&key.span(), &format!("{TOKEN}.{name}"), what);
            }
        }
        let name = self.field(span, table, "name", |value| token::parse_name(text(value)?));
        let sha256 = self.field(span, table, "sha256", |value| token::parse_sha256(text(value)?));
        let topics = self.field(span, table, "topics", topics);
        let access = self.field(span, table, "access", |value| Access::parse(text(value)?));
        let (Some(name), Some(sha256), Some(topics), Some(access)) = (name, sha256, topics, access)
        else {
            return;
        };
        let earlier = &self.file.tokens;
        if earlier.iter().any(|earlier| earlier.name == name) {
            self.mistake(span, TOKEN, format!("has the name {name:?}, as an earlier one has"));
        } else if earlier.iter().any(|earlier| earlier.sha256 == sha256) {
            self.mistake(span, TOKEN, format!("{name:?} has the sha256 of an earlier one"));
        } else {
            self.file.tokens.push(Token { name, sha256, topics, access });
        }
    }

    /// One field of a token; a mistake where it is missing or wrong.
    fn field<T>(
        &mut self,
        token: &Range<usize>,
        table: &DeTable<'_>,
        name: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let found = table.iter().find(|(key, _)| key.get_ref() == name);
        let (span, parsed) = match found {
            Some((key, value)) => (key.span(), parse(value.get_ref())),
            None => (token.clone(), Err("is missing".to_owned())),
        };
        parsed.map_err(|what| self.mistake(&span, &format!("{TOKEN}.{name}"), what)).ok()
    }
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| "must be a text in quotes".to_owned())
}

fn topics(value: &DeValue<'_>) -> Result<Vec<TopicPattern>, String> {
    let expected =
        "must be a list of topics, such as [\"orders\", \"invoices.*\"], or [\"*\"] for all";
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or(expected)?;
    let parse = |item: &Spanned<DeValue<'_>>| {
        TopicPattern::parse(item.get_ref().as_str().ok_or_else(|| expected.to_owned())?)
    };
    items.iter().map(parse).collect()
}

/// The value of a setting as text.
fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Integer(digits) => i128::from_str_radix(digits.as_str(), digits.radix())
            .map(|number| number.to_string())
            .map_err(|_| "is too large a number".to_owned()),
        other => Err(format!(
            "is of the type {}; it must be a text in quotes, a whole number, true or false",
            other.type_str()
        )),
    }
}
