//! The server's side of HTTP: connections, and what is asked over them.

mod answer;
mod json;
mod room_service;
mod routes;
mod server;
mod validate;

pub(crate) use server::serve;
