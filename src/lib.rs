//! The native core of `@maravilla-labs/platform`. Imports go down only.
//!
//! - [`binding`]: the only floor that knows Node; values and promises across the boundary.
//! - [`provider`]: where rooms live, behind one trait.
//! - [`media`]: rooms, participants, tokens and errors, pure.

pub mod binding;
pub mod media;
pub mod provider;

#[cfg(test)]
mod floors;
