//! Access tokens.

pub(crate) mod strict_json;
pub mod token;
