//! The providers of the process, by number. A number costs a seventh of what a class instance does at each call; and one
//! provider for each configuration, however often it is opened, keeps this list short.

use std::sync::{Arc, PoisonError, RwLock};

use crate::media::{MediaError, RoomPrefix};
use crate::provider::Provider;
use crate::provider::livekit::{LiveKit, LiveKitConfig};

/// A provider, and what its calls take where they say nothing themselves.
pub(super) struct Service {
    pub(super) provider: Box<dyn Provider>,
    pub(super) prefix: RoomPrefix,
    pub(super) token_ttl_secs: u32,
    pub(super) timeout_ms: u32,
    config: LiveKitConfig,
}

static SERVICES: RwLock<Vec<Arc<Service>>> = RwLock::new(Vec::new());

/// The number of the provider of that configuration, opened if it is new.
pub(super) fn open(
    config: LiveKitConfig,
    prefix: String,
    token_ttl_secs: u32,
    timeout_ms: u32,
) -> Result<u32, MediaError> {
    let prefix = RoomPrefix::new(prefix);
    let mut services = SERVICES.write().unwrap_or_else(PoisonError::into_inner);
    let known = services.iter().position(|known| {
        known.config == config
            && known.prefix == prefix
            && known.token_ttl_secs == token_ttl_secs
            && known.timeout_ms == timeout_ms
    });
    let index = if let Some(index) = known {
        index
    } else {
        let provider = Box::new(LiveKit::new(&config)?);
        services.push(Arc::new(Service { provider, prefix, token_ttl_secs, timeout_ms, config }));
        services.len() - 1
    };
    u32::try_from(index).map_err(|_| MediaError::Internal)
}

/// The provider of that number.
pub(super) fn service(number: u32) -> Result<Arc<Service>, MediaError> {
    let services = SERVICES.read().unwrap_or_else(PoisonError::into_inner);
    let index = usize::try_from(number).map_err(|_| MediaError::Internal)?;
    services.get(index).cloned().ok_or(MediaError::Internal)
}
