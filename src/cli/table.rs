//! Tables for people. Printed piece by piece, so that any number of rows takes constant memory;
//! columns only grow wider from piece to piece.
//!
//! Invariant: nothing of an event can control the terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, Width, presets};

use crate::domain::{Content, Data, EventBody, ReadEvent};
use crate::wire::time::rfc3339;

/// Characters of data that are looked at; a terminal shows fewer.
const DATA_CHARS_MAX: usize = 1_000;

/// Columns that are printed piece by piece.
pub struct Columns<const N: usize> {
    titles: Option<[&'static str; N]>,
    widths: [u16; N],
}

impl<const N: usize> Columns<N> {
    /// Columns with these titles, which come above the first rows.
    pub fn new(titles: [&'static str; N]) -> Self {
        Self { titles: Some(titles), widths: [0; N] }
    }

    /// The next rows as text; empty where there are none.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = [String; N]>) -> String {
        let mut table = Table::new();
        let arrangement = arrangement(table.width());
        table.load_style(presets::NOTHING).set_content_arrangement(arrangement);
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return String::new();
        }
        if let Some(titles) = self.titles.take() {
            table.set_header(titles);
        }
        for cells in rows {
            let mut row = Row::from(cells.iter().map(|cell| visible(cell)).collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        let found = table.column_max_content_widths();
        for (at, column) in table.column_iter_mut().enumerate() {
            self.widths[at] = self.widths[at].max(found.get(at).copied().unwrap_or(0));
            if at + 1 < N {
                column.set_padding((0, 2));
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(
                    self.widths[at] + 2,
                )));
            } else {
                column.set_padding((0, 0));
            }
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// To the width of the terminal, where it has one: that of a `script` or of an expect is often 0.
fn arrangement(width: Option<u16>) -> ContentArrangement {
    if width == Some(0) { ContentArrangement::Disabled } else { ContentArrangement::Dynamic }
}

/// Events in columns.
pub struct EventTable(Columns<6>);

impl Default for EventTable {
    fn default() -> Self {
        Self(Columns::new(["SEQ", "TRANSACTION", "RECORDED", "KEY", "TYPE", "DATA"]))
    }
}

impl EventTable {
    /// The next events as text.
    pub fn rows(&mut self, events: &[ReadEvent]) -> String {
        self.0.rows(events.iter().map(row))
    }
}

fn row(read: &ReadEvent) -> [String; 6] {
    let event = &read.event;
    let transaction = event.version.transaction;
    let transaction = match read.invalidated_by {
        Some(by) => format!("{transaction} (not since {by})"),
        None => transaction.to_string(),
    };
    let (key, kind, data) = match &event.body {
        EventBody::Content(content) => (
            content.key.as_str().to_owned(),
            content.event_type.as_ref().map_or_else(String::new, |kind| kind.as_str().to_owned()),
            data(content),
        ),
        EventBody::Invalidation(invalidation) => {
            let reason = invalidation.reason.as_ref();
            let reason = reason.map_or_else(String::new, |reason| format!(": {}", reason.as_str()));
            let data = format!("invalidates transaction {}{reason}", invalidation.invalidates);
            (String::new(), String::new(), data)
        }
    };
    // Seconds are enough for people.
    let mut recorded = rfc3339(event.recorded_at).replace('T', " ");
    recorded.truncate(recorded.find('.').unwrap_or(recorded.len()));
    [event.version.seq.to_string(), transaction, recorded, key, kind, data]
}

fn data(content: &Content) -> String {
    match &content.data {
        Data::Json(json) => json.as_str().chars().take(DATA_CHARS_MAX).collect(),
        Data::Binary(bytes, media) => format!("<{} bytes of {}>", bytes.len(), media.as_str()),
    }
}

/// The text with blanks for line breaks and tabs, and escapes for what else controls a terminal.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_table_stay_aligned_and_have_one_header() {
        let mut columns = Columns::new(["A", "B"]);
        let first = columns.rows([["long-cell".to_owned(), "1".to_owned()]]);
        let second = columns.rows([["x".to_owned(), "2".to_owned()]]);
        assert_eq!(first.lines().collect::<Vec<_>>(), ["A          B", "long-cell  1"]);
        assert_eq!(second, "x          2\n");
        assert_eq!(columns.rows([]), "");
    }

    #[test]
    fn a_terminal_without_a_width_is_not_taken_for_one_of_no_width() {
        assert!(matches!(arrangement(Some(0)), ContentArrangement::Disabled));
        assert!(matches!(arrangement(Some(80)), ContentArrangement::Dynamic));
    }

    #[test]
    fn a_cell_cannot_control_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\u{9b}\nc"), "a\\u{1b}[2Jb\\u{9b} c");
    }
}
