//! The process's HTTP clients: one pool for every provider and worker thread.

use std::fmt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, NoProxy, Proxy, redirect};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use crate::{ConfigFault, MediaError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Below the 60 s after which common load balancers drop an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
const ALWAYS_DIRECT: &str = "localhost,127.0.0.0/8,::1";

/// How the host process reaches the network, as its runtime says.
#[derive(Clone, Default)]
pub struct Network {
    /// Proxy for http, as a URL.
    pub http_proxy: Option<String>,
    /// Proxy for https, as a URL.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without a proxy, comma-separated; loopback always is.
    pub no_proxy: Option<String>,
    /// Certificate authorities to trust, as PEM; needed for https.
    pub authorities: Option<String>,
}

impl fmt::Debug for Network {
    // A proxy's URL can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// Two clients of one configuration.
#[derive(Clone)]
pub(super) struct Clients {
    /// Keeps connections alive between calls.
    pub(super) pooled: Client,
    /// Opens a connection for each request: for a retry, where another pooled one may be as stale as the first.
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

/// Says how the network is reached. The first word counts, for the process; authorities may follow later.
pub fn configure(network: Network) {
    let mut shared = lock();
    match &mut shared.network {
        None => shared.network = Some(network),
        Some(known) if known.authorities.is_none() => known.authorities = network.authorities,
        Some(_) => {}
    }
}

/// The clients for http or https, made at first need.
pub(super) async fn clients(secure: bool) -> Result<Clients, MediaError> {
    if let Some(clients) = lock().made(secure) {
        return Ok(clients.clone());
    }
    // Reading certificates takes milliseconds: not on the thread that called.
    tokio::task::yield_now().await;
    let mut shared = lock();
    if let Some(clients) = shared.made(secure) {
        return Ok(clients.clone());
    }
    let network = shared.network.clone().unwrap_or_default();
    let roots = if secure { trusted(network.authorities.as_deref()) } else { RootCertStore::empty() };
    let clients = Clients { pooled: client(&network, roots.clone(), usize::MAX)?, fresh: client(&network, roots, 0)? };
    Ok(shared.made(secure).insert(clients).clone())
}

fn lock() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What Node trusts, and what the system trusts where it says so.
fn trusted(authorities: Option<&str>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let given = CertificateDer::pem_slice_iter(authorities.unwrap_or_default().as_bytes()).flatten();
    roots.add_parsable_certificates(given);
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn client(network: &Network, roots: RootCertStore, most_idle: usize) -> Result<Client, MediaError> {
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
        .pool_max_idle_per_host(most_idle)
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
