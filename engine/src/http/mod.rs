//! The server's side of HTTP: connections, and what is asked over them.

mod answer;
mod body;
mod decode_cost;
mod json;
mod origin;
mod participant_json;
mod room_service;
mod routes;
mod server;
mod signalling;
mod socket;
mod validate;
mod websocket;

pub(crate) use origin::WELL_KNOWN_PAIR;
pub(crate) use server::serve;
