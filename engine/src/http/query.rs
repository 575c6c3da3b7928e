//! Query parameters of a request target.

use std::borrow::Cow;

/// Maximum number of query parameters; further ones are ignored. Clients send about twenty.
const MAX_PARAMETERS: usize = 64;

/// Query parameters. The first one of a name counts.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).take(MAX_PARAMETERS).collect())
    }

    /// The value of a parameter; `None` if it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }
}
