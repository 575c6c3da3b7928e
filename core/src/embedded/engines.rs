use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig, StartError};
use uuid::Uuid;

use super::EmbeddedConfig;
use super::webhooks::webhook_config;
use crate::token::Signer;
use crate::{ConfigFault, MediaError, Secret};

/// LiveKit's default port.
const DEFAULT_PORT: u16 = 7880;

/// A running engine and its signer.
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) signer: Signer,
    /// Host that clients connect to, as in a URL.
    pub(super) advertised_host: String,
    credentials: (String, Secret),
    rtc: RtcConfig,
    webhook_urls: Vec<Secret>,
}

/// The shared engine of the process: of all its worker threads, test files and reloaded modules. It ends with the process.
static SHARED: Mutex<Option<Arc<Running>>> = Mutex::new(None);

/// The shared engine, which the first call starts.
pub(super) fn shared(config: &EmbeddedConfig) -> Result<Arc<Running>, MediaError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = &*shared {
        return check_same(running, config).map(|()| running.clone());
    }
    let running = Arc::new(start(config, Port::From(DEFAULT_PORT))?);
    *shared = Some(running.clone());
    Ok(running)
}

/// Starts an engine of the caller's own.
pub(super) fn own(config: &EmbeddedConfig) -> Result<Arc<Running>, MediaError> {
    start(config, Port::Any).map(Arc::new)
}

/// Rejects a configuration that differs from that of the running engine. An option that is not set matches.
fn check_same(running: &Running, config: &EmbeddedConfig) -> Result<(), MediaError> {
    let address = running.engine.address();
    let differs = if config.host.is_some_and(|host| host != address.ip()) {
        "host"
    } else if config.port.is_some_and(|port| port != 0 && port != address.port()) {
        "port"
    } else if config.credentials.as_ref().is_some_and(|credentials| *credentials != running.credentials) {
        "apiKey or apiSecret"
    } else if !config.webhook_urls.is_empty() && config.webhook_urls != running.webhook_urls {
        "webhookUrls"
    } else if config.rtc_port.is_some_and(|port| Some(port) != running.rtc.port) {
        "rtcPort"
    } else if !config.rtc_addresses.is_empty() && config.rtc_addresses != running.rtc.addresses {
        "rtcAddress"
    } else {
        return Ok(());
    };
    Err(MediaError::InvalidConfig(ConfigFault::OtherEngine(differs)))
}

fn start(config: &EmbeddedConfig, default_port: Port) -> Result<Running, MediaError> {
    let port = match config.port {
        None => default_port,
        Some(0) => Port::Any,
        Some(port) => Port::Exactly(port),
    };
    let (key, secret) = config.credentials.clone().unwrap_or_else(random_credentials);
    let keys = &[(key.as_str(), secret.expose())];
    let host = config.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let rtc = rtc_config(config, host);
    let webhooks = webhook_config(&config.webhook_urls)?;
    let started = Engine::start(&Config { host, port, keys, limits: Limits::default(), rtc: rtc.clone(), webhooks });
    let engine = started.map_err(|error| start_error(config, host, &error))?;
    let advertised_host = config.advertised_host.clone().unwrap_or_else(|| host.to_string());
    let signer = Signer::new(&key, &secret);
    let webhook_urls = config.webhook_urls.clone();
    Ok(Running { engine, signer, advertised_host, credentials: (key, secret), rtc, webhook_urls })
}

/// Where media is received. Only on loopback if signalling listens there, and neither another address nor a server of the app
/// makes it reachable: clients are then on this machine.
fn rtc_config(config: &EmbeddedConfig, host: IpAddr) -> RtcConfig {
    let is_reachable = config.public_url.is_some() || !config.rtc_addresses.is_empty() || config.is_attached;
    let local_only = host.is_loopback() && !is_reachable;
    RtcConfig { port: config.rtc_port, addresses: config.rtc_addresses.clone(), local_only }
}

fn start_error(config: &EmbeddedConfig, host: IpAddr, error: &StartError) -> MediaError {
    let port = config.port.unwrap_or_default();
    MediaError::InvalidConfig(match error {
        StartError::Media(_) => ConfigFault::RtcPort { port: config.rtc_port.unwrap_or_default() },
        StartError::Listen(error) if error.kind() == ErrorKind::AddrInUse => ConfigFault::PortTaken { host, port },
        StartError::Listen(error)
            if matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied) =>
        {
            ConfigFault::Listen { host, port }
        }
        StartError::Listen(_) | StartError::Thread(_) => return MediaError::ResourceExhausted,
        // The facade passes no empty key.
        StartError::EmptyKey => return MediaError::Internal,
    })
}

fn random_credentials() -> (String, Secret) {
    let random = || Uuid::new_v4().simple().to_string();
    (format!("API{}", &random()[..12]), Secret::new(random() + &random()))
}
