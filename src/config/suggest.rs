//! "Did you mean …?" for names that do not exist.

/// The end of a message about a name that is not known: the nearest known one, if one is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let near = known
        .into_iter()
        .map(|known| (distance(&plain, &known.to_ascii_lowercase()), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4);
    near.map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"))
}

/// Letters to put in, take out or replace to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen", "lisen", 1),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["listen", "queue_events_max"];
        assert_eq!(did_you_mean("lisen", known), "; did you mean listen?");
        assert_eq!(did_you_mean("Queue-Events-Max", known), "; did you mean queue_events_max?");
        assert_eq!(did_you_mean("colour", known), "");
    }
}
