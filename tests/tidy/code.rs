//! Rust as far as these checks need it: where code is, and where comments, texts and tests are.

/// The code of a file: comments, the insides of strings and characters, and items that are only
/// compiled for tests are blanks. Line breaks stay.
pub fn code_of(text: &str) -> String {
    without_tests(without_texts(text))
}

fn blank(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

fn without_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden(rest, out.chars().next_back());
        if hidden > 0 {
            blank(&mut out, &rest[..hidden]);
            rest = &rest[hidden..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// How many bytes from the begin of `rest` on are a comment, a string or a character.
fn hidden(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + closing(inside, '"');
    }
    if !in_word && let Some(length) = raw_string(rest) {
        return length;
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Bytes up to and with the quote that is not escaped.
fn closing(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

/// A character; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest[1..].chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + closing(&rest[1..], '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn without_tests(code: String) -> String {
    const TESTS: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = &code[..];
    while let Some(at) = rest.find(TESTS) {
        out.push_str(&rest[..at]);
        let item = at + TESTS.len() + item(&rest[at + TESTS.len()..]);
        blank(&mut out, &rest[at..item]);
        rest = &rest[item..];
    }
    out.push_str(rest);
    out
}

/// Bytes of the item that begins here: to its semicolon, or to the end of its braces.
fn item(rest: &str) -> usize {
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    rest.len()
}

/// Where a word stands by itself, not as a part of a longer one: byte positions.
pub fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let begins = word.starts_with(part);
    let ends = word.ends_with(part);
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back().is_some_and(part);
        let after = code[at + word.len()..].chars().next().is_some_and(part);
        !(begins && before || ends && after)
    })
}

/// The line of a byte position, from 1.
pub fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The modules of the crate that the code of a file names by `crate::…` or by `super::…` beyond
/// its own top module, each with its line.
pub fn modules_used(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for at in words(code, "crate::") {
        let names = heads(&code[at + "crate::".len()..]);
        used.extend(names.into_iter().map(|name| (line(code, at), name)));
    }
    let depth = depth(path);
    let mut after = 0;
    for at in words(code, "super::") {
        if at < after {
            continue; // Part of the chain before.
        }
        let chain = &code[at..];
        let supers = chain.len() - chain.trim_start_matches("super::").len();
        after = at + supers;
        if supers / "super::".len() >= depth {
            let names = heads(&code[after..]);
            used.extend(names.into_iter().map(|name| (line(code, at), name)));
        }
    }
    used
}

/// How many modules a file is below the crate: 0 for `src/lib.rs`, 2 for `src/domain/batch.rs`.
fn depth(path: &str) -> usize {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let parts = below.split('/').count();
    let name = below.rsplit('/').next().unwrap_or(below);
    parts - usize::from(matches!(name, "mod.rs" | "lib.rs" | "main.rs"))
}

/// The first names of a path, or of every path of a group in braces.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return head(rest).into_iter().collect() };
    let (mut depth, mut heads, mut begin) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begin = true,
            c if begin && !c.is_whitespace() => {
                heads.extend(head(&group[at..]));
                begin = false;
            }
            _ => {}
        }
    }
    heads
}

fn head(rest: &str) -> Option<String> {
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}
