//! Bounded texts for errors: whatever a stranger chose the length of is cut before it goes into a message.

/// The beginning of a text, with dots where it was cut.
pub fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Some of a list of names, each cut to a readable length, and how many more there are.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> =
        names.by_ref().take(NAMES_MAX).map(|name| clipped(name, NAME_CHARS_MAX)).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Together at most about 500 characters, so that a few lists still make one short text.
const NAMES_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 60;
