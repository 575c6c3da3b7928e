//! Where rooms live: one trait, and what every provider's calls have in common.

mod deadline;
pub mod livekit;

#[cfg(test)]
mod behaviour;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use deadline::Deadline;

use crate::media::{Identity, Join, MediaError, Participant, Room, RoomName, RoomPrefix, RoomSettings, Secret};

/// A call under way. It must not block before its first `await`, so that what needs no waiting settles at once.
pub type Work<T> = BoxFuture<'static, Result<T, MediaError>>;

/// Where rooms live. Each method's promise is the public contract's; `deadline` is the call's whole budget.
pub trait Provider: Send + Sync {
    /// Mints a signed token to join one room. Local work.
    ///
    /// # Errors
    /// [`MediaError::UrlNotConfigured`] if there is nowhere to connect to.
    fn generate_token(&self, join: Join) -> Result<Secret, MediaError>;

    /// Creates the room, or gives the live one of that name back unchanged.
    fn create_room(&self, room: RoomName, settings: RoomSettings, deadline: Deadline) -> Work<Room>;

    /// Disconnects everyone and removes the room; a missing room is success.
    fn delete_room(&self, room: RoomName, deadline: Deadline) -> Work<()>;

    /// The rooms that bear the prefix, sorted by name.
    fn list_rooms(&self, prefix: RoomPrefix, deadline: Deadline) -> Work<Vec<Room>>;

    /// Those in the room, sorted by identity; none for a missing room.
    fn list_participants(&self, room: RoomName, deadline: Deadline) -> Work<Vec<Participant>>;

    /// Disconnects a participant.
    fn remove_participant(&self, room: RoomName, identity: Identity, deadline: Deadline) -> Work<()>;
}

/// Waits for `work` as one caller: no longer than its deadline, and not past its cancellation. A panic is an error.
///
/// # Errors
/// What `work` gives, [`MediaError::TimedOut`], [`MediaError::Aborted`] or [`MediaError::Internal`].
pub async fn attend<T>(work: Work<T>, deadline: Deadline, cancelled: CancellationToken) -> Result<T, MediaError> {
    tokio::select! {
        biased;
        outcome = AssertUnwindSafe(work).catch_unwind() => outcome.unwrap_or(Err(MediaError::Internal)),
        () = cancelled.cancelled() => Err(MediaError::Aborted),
        () = deadline.passed() => Err(MediaError::TimedOut { budget: deadline.budget(), upstream: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_caller_waits_no_longer_than_its_budget() {
        let budget = Duration::from_millis(20);
        let outcome =
            attend::<()>(std::future::pending().boxed(), Deadline::after(budget), CancellationToken::new()).await;
        assert_eq!(outcome, Err(MediaError::TimedOut { budget, upstream: None }));
    }

    #[tokio::test]
    async fn a_cancelled_caller_is_told_so() {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let outcome =
            attend::<()>(std::future::pending().boxed(), Deadline::after(Duration::from_secs(9)), cancelled).await;
        assert_eq!(outcome, Err(MediaError::Aborted));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let work: Work<()> = async { panic!("a defect") }.boxed();
        let outcome = attend(work, Deadline::after(Duration::from_secs(9)), CancellationToken::new()).await;
        assert_eq!(outcome, Err(MediaError::Internal));
    }
}
