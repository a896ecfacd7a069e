//! A value that must not be shown. Owns the hiding; refuses to know where the value comes from (`config::secret`).

use std::fmt;

/// A secret text: a signing key, a webhook URL, a token. `Debug` and `Display` never show it, so it cannot reach a log
/// by accident; [`Secret::expose`] is the one way in and easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value, which must not be empty: an empty key would verify what anybody signs.
    pub fn new(value: String) -> Option<Secret> {
        (!value.is_empty()).then_some(Secret(value))
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
