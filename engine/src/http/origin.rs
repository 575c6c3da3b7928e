//! Origin check for an engine with the well-known development key. Any web page could sign tokens with it, so requests from
//! pages of other machines are rejected. Requests without an `Origin` header do not come from web pages.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::StatusCode;
use hyper::header::{HeaderMap, ORIGIN};

use super::response::{self, Response};

/// The key and secret of `livekit-server --dev`.
pub(crate) const WELL_KNOWN_PAIR: (&str, &str) = ("devkey", "secret");

const REJECTION: &str = "this server uses the well-known key and secret (devkey and secret), so it rejects requests from web \
    pages that are not served by this machine; start the server with a key and a secret of your own";

/// Whether the request comes from a web page that another machine serves.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get_all(ORIGIN).iter().any(|origin| !origin.to_str().is_ok_and(is_loopback))
}

pub(super) fn rejection() -> Response {
    response::text(StatusCode::FORBIDDEN, REJECTION)
}

/// Whether an origin's host is this machine: `localhost`, a subdomain of it, 127.0.0.0/8 or `[::1]`. An opaque origin (`null`)
/// is not.
fn is_loopback(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    if let Some((host, port)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host.parse() == Ok(Ipv6Addr::LOCALHOST) && is_port(port);
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let is_local = host == "localhost" || host.ends_with(".localhost");
    (is_name && is_local || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())) && is_port(port)
}

/// Whether `text` is empty, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_loopback_origins() {
        for origin in [
            "http://localhost",
            "https://localhost:5173",
            "http://LOCALHOST:80",
            "http://localhost.:80",
            "http://app.localhost:3000",
            "http://a_b.c-d.localhost",
            "http://127.0.0.1",
            "http://127.1.2.3:65535",
            "http://[::1]",
            "https://[::1]:5173",
            "capacitor://localhost",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
    }

    #[test]
    fn rejects_foreign_opaque_and_malformed_origins() {
        for origin in [
            "",
            "null",
            "localhost",
            "http://",
            "https://evil.example",
            "https://evil.example:7880",
            "http://localhost.evil.example",
            "http://evil.example#.localhost",
            "http://evil.example/.localhost",
            "http://evil.example?.localhost",
            "http://evil.example\\.localhost",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://localhost:80@evil.example",
            "http://evil.example:localhost",
            "http://notlocalhost",
            "http://0.0.0.0",
            "http://192.168.1.5:5173",
            "http://[::]",
            "http://[::1].evil.example",
            "http://[::1",
            "http://[::ffff:127.0.0.1]",
            "http://localhost:99999",
            "http://evil.example, http://localhost",
            "file://",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
