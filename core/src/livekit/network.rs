//! HTTP clients of the process: one connection pool for all providers and worker threads.

use std::fmt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, NoProxy, Proxy, redirect};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use crate::{ConfigFault, MediaError};

/// Maximum time to connect. Past it the call is `UNAVAILABLE`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time until an idle connection is closed: below the 60 s of common load balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Hosts that are never reached through a proxy.
const ALWAYS_DIRECT: &str = "localhost,127.0.0.0/8,::1";

/// Proxies and certificate authorities of the process.
#[derive(Clone, Default)]
pub struct Network {
    /// Proxy for http, as a URL.
    pub http_proxy: Option<String>,
    /// Proxy for https, as a URL.
    pub https_proxy: Option<String>,
    /// Hosts without a proxy, comma-separated; loopback never has one.
    pub no_proxy: Option<String>,
    /// Trusted certificate authorities, as PEM; needed for https.
    pub ca_certificates: Option<String>,
}

impl fmt::Debug for Network {
    // A proxy's URL can contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// Two clients of one configuration.
#[derive(Clone)]
pub(super) struct Clients {
    /// Keeps connections alive between calls.
    pub(super) pooled: Client,
    /// Opens a connection for each request: for retries, because another pooled connection may be as stale as the first.
    pub(super) fresh: Client,
}

#[derive(Default)]
struct Shared {
    network: Option<Network>,
    plain: Option<Clients>,
    secure: Option<Clients>,
}

impl Shared {
    fn made(&mut self, secure: bool) -> &mut Option<Clients> {
        if secure { &mut self.secure } else { &mut self.plain }
    }
}

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

/// Configures the network of the process. The first call counts; certificate authorities may follow later.
pub fn configure(network: Network) {
    let mut shared = lock();
    match &mut shared.network {
        None => shared.network = Some(network),
        Some(known) if known.ca_certificates.is_none() => known.ca_certificates = network.ca_certificates,
        Some(_) => {}
    }
}

/// The clients for http or https. The first call for https reads certificates, which takes milliseconds.
pub(super) fn clients(secure: bool) -> Result<Clients, MediaError> {
    let mut shared = lock();
    if let Some(clients) = shared.made(secure) {
        return Ok(clients.clone());
    }
    let network = shared.network.clone().unwrap_or_default();
    let roots = if secure { trusted(network.ca_certificates.as_deref()) } else { RootCertStore::empty() };
    let clients = Clients { pooled: client(&network, roots.clone(), usize::MAX)?, fresh: client(&network, roots, 0)? };
    Ok(shared.made(secure).insert(clients).clone())
}

/// A client for webhooks, whose connections belong to the runtime of the caller. With `secure` it can use https.
pub(crate) fn webhook_client(secure: bool) -> Result<Client, MediaError> {
    let network = lock().network.clone().unwrap_or_default();
    let roots = if secure { trusted(network.ca_certificates.as_deref()) } else { RootCertStore::empty() };
    client(&network, roots, usize::MAX)
}

fn lock() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process's certificate authorities and the system's.
fn trusted(ca_certificates: Option<&str>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let given = CertificateDer::pem_slice_iter(ca_certificates.unwrap_or_default().as_bytes()).flatten();
    roots.add_parsable_certificates(given);
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn client(network: &Network, roots: RootCertStore, max_idle: usize) -> Result<Client, MediaError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|_| MediaError::Internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("maravilla-platform/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle)
        .retry(reqwest::retry::never())
        .no_proxy();
    let direct =
        network.no_proxy.as_deref().map_or_else(|| ALWAYS_DIRECT.to_owned(), |more| format!("{ALWAYS_DIRECT},{more}"));
    let http = network.http_proxy.as_deref().map(|url| ("HTTP_PROXY", url, Proxy::http(url)));
    let https = network.https_proxy.as_deref().map(|url| ("HTTPS_PROXY", url, Proxy::https(url)));
    for (variable, url, proxy) in [http, https].into_iter().flatten() {
        let is_http = url.split_once("://").is_none_or(|(scheme, _)| matches!(scheme, "http" | "https"));
        let fault = MediaError::InvalidConfig(ConfigFault::Proxy { variable });
        let proxy = proxy.ok().filter(|_| is_http).ok_or(fault)?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&direct)));
    }
    builder.build().map_err(|_| MediaError::Internal)
}
