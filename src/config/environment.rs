//! Environment variables: `TIDELOG_…` gives a setting; a name that none has is a mistake, because
//! a typo must not be silent.

use std::ffi::OsString;
use std::path::PathBuf;

use super::settings::SETTINGS;
use super::source::{Given, Mistake, Source};
use super::suggest::did_you_mean;
use super::table::Setting;

const PREFIX: &str = "TIDELOG_";
/// Names the file.
pub(super) const CONFIG: &str = "TIDELOG_CONFIG";

/// What the variables say.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) given: Vec<Given>,
    pub(super) file: Option<PathBuf>,
    pub(super) mistakes: Vec<Mistake>,
}

/// Sorts the variables that are for this program, by name.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Environment {
    let mut environment = Environment::default();
    let mut ours: Vec<(&str, &OsString)> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        environment.variable(name, value);
    }
    environment
}

impl Environment {
    fn variable(&mut self, name: &str, value: &OsString) {
        if name == CONFIG && !value.is_empty() {
            self.file = Some(value.into());
            return;
        }
        let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
        match (setting, value.to_str()) {
            (Some(setting), Some(text)) => {
                let source = Source::Variable;
                self.given.push(Given { setting, text: text.to_owned(), source });
            }
            (Some(_), None) => self.mistakes.push(Mistake::new(name, "is not UTF-8")),
            (None, _) if name == CONFIG => {
                self.mistakes.push(Mistake::new(name, "is empty; it must name a file"));
            }
            (None, text) if is_not_for_us(name, text.unwrap_or("")) => {}
            (None, _) => {
                let known: Vec<String> =
                    SETTINGS.iter().map(Setting::variable).chain([CONFIG.to_owned()]).collect();
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                self.mistakes.push(Mistake::new(name, format!("is not a setting{hint}")));
            }
        }
    }
}

/// Variables that begin like ours and say nothing to the service: those of the commands that ask a
/// service (`cli/place.rs`), those of the tests, and those that Kubernetes sets for every Service whose name is or begins with `tidelog`
/// (`TIDELOG_SERVICE_HOST`, `TIDELOG_PORT=tcp://…`, `TIDELOG_PORT_4810_TCP_ADDR`).
fn is_not_for_us(name: &str, value: &str) -> bool {
    let command = matches!(name, "TIDELOG_URL" | "TIDELOG_TOKEN" | "TIDELOG_CA");
    let test = name == "TIDELOG_SEED" || name.starts_with("TIDELOG_TEST_");
    let service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let link = name.ends_with("_PORT") && value.contains("://");
    let port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < rest.len() && digits.starts_with('_')
    });
    command || test || service || link || port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(variables: &[(&str, &str)]) -> Vec<String> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        read(&variables).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_variable_that_is_no_setting_is_a_mistake_with_a_hint() {
        let expected = ["TIDELOG_LISEN: is not a setting; did you mean TIDELOG_LISTEN?"];
        assert_eq!(mistakes(&[("TIDELOG_LISEN", "x"), ("LISEN", "x"), ("PATH", "/bin")]), expected);
        assert_eq!(mistakes(&[("TIDELOG_PORT", "4810")]).len(), 1);
        assert_eq!(mistakes(&[("TIDELOG_PORT_NUMBER", "4810")]).len(), 1);
    }

    #[test]
    fn variables_of_other_commands_of_kubernetes_and_of_tests_are_no_mistakes() {
        let foreign = [
            ("TIDELOG_URL", "http://h"),
            ("TIDELOG_TOKEN", "secret"),
            ("TIDELOG_CA", "ca.pem"),
            ("TIDELOG_SEED", "7"),
            ("TIDELOG_TEST_POSTGRES", "postgres://h"),
            ("TIDELOG_SERVICE_HOST", "10.0.0.1"),
            ("TIDELOG_SERVICE_PORT", "4810"),
            ("TIDELOG_SERVICE_PORT_HTTP", "4810"),
            ("TIDELOG_PORT", "tcp://10.0.0.1:4810"),
            ("TIDELOG_PORT_4810_TCP", "tcp://10.0.0.1:4810"),
            ("TIDELOG_PORT_4810_TCP_ADDR", "10.0.0.1"),
            ("TIDELOG_POSTGRES_SERVICE_HOST", "10.0.0.1"),
        ];
        assert_eq!(mistakes(&foreign), Vec::<String>::new());
    }

    #[test]
    fn no_setting_is_hidden_by_a_foreign_variable() {
        for setting in SETTINGS {
            assert!(!is_not_for_us(&setting.variable(), "a://b"), "{}", setting.name);
        }
    }
}
