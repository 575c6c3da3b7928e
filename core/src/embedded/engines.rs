use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig, StartError};
use uuid::Uuid;

use super::EmbeddedConfig;
use crate::token::Signer;
use crate::{ConfigFault, MediaError, Secret};

/// LiveKit's own port.
const STANDARD_PORT: u16 = 7880;

/// An engine that runs, and what signs its tokens.
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) signer: Signer,
    /// Its host where clients connect, as a URL writes it.
    pub(super) advertised_host: String,
    credentials: (String, Secret),
    rtc: RtcConfig,
}

/// The engine of the process: worker threads, test files and reloaded modules all meet in it. It ends with the process.
static SHARED: Mutex<Option<Arc<Running>>> = Mutex::new(None);

/// The process's engine, started if it is the first call for it.
pub(super) fn shared(config: &EmbeddedConfig) -> Result<Arc<Running>, MediaError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = &*shared {
        return check_same(running, config).map(|()| running.clone());
    }
    let running = Arc::new(start(config, Port::From(STANDARD_PORT))?);
    *shared = Some(running.clone());
    Ok(running)
}

/// An engine of the caller's own.
pub(super) fn own(config: &EmbeddedConfig) -> Result<Arc<Running>, MediaError> {
    start(config, Port::Any).map(Arc::new)
}

/// What is not given fits every engine.
fn check_same(running: &Running, config: &EmbeddedConfig) -> Result<(), MediaError> {
    let address = running.engine.address();
    let differs = if config.host.is_some_and(|host| host != address.ip()) {
        "host"
    } else if config.port.is_some_and(|port| port != 0 && port != address.port()) {
        "port"
    } else if config.credentials.as_ref().is_some_and(|credentials| *credentials != running.credentials) {
        "apiKey or apiSecret"
    } else if config.rtc_port.is_some_and(|port| Some(port) != running.rtc.port) {
        "rtcPort"
    } else if !config.rtc_addresses.is_empty() && config.rtc_addresses != running.rtc.addresses {
        "rtcAddress"
    } else {
        return Ok(());
    };
    Err(MediaError::InvalidConfig(ConfigFault::OtherEngine(differs)))
}

fn start(config: &EmbeddedConfig, standard: Port) -> Result<Running, MediaError> {
    let port = match config.port {
        None => standard,
        Some(0) => Port::Any,
        Some(port) => Port::Exactly(port),
    };
    let (key, secret) = config.credentials.clone().unwrap_or_else(random_credentials);
    let keys = &[(key.as_str(), secret.expose())];
    let host = config.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let rtc = rtc_config(config, host);
    let started = Engine::start(&Config { host, port, keys, limits: Limits::default(), rtc: rtc.clone() });
    let engine = started.map_err(|error| refused(config, host, &error))?;
    let advertised_host = config.advertised_host.clone().unwrap_or_else(|| host.to_string());
    Ok(Running { engine, signer: Signer::new(&key, &secret), advertised_host, credentials: (key, secret), rtc })
}

/// Where media is received. If signalling listens on loopback and nothing says that clients come another way, they are on
/// this machine, and nothing is opened to others.
fn rtc_config(config: &EmbeddedConfig, host: IpAddr) -> RtcConfig {
    let local_only = host.is_loopback() && config.public_url.is_none() && config.rtc_addresses.is_empty();
    RtcConfig { port: config.rtc_port, addresses: config.rtc_addresses.clone(), local_only }
}

fn refused(config: &EmbeddedConfig, host: IpAddr, error: &StartError) -> MediaError {
    let port = config.port.unwrap_or_default();
    MediaError::InvalidConfig(match error {
        StartError::Media(_) => ConfigFault::RtcPort { port: config.rtc_port.unwrap_or_default() },
        StartError::Listen(error) if error.kind() == ErrorKind::AddrInUse => ConfigFault::PortTaken { host, port },
        StartError::Listen(error)
            if matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied) =>
        {
            ConfigFault::Listen { host, port }
        }
        StartError::Listen(_) | StartError::Thread(_) => return MediaError::Starved,
        // The facade takes an empty key for none.
        StartError::EmptyKey => return MediaError::Internal,
    })
}

fn random_credentials() -> (String, Secret) {
    let random = || Uuid::new_v4().simple().to_string();
    (format!("API{}", &random()[..12]), Secret::new(random() + &random()))
}
