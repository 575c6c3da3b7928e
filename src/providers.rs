//! The open providers of the process, by id: an id costs a seventh of a class instance in each call. Equal options share
//! a provider, which stays for the life of the process. An engine that is not shared has a provider of its own, until it
//! is closed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use maravilla_core::embedded::{Embedded, EmbeddedConfig};
use maravilla_core::livekit::{LiveKit, LiveKitConfig};
use maravilla_core::{Call, Deadline, MediaError, Provider, RoomPrefix};

use super::values::{MAX_TIMEOUT_MS, whole};

/// Options of a provider.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ProviderOptions {
    pub(super) backend: Backend,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
}

/// Where the rooms of a provider are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Backend {
    LiveKit(LiveKitConfig),
    Embedded(EmbeddedConfig),
}

impl ProviderOptions {
    fn is_shared(&self) -> bool {
        match &self.backend {
            Backend::LiveKit(_) => true,
            Backend::Embedded(config) => config.shared,
        }
    }
}

/// A provider and the defaults of its calls.
pub(super) struct OpenProvider {
    pub(super) provider: Box<dyn Provider>,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    timeout_ms: u32,
    is_shared: bool,
}

impl OpenProvider {
    /// The deadline of a call that starts now; the configured budget by default.
    pub(super) fn deadline(&self, timeout_ms: Option<f64>) -> Result<Deadline, MediaError> {
        let timeout_ms = whole(format_args!("options.timeoutMs"), timeout_ms, self.timeout_ms, 1..=MAX_TIMEOUT_MS)?;
        Ok(Deadline::after(Duration::from_millis(timeout_ms.into())))
    }
}

#[derive(Default)]
struct Providers {
    /// Ids of the shared ones.
    ids: HashMap<ProviderOptions, u32>,
    open: BTreeMap<u32, Arc<OpenProvider>>,
    /// No id is used twice, so that the id of a closed provider never reaches another engine.
    next: u32,
}

static PROVIDERS: LazyLock<RwLock<Providers>> = LazyLock::new(RwLock::default);

/// Returns the id of the provider with these options, which it opens if there is none.
pub(super) fn open(options: ProviderOptions) -> Result<u32, MediaError> {
    let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(id) = providers.ids.get(&options) {
        return Ok(*id);
    }
    let id = providers.next;
    let is_shared = options.is_shared();
    let ProviderOptions { backend, prefix, token_ttl_secs, timeout_ms } = options.clone();
    let provider: Box<dyn Provider> = match backend {
        Backend::LiveKit(config) => Box::new(LiveKit::new(&config)?),
        Backend::Embedded(config) => Box::new(Embedded::new(config)),
    };
    providers.next = id.checked_add(1).ok_or(MediaError::Internal)?;
    providers.open.insert(id, Arc::new(OpenProvider { provider, prefix, token_ttl_secs, timeout_ms, is_shared }));
    if is_shared {
        providers.ids.insert(options, id);
    }
    Ok(id)
}

/// The provider with that id.
pub(super) fn open_provider(id: u32) -> Result<Arc<OpenProvider>, MediaError> {
    let providers = PROVIDERS.read().unwrap_or_else(PoisonError::into_inner);
    let was_open = id < providers.next;
    providers.open.get(&id).cloned().ok_or(if was_open { MediaError::Closed } else { MediaError::Internal })
}

/// Closes the provider's engine, unless it is shared. Later calls are [`MediaError::Closed`].
pub(super) fn close(id: u32) -> Call<()> {
    let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
    match providers.open.entry(id) {
        Entry::Occupied(open) if !open.get().is_shared => open.remove().provider.close(),
        _ => Call::Ready(Ok(())),
    }
}
