//! The providers of the process, by number: a number costs a seventh of what a class instance does at each call. There
//! is one for each configuration, however often it is opened, and it stays for the life of the process; but each engine
//! that a caller owns has one of its own, until it is closed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use maravilla_core::embedded::{Embedded, EmbeddedConfig};
use maravilla_core::livekit::{LiveKit, LiveKitConfig};
use maravilla_core::{MediaError, RoomPrefix};
use maravilla_core::{Provider, Work};

/// What a provider is opened with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Opening {
    pub(super) backing: Backing,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
}

/// Where a provider's rooms live.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Backing {
    LiveKit(LiveKitConfig),
    Embedded(EmbeddedConfig),
}

impl Opening {
    fn is_owned(&self) -> bool {
        matches!(&self.backing, Backing::Embedded(config) if !config.shared)
    }
}

/// A provider, and what its calls take where they say nothing themselves.
pub(super) struct Service {
    pub(super) provider: Box<dyn Provider>,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
    is_owned: bool,
}

#[derive(Default)]
struct Services {
    /// Those that are not owned.
    numbers: HashMap<Opening, u32>,
    open: BTreeMap<u32, Arc<Service>>,
    /// No number is given twice: whoever holds one that is closed must not reach another's engine.
    next: u32,
}

static SERVICES: LazyLock<RwLock<Services>> = LazyLock::new(RwLock::default);

/// The number of the provider of that opening, opened if it is new.
pub(super) fn open(opening: Opening) -> Result<u32, MediaError> {
    let mut services = SERVICES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = services.numbers.get(&opening) {
        return Ok(*number);
    }
    let number = services.next;
    let is_owned = opening.is_owned();
    let Opening { backing, prefix, token_ttl_secs, timeout_ms } = opening.clone();
    let provider: Box<dyn Provider> = match backing {
        Backing::LiveKit(config) => Box::new(LiveKit::new(&config)?),
        Backing::Embedded(config) => Box::new(Embedded::new(config)),
    };
    services.next = number.checked_add(1).ok_or(MediaError::Internal)?;
    services.open.insert(number, Arc::new(Service { provider, prefix, token_ttl_secs, timeout_ms, is_owned }));
    if !is_owned {
        services.numbers.insert(opening, number);
    }
    Ok(number)
}

/// The provider of that number.
pub(super) fn service(number: u32) -> Result<Arc<Service>, MediaError> {
    let services = SERVICES.read().unwrap_or_else(PoisonError::into_inner);
    let is_known = number < services.next;
    services.open.get(&number).cloned().ok_or(if is_known { MediaError::Closed } else { MediaError::Internal })
}

/// Closes the provider of that number, if its engine is its own; others stay, for whoever else uses them.
pub(super) fn close(number: u32) -> Work<()> {
    let mut services = SERVICES.write().unwrap_or_else(PoisonError::into_inner);
    match services.open.entry(number) {
        Entry::Occupied(open) if open.get().is_owned => open.remove().provider.close(),
        _ => Work::done(Ok(())),
    }
}
