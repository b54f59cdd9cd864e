//! "Begins with this and comes after that" as two bounds that an index understands.

/// Texts with a prefix are exactly those in `from..to`, in byte order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The lowest.
    pub(super) from: String,
    /// The first beyond.
    pub(super) to: String,
}

/// Bounds of the names or keys that begin with `prefix` and come after `after`; `None` where
/// there can be none.
pub(super) fn prefixed(prefix: &str, after: Option<&str>) -> Option<Bounds> {
    if prefix.contains('\0') {
        return None; // No name has one, and the database cannot even be asked.
    }
    let mut from = prefix.to_owned();
    if let Some(after) = after {
        let before_nul = after.split('\0').next().unwrap_or_default();
        // U+0001 is the lowest character of a name: nothing fits between.
        from = from.max(format!("{before_nul}\u{1}"));
    }
    Some(Bounds { from, to: successor(prefix) })
}

/// Bounds of one text.
pub(super) fn exactly(text: &str) -> Bounds {
    Bounds { from: text.to_owned(), to: format!("{text}\u{1}") }
}

/// The lowest text above all that begin with `prefix` and have at most 1,024 bytes.
fn successor(prefix: &str) -> String {
    let kept = prefix.trim_end_matches(char::MAX);
    let mut text = kept.to_owned();
    match text.pop() {
        Some('\u{D7FF}') => text.push('\u{E000}'),
        Some(last) => text.push(char::from_u32(u32::from(last) + 1).expect("below char::MAX")),
        None => text.extend(std::iter::repeat_n(char::MAX, 257)),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_exactly_the_texts_that_were_asked_for() {
        let texts = [
            "\u{1}",
            "a",
            "a\u{1}",
            "a\u{2}",
            "aa",
            "b",
            "é",
            "\u{D7FF}",
            "\u{D7FF}x",
            "\u{E000}",
            "\u{10FFFF}",
            "\u{10FFFF}\u{10FFFF}",
            "\u{10FFFF}z",
            "a\u{10FFFF}",
            "a\u{10FFFF}b",
        ];
        for prefix in ["", "a", "\u{D7FF}", "\u{10FFFF}", "a\u{10FFFF}", "b"] {
            for after in [None, Some(""), Some("a"), Some("a\0z"), Some("\u{10FFFF}")] {
                let bounds = prefixed(prefix, after).expect("no NUL");
                for text in texts {
                    let wanted = text.starts_with(prefix) && after.is_none_or(|a| text > a);
                    let held = *bounds.from <= *text && *text < *bounds.to;
                    assert_eq!(held, wanted, "{text:?} with {prefix:?} after {after:?}");
                }
            }
        }
        assert_eq!(prefixed("a\0", None), None);
    }
}
