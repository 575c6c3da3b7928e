use std::time::Duration;

/// What an engine bears before it refuses more, or ends what takes too long. The default suits every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once: one more ends the one that has been idle for longest.
    pub connections: usize,
    /// Participants at once, in all rooms together.
    pub participants: usize,
    /// The longest time from one request's end to the end of the next one's head.
    pub header_timeout: Duration,
    /// The longest time a body may take.
    pub body_timeout: Duration,
    /// The longest time in which a client takes nothing of its answer.
    pub write_timeout: Duration,
    /// The most bytes that all large requests with a good token may hold together; those without may hold half as many besides.
    pub request_bytes: usize,
    /// The most bytes that all large answers may hold together until they are taken; a single one may be longer.
    pub response_bytes: usize,
    /// Maximum time from the beginning to the end of a client's message on a signalling connection; past it the connection
    /// is closed.
    pub signal_timeout: Duration,
    /// Maximum bytes of the messages of all clients that are incomplete or not decoded yet; past it the connection with the
    /// oldest one is closed.
    pub incomplete_bytes: usize,
    /// Maximum memory of all decoded messages that are not dealt with; past it the next one waits.
    pub decoded_bytes: usize,
    /// Maximum bytes of the messages that wait for all clients; the more there are, the fewer may wait for one client.
    pub outgoing_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            participants: 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            request_bytes: 64 * 1024 * 1024,
            response_bytes: 64 * 1024 * 1024,
            signal_timeout: Duration::from_secs(30),
            incomplete_bytes: 64 * 1024 * 1024,
            decoded_bytes: 64 * 1024 * 1024,
            outgoing_bytes: 64 * 1024 * 1024,
        }
    }
}
