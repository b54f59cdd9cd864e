//! How an event of a CSV or JSON input comes by its key: from one column or member, or from
//! several, joined.
//!
//! Invariant: different values never make the same key, so a part that has the separator in it
//! is refused where there are several.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// Names of columns or members, at least one.
#[derive(Clone, Debug)]
pub struct Keys {
    names: Vec<String>,
    separator: String,
}

impl Keys {
    /// These, with a text between their values.
    pub fn new(names: Vec<String>, separator: String) -> Self {
        Self { names, separator }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The key of these values.
    pub fn join(&self, values: Vec<String>) -> Result<String, String> {
        if let [_, _, ..] = &values[..]
            && let Some(value) = values.iter().find(|value| value.contains(&self.separator))
        {
            let separator = &self.separator;
            return Err(format!(
                "{value:?}, a part of the key, has {separator:?} in it; choose another \
                 --key-separator"
            ));
        }
        Ok(values.join(&self.separator))
    }

    /// The key of a JSON value.
    pub fn of(&self, value: &RawValue) -> Result<String, String> {
        self.join(self.names.iter().map(|name| member(value, name)).collect::<Result<_, _>>()?)
    }
}

/// The text, number or boolean that a name, or a JSON pointer, finds.
fn member(value: &RawValue, name: &str) -> Result<String, String> {
    let none = || format!("there is no {name:?} (--key)");
    let mut found = value;
    let steps = match name.strip_prefix('/') {
        Some(pointer) => {
            pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
        }
        None => vec![name.to_owned()],
    };
    for step in steps {
        found = child(found.get(), &step).ok_or_else(none)?;
    }
    let text = found.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str(text).map_err(|_| format!("{name:?} is no Unicode text"))
        }
        Some(b'{' | b'[' | b'n') | None => {
            Err(format!("{name:?} is no text, number or boolean, so no key"))
        }
        Some(_) => Ok(text.to_owned()),
    }
}

fn child<'v>(value: &'v str, step: &str) -> Option<&'v RawValue> {
    if value.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
        return items.get(step.parse::<usize>().ok()?).copied();
    }
    let members: HashMap<Cow<'v, str>, &RawValue> = serde_json::from_str(value).ok()?;
    members.get(step).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(names: &[&str], json: &str) -> Result<String, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Keys::new(names, "/".into()).of(serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn members_and_pointers_find_texts_and_numbers_as_they_stand() {
        let json = r#"{"id":1.50,"n\u0061me":"ä\n","in":{"a/b":[true,"x"]},"o":{},"z":null}"#;
        assert_eq!(key(&["id"], json).as_deref(), Ok("1.50"));
        assert_eq!(key(&["name"], json).as_deref(), Ok("ä\n"));
        assert_eq!(key(&["/in/a~1b/1"], json).as_deref(), Ok("x"));
        assert_eq!(key(&["id", "/in/a~1b/0"], json).as_deref(), Ok("1.50/true"));
        for name in ["no", "o", "z", "/in", "/in/a~1b/2", "/id/x"] {
            assert!(key(&[name], json).is_err(), "{name}");
        }
    }

    #[test]
    fn two_rows_never_get_one_key_by_joining() {
        let names = ["a", "b"];
        assert_eq!(key(&names, r#"{"a":"1","b":"2"}"#).as_deref(), Ok("1/2"));
        assert!(key(&names, r#"{"a":"1/2","b":"3"}"#).is_err());
        assert_eq!(key(&["a"], r#"{"a":"1/2"}"#).as_deref(), Ok("1/2"), "alone, it may");
    }
}
