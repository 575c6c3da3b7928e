//! The server's side of HTTP: connections, and what is asked over them.

mod answer;
mod body;
mod json;
mod participant_json;
mod parts;
mod room_service;
mod routes;
mod server;
mod signalling;
mod socket;
mod validate;

pub(crate) use server::serve;
