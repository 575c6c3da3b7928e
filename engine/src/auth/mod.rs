//! Access tokens.

pub(crate) mod grants;
pub(crate) mod strict_json;
pub mod token;
