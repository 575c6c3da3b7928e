//! Signalling connections: `WebSocket`s that carry `SignalRequest` and `SignalResponse`.

pub(crate) mod connection;
mod websocket;
