//! The parameters of an address.

use std::borrow::Cow;

/// Maximum number of parameters in an address; further ones are ignored. Clients send some twenty.
const MAX_PARAMETERS: usize = 64;

/// The parameters of an address. Where one comes twice, the first counts.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).take(MAX_PARAMETERS).collect())
    }

    /// The value of a parameter; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }
}
