//! The server's side of HTTP: connections, and what is asked over them.

pub(crate) mod body;
pub(crate) mod json;
mod origin;
mod participant_json;
pub(crate) mod response;
mod room_service;
pub(crate) mod routes;
mod server;
pub(crate) mod socket;
pub(crate) mod validate;

pub(crate) use origin::WELL_KNOWN_PAIR;
pub(crate) use server::serve;
