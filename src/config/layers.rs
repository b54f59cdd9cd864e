//! Flags over variables over the file over defaults, checked on the way; all mistakes together.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::settings::{Config, SETTINGS};
use super::source::{ConfigError, Given, Source};
use super::table::Setting;
use super::{check, environment, file};

/// What the process was started with.
pub struct Inputs {
    /// Settings given by flags.
    pub(super) flags: Vec<(&'static Setting, String)>,
    /// The file named by a flag; wins over the variable.
    pub(super) file: Option<PathBuf>,
    /// The environment.
    pub(super) variables: Vec<(OsString, OsString)>,
}

/// The configuration that is in force.
pub struct Loaded {
    /// Its values.
    pub config: Config,
    pub(super) in_force: InForce,
}

/// For every setting the value that won, in the order of the table.
pub(super) struct InForce {
    pub(super) given: Vec<Given>,
    unsound: HashSet<&'static str>,
}

impl InForce {
    fn new() -> Self {
        let default = |setting: &'static Setting| Given {
            setting,
            text: setting.default.to_owned(),
            source: Source::Default,
        };
        Self { given: SETTINGS.iter().map(default).collect(), unsound: HashSet::new() }
    }

    /// Puts a value over those of the layers below.
    fn put(&mut self, given: Given, sound: bool) {
        let name = given.setting.name;
        if sound {
            self.unsound.remove(name)
        } else {
            self.unsound.insert(name)
        };
        let slot = self.given.iter_mut().find(|slot| slot.setting.name == name);
        *slot.expect("there is a slot for every setting of the table") = given;
    }

    /// Whether all tokens were understood: wrong ones are not "no tokens".
    pub(super) fn has_sound_tokens(&self) -> bool {
        !self.unsound.contains(file::TOKEN)
    }

    /// The value in force, unless it is wrong in itself.
    pub(super) fn sound(&self, name: &str) -> Option<&Given> {
        if self.unsound.contains(name) {
            return None;
        }
        self.given.iter().find(|given| given.setting.name == name)
    }

    /// The text in force; the default where that is wrong.
    fn text(&self, name: &'static str) -> &str {
        self.sound(name).map_or_else(|| super::settings::setting(name).default, |given| &given.text)
    }
}

/// Reads all sources.
///
/// # Errors
/// With every mistake in every source, also in values that another source overrides.
pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let environment = environment::read(&inputs.variables);
    let path = inputs.file.as_ref().or(environment.file.as_ref());
    let read = path.map_or_else(|| Ok(file::File::default()), |path| file::read(path));
    let readable = read.is_ok();
    let mut file = read.unwrap_or_else(file::File::of_mistakes);
    let mut mistakes = std::mem::take(&mut file.mistakes);
    mistakes.extend(environment.mistakes);
    let flags = inputs.flags.iter().map(|(setting, text)| Given {
        setting,
        text: text.clone(),
        source: Source::Flag,
    });
    let mut in_force = InForce::new();
    if file.has_wrong_token {
        in_force.unsound.insert(file::TOKEN);
    }
    for given in file.given.into_iter().chain(environment.given).chain(flags) {
        let checked = (given.setting.check)(&given.text);
        mistakes.extend(checked.as_ref().err().map(|what| given.mistake(what)));
        in_force.put(given, checked.is_ok());
    }
    let config = Config::from_checked(|name| in_force.text(name), file.tokens);
    if readable {
        mistakes.extend(check::check(&config, &in_force));
    }
    if mistakes.is_empty() { Ok(Loaded { config, in_force }) } else { Err(ConfigError(mistakes)) }
}
