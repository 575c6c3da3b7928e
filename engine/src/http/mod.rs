//! The HTTP server: connections, the server API, and the upgrade to signalling connections.

mod body;
mod json;
mod origin;
mod participant_json;
mod query;
mod response;
mod room_service;
mod routes;
mod server;
mod socket;
mod upgrade;
mod validate;

pub(crate) use origin::WELL_KNOWN_PAIR;
pub(crate) use server::serve;
