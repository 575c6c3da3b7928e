//! Signalling connections: WebSockets that carry `SignalRequest` and `SignalResponse`.

pub(crate) mod connection;
mod websocket;
