//! How foreign text stands in a log line of `key=value` facts. Owns the quoting; refuses to know what is logged.

use std::borrow::Cow;

/// The text as it is where it is one plain word, else quoted, so that what a sender chose cannot forge a fact of ours.
pub fn value(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:/[]".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_stand_bare() {
        assert_eq!(value("72d3162e-cc78-11e3-81ab-4c9367dc0958"), "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        assert_eq!(value("x peer=10.0.0.1"), "\"x peer=10.0.0.1\"");
        assert_eq!(value("a\" b=\"c"), "\"a\\\" b=\\\"c\"");
        assert_eq!(value(""), "\"\"");
    }
}
