//! Refresh tokens: a participant rejoins with the latest one that it was sent.

use std::fmt;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use livekit_token::VideoGrants;

use crate::auth::grants;
use crate::auth::token::Claims;
use crate::registry::revocation::TokenEpoch;
use crate::services::Services;

/// Time after which a participant is sent a new token even if nothing has changed: half a token's lifetime.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Minimum time between two tokens for changes; later changes share the next token. A token repeats the metadata, so one small
/// update would otherwise cost a signature over up to 512 KiB.
const MIN_CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// The claims of a participant's tokens, and when it was sent the latest one.
pub(crate) struct RefreshToken {
    claims: Claims,
    grants: VideoGrants,
    sent_at: Instant,
    /// When the latest token for a change was sent.
    changed_at: Option<Instant>,
    is_stale: bool,
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RefreshToken").finish_non_exhaustive()
    }
}

impl RefreshToken {
    pub(crate) fn new(claims: Claims, grants: VideoGrants, now: Instant) -> Self {
        Self { claims, grants, sent_at: now, changed_at: None, is_stale: false }
    }

    /// Signs a token that is valid for ten minutes, with the participant's current state. `epoch` states that the participant was
    /// in its room when the token was signed.
    pub(crate) fn sign(&self, services: &Services, info: &proto::ParticipantInfo, epoch: TokenEpoch) -> Option<String> {
        let mut claims = self.claims.clone();
        claims.name.clone_from(&info.name);
        claims.metadata.clone_from(&info.metadata);
        claims.attributes.clone_from(&info.attributes);
        let mut grants = self.grants.clone();
        if let Some(permission) = &info.permission {
            grants::apply_to(permission, &mut grants);
        }
        claims.video = Some(grants);
        claims.epoch = Some(epoch);
        services.keys.sign(claims)
    }

    /// Records that the participant is sent a token.
    pub(crate) fn mark_sent(&mut self, now: Instant) {
        self.sent_at = now;
        self.is_stale = false;
    }

    /// Records that the latest token no longer matches the participant's state.
    pub(crate) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Whether to send a token now. A congested client is sent no token for a change.
    pub(crate) fn is_due(&mut self, is_congested: bool, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        let may_change = self.changed_at.is_none_or(|at| since(at) >= MIN_CHANGE_INTERVAL);
        if self.is_stale && may_change && !is_congested {
            self.changed_at = Some(now);
            return true;
        }
        since(self.sent_at) >= REFRESH_INTERVAL
    }
}
