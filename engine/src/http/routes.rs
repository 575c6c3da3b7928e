//! Routing of requests, CORS and authentication.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;

use super::body;
use super::origin;
use super::query::Query;
use super::response::{self, Meta, Response, TwirpError};
use super::room_service::{Call, CallError, Codec, METHODS};
use super::socket::Progress;
use super::upgrade;
use super::validate::{self, Path};
use crate::auth::token::{Claims, TokenError};
use crate::shared::Shared;
use crate::work::Kind;

const ROOM_SERVICE: &str = "/twirp/livekit.RoomService";
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// Maximum characters of a client's text in an error message; the rest is cut off.
const MAX_QUOTED: usize = 256;
const ALLOWED_METHODS: [&str; 6] = ["OPTIONS", "HEAD", "GET", "POST", "PATCH", "DELETE"];

/// Handles one request.
pub(super) async fn handle(shared: &Arc<Shared>, progress: &Progress, request: Request<Incoming>) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    // RFC 9112, section 3.2.
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
        return response::text(StatusCode::BAD_REQUEST, "400 Bad Request: one Host header is needed");
    }
    let is_foreign = shared.has_well_known_key && origin::is_foreign(request.headers());
    if !is_foreign && let Some(preflight) = preflight(&request) {
        return preflight;
    }
    // Web pages of all origins may read why a join was rejected.
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let is_validation = matches!(&*path, "/rtc/validate" | "/rtc/v1/validate");
    drop(path);
    let may_read = !is_foreign && ALLOWED_METHODS.contains(&request.method().as_str());
    // Boxed, because this future is large, and every idle connection would have space for it.
    let mut response = if is_foreign { origin::rejection() } else { Box::pin(route(shared, progress, request)).await };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|_| may_read) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    }
    if is_validation {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// The response to a CORS preflight request; `None` for any other request. All origins are allowed, because tokens authorize
/// requests.
fn preflight(request: &Request<Incoming>) -> Option<Response> {
    let method = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if request.method() != Method::OPTIONS || method.is_empty() {
        return None;
    }
    let mut response = response::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(VARY, HeaderValue::from_static(vary));
    let origin = request.headers().get(ORIGIN);
    if let Some(origin) = origin.filter(|_| ALLOWED_METHODS.iter().any(|allowed| method == allowed)) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        // Private Network Access: a page from a public address requests one from a private address.
        if request.headers().get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            headers.append(VARY, HeaderValue::from(REQUEST_PRIVATE_NETWORK));
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        let names = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| !names.is_empty());
        headers.extend(names.map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names.clone())));
    }
    Some(response)
}

async fn route(shared: &Arc<Shared>, progress: &Progress, request: Request<Incoming>) -> Response {
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let claims = match claims(shared, request.headers(), &query).await {
        Ok(claims) => claims,
        Err(message) => return response::text(StatusCode::UNAUTHORIZED, message),
    };
    if claims.is_some() {
        progress.authenticate();
    }
    let path = plain_path(uri.path());
    // A server URL that ends in a slash results in two.
    let path = path.strip_prefix('/').filter(|path| path.starts_with('/')).unwrap_or(&path);
    match path {
        "/" => response::text(StatusCode::OK, "OK"),
        "/rtc/validate" => response::validated(validate::check(shared, Path::V0, &query, claims, true).await.map(drop)),
        "/rtc/v1/validate" => {
            response::validated(validate::check(shared, Path::V1, &query, claims, true).await.map(drop))
        }
        "/rtc" | "/rtc/v1" if !wants_websocket(request.headers()) => response::empty(StatusCode::NOT_FOUND),
        "/rtc" | "/rtc/v1" => {
            let path = if path == "/rtc" { Path::V0 } else { Path::V1 };
            match validate::check(shared, path, &query, claims, false).await {
                Ok(admission) => upgrade::open(shared, request, admission).await,
                refused => response::validated(refused.map(drop)),
            }
        }
        _ => match path.strip_prefix(ROOM_SERVICE).and_then(|rest| rest.strip_prefix('/')) {
            Some(method) => room_service(shared, request, path, method, claims.as_ref()).await,
            None if is_other_service(request.method(), path) => unimplemented(path),
            None => not_found(),
        },
    }
}

/// The percent-decoded path. A path with an encoded slash stays encoded, because proxies do not treat that as a separator.
fn plain_path(raw: &str) -> Cow<'_, str> {
    if raw.to_ascii_lowercase().contains("%2f") { raw.into() } else { percent_decode_str(raw).decode_utf8_lossy() }
}

/// Whether a path belongs to a service that the engine lacks: another Twirp service, WHIP, or agent workers.
fn is_other_service(verb: &Method, path: &str) -> bool {
    let twirp = path.strip_prefix("/twirp/").and_then(|path| path.split_once('/'));
    let is_twirp = twirp.is_some_and(|(service, method)| !service.is_empty() && !method.is_empty());
    (is_twirp && verb == Method::POST) || path == "/agent" || path.starts_with("/whip/")
}

fn unimplemented(path: &str) -> Response {
    let text = format!("{path}: not supported by this server");
    response::twirp(StatusCode::NOT_IMPLEMENTED, &TwirpError::new("unimplemented", &text))
}

fn not_found() -> Response {
    let mut response = response::text(StatusCode::NOT_FOUND, "404 page not found\n");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The claims of the request's token; `None` without a token. The header takes precedence over the query parameter.
///
/// # Errors
/// livekit-server's message for an invalid token.
async fn claims(shared: &Arc<Shared>, headers: &HeaderMap, query: &Query<'_>) -> Result<Option<Claims>, String> {
    let token = match headers.get(AUTHORIZATION).filter(|header| !header.is_empty()) {
        Some(header) => {
            let token = header.as_bytes().strip_prefix(b"Bearer ").filter(|token| !token.is_empty());
            let token = token.ok_or("invalid authorization header. Must start with Bearer ")?;
            // Bytes that are not UTF-8 are not a token, and `?` is not one either.
            std::str::from_utf8(token).unwrap_or("?")
        }
        None => query.get("access_token").unwrap_or_default(),
    };
    if token.is_empty() {
        return Ok(None);
    }
    let (services, length, token) = (shared.services.clone(), token.len(), token.to_owned());
    let verified = shared.work.run(Kind::Unauthenticated, length, move || services.keys.verify(&token)).await;
    verified.unwrap_or(Err(TokenError::Malformed)).map(Some).map_err(|error| error.to_string())
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    let names = |header, name: &str| {
        let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(name))
    };
    names(CONNECTION, "upgrade") && names(UPGRADE, "websocket")
}

async fn room_service(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    path: &str,
    method: &str,
    claims: Option<&Claims>,
) -> Response {
    let (verb, path) = (&*quoted(request.method().as_str()), &*quoted(path));
    if request.method() != Method::POST {
        return bad_route(verb, path, &format!("unsupported method \"{verb}\" (only POST is allowed)"));
    }
    if !METHODS.contains(&method) {
        return bad_route(verb, path, &format!("no handler for path \"{path}\""));
    }
    let kind = request.headers().get(CONTENT_TYPE).map_or_else(String::new, |kind| {
        String::from_utf8_lossy(&kind.as_bytes()[..kind.len().min(MAX_QUOTED)]).into_owned()
    });
    let codec = match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Codec::Json,
        "application/protobuf" => Codec::Protobuf,
        _ => return bad_route(verb, path, &format!("unexpected Content-Type: {kind:?}")),
    };
    let grants = claims.and_then(|claims| claims.video.as_ref());
    let may_call = grants.is_some_and(|grants| grants.room_create || grants.room_list || grants.room_admin);
    let body = match body::read(shared, request, may_call).await {
        Ok(body) => body,
        Err(error) => return error.response(),
    };
    match (Call { shared, grants, codec, body: body.bytes.clone() }).run(method).await {
        Ok(body) => {
            let kind = if codec == Codec::Json { "application/json" } else { "application/protobuf" };
            let held = body::hold(shared, body);
            held.map_or_else(|error| error.response(), |body| response::with_body(StatusCode::OK, kind, body))
        }
        Err(CallError::Refused(error)) => response::refused(&error),
        Err(CallError::NoSuchMethod) => bad_route(verb, path, &format!("no handler for path \"{path}\"")),
        Err(CallError::Malformed) => {
            let codec = if codec == Codec::Json { "json" } else { "protobuf" };
            let text = format!("the {codec} request could not be decoded");
            response::twirp(StatusCode::BAD_REQUEST, &TwirpError::new("malformed", &text))
        }
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED).collect()
}

fn bad_route(verb: &str, path: &str, text: &str) -> Response {
    let route = format!("{verb} {path}");
    let meta = Some(Meta::TwirpInvalidRoute(&route));
    response::twirp(StatusCode::NOT_FOUND, &TwirpError { code: "bad_route", msg: text, meta })
}
