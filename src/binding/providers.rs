//! The providers of the process, by number: a number costs a seventh of what a class instance does at each call. There
//! is one for each configuration, however often it is opened, and it stays for the life of the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::media::{MediaError, RoomPrefix};
use crate::provider::Provider;
use crate::provider::livekit::{LiveKit, LiveKitConfig};

/// What a provider is opened with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Opening {
    pub(super) config: LiveKitConfig,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
}

/// A provider, and what its calls take where they say nothing themselves.
pub(super) struct Service {
    pub(super) provider: Box<dyn Provider>,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
}

#[derive(Default)]
struct Services {
    numbers: HashMap<Opening, u32>,
    list: Vec<Arc<Service>>,
}

static SERVICES: LazyLock<RwLock<Services>> = LazyLock::new(RwLock::default);

/// The number of the provider of that opening, opened if it is new.
pub(super) fn open(opening: Opening) -> Result<u32, MediaError> {
    let mut services = SERVICES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = services.numbers.get(&opening) {
        return Ok(*number);
    }
    let number = u32::try_from(services.list.len()).map_err(|_| MediaError::Internal)?;
    let provider = Box::new(LiveKit::new(&opening.config)?);
    let Opening { prefix, token_ttl_secs, timeout_ms, .. } = opening.clone();
    services.list.push(Arc::new(Service { provider, prefix, token_ttl_secs, timeout_ms }));
    services.numbers.insert(opening, number);
    Ok(number)
}

/// The provider of that number.
pub(super) fn service(number: u32) -> Result<Arc<Service>, MediaError> {
    let services = SERVICES.read().unwrap_or_else(PoisonError::into_inner);
    let index = usize::try_from(number).map_err(|_| MediaError::Internal)?;
    services.list.get(index).cloned().ok_or(MediaError::Internal)
}
