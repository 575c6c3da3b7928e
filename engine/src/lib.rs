//! A media server in the process of its caller that speaks LiveKit's protocol, as livekit-server 1.13 does: rooms, tokens
//! and the server API over HTTP. It knows nothing of Node, of environment variables, or of who calls it.
//!
//! - [`Engine`]: starts, serves and ends one server; its rooms can be used without HTTP.
//! - [`rooms`]: what rooms are and when they end. No clock, no lock, no network.
//! - [`revocation`]: which tokens a deleted room still takes.
//! - [`token`]: whether a token is good.
//! - `http`: the server API, and the clients' signalling connections.
//! - `media`: participants, and what they send each other.

mod clock;
mod engine;
mod http;
mod limits;
mod media;
mod refusal;
pub mod revocation;
pub mod rooms;
mod strict;
pub mod token;

pub use clock::Now;
pub use engine::{Config, Engine, Port, StartError};
pub use limits::Limits;
pub use refusal::{Refusal, RpcFault};
