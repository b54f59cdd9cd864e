//! What a setting is, and the macro that makes a typed [`Config`](super::Config) and a list of
//! [`Setting`]s from one table (`settings.rs`).

/// All that flags, variables, keys of the file, the template and the help need to know.
pub(super) struct Setting {
    /// Key in the file; the flag and the variable follow from it.
    pub(super) name: &'static str,
    /// Heading that it stands under.
    pub(super) group: &'static str,
    /// What it does.
    pub(super) help: &'static str,
    /// What the help shows in the place of a value.
    pub(super) placeholder: &'static str,
    /// Its value where none is given.
    pub(super) default: &'static str,
    /// Smallest and largest value; empty where the form says it all.
    pub(super) range: &'static [&'static str],
    /// Says what is wrong with a value, as the end of a sentence.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// A value as it may be shown to people.
    pub(super) shown: fn(&str) -> String,
}

impl Setting {
    /// The flag, without its two hyphens.
    pub(super) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("TIDELOG_{}", self.name.to_ascii_uppercase())
    }

    /// What it does, as one paragraph.
    pub(super) fn paragraph(&self) -> &'static str {
        self.help.trim()
    }

    /// What values it takes, where the help does not say so; ends in a full stop.
    pub(super) fn bounds(&self) -> Option<String> {
        match self.range {
            [min, max] => Some(format!("From {min} to {max}.")),
            _ => None,
        }
    }
}

/// Makes `Config` and `SETTINGS` from groups of
/// `/// help` `name: Type as Form = "default" in "min" to "max";` (the range may be left out).
macro_rules! settings {
    ($($group:literal {
        $($(#[doc = $help:literal])+
        $name:ident: $type:ty as $form:ident = $default:literal
            $(in $min:literal to $max:literal)?;)+
    })+) => {
        /// Everything that an operator decides; validated. Sizes are in bytes.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $help])+ pub $name: $type,)+)+
            /// Who may do what; empty where everybody who can connect may do everything. Only
            /// the file can give them.
            pub tokens: Vec<Token>,
        }

        impl Config {
            /// Reads every value from its text, which has been checked before.
            pub(super) fn from_checked<'a>(
                text: impl Fn(&'static str) -> &'a str,
                tokens: Vec<Token>,
            ) -> Self {
                Self {
                    $($($name: <$form as Form>::parse(text(stringify!($name)))
                        .expect("a value is checked before it is read"),)+)+
                    tokens,
                }
            }
        }

        /// Every setting, in the order of the table.
        pub(super) static SETTINGS: &[Setting] = &[$($(Setting {
            name: stringify!($name),
            group: $group,
            help: concat!($($help),+),
            placeholder: <$form as Form>::PLACEHOLDER,
            default: $default,
            range: &[$($min, $max)?],
            check: |text| {
                let value = <$form as Form>::parse(text);
                $(let value = value.and_then(|value| within::<$form>(value, $min, $max));)?
                value.map(drop)
            },
            shown: <$form as Form>::shown,
        }),+),+];
    };
}

pub(super) use settings;
