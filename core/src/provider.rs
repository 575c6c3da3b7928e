//! Where rooms live: one trait, and what every provider's calls have in common.

use std::any::Any;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use tokio_util::sync::CancellationToken;

use crate::{Deadline, Identity, Join, MediaError, Participant, Room, RoomName, RoomPrefix, RoomSettings, Secret};

/// Maximum size of a result as JSON text, in bytes. A larger one is `LIMIT_EXCEEDED`. JavaScript parses it on its own
/// thread, which does nothing else meanwhile, and cannot hold a text of 512 MiB at all.
pub const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// How a call ends.
pub type Outcome<T> = Result<T, MediaError>;

/// A call under way. It must not block before its first `await`, so that what needs no waiting settles at once.
pub struct Work<T> {
    /// The outcome where it is there already, else the call itself.
    pub future: Either<Ready<Outcome<T>>, BoxFuture<'static, Outcome<T>>>,
    /// Kept until the caller has been told the outcome, which may be later than the outcome is there.
    pub until_told: Option<Box<dyn Any + Send>>,
}

impl<T> Work<T> {
    /// A call that is over when it is made.
    pub fn done(outcome: Outcome<T>) -> Self {
        Self { future: Either::Left(ready(outcome)), until_told: None }
    }

    /// A call that waits, and of which nothing is kept.
    pub fn new(future: impl Future<Output = Outcome<T>> + Send + 'static) -> Self {
        Self { future: Either::Right(future.boxed()), until_told: None }
    }

    /// The outcome if it is there already.
    ///
    /// # Errors
    /// The call itself if it waits.
    pub fn into_outcome(self) -> Result<Outcome<T>, Self> {
        match self.future {
            Either::Left(done) => Ok(done.into_inner()),
            waits @ Either::Right(_) => Err(Self { future: waits, until_told: self.until_told }),
        }
    }

    /// The same call with its outcome made into another.
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Work<U>
    where
        T: 'static,
    {
        let future = match self.future {
            Either::Left(done) => Either::Left(ready(done.into_inner().map(change))),
            Either::Right(waits) => Either::Right(waits.map(|outcome| outcome.map(change)).boxed()),
        };
        Work { future, until_told: self.until_told }
    }
}

impl<T: Unpin> Future for Work<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.poll_unpin(context)
    }
}

/// Where rooms live. Each method's promise is the public contract's; `deadline` is the call's whole budget.
pub trait Provider: Send + Sync {
    /// Where clients connect; `None` if that is not configured.
    ///
    /// # Errors
    /// What keeps an engine of ours from starting.
    fn media_url(&self) -> Result<Option<String>, MediaError>;

    /// The port that the engine in this process listens on; `None` if there is no engine, or none yet.
    fn engine_port(&self) -> Option<u16>;

    /// Mints a signed token to join one room. Local work.
    ///
    /// # Errors
    /// [`MediaError::UrlNotConfigured`] if there is nowhere to connect to.
    fn generate_token(&self, join: &Join) -> Result<Secret, MediaError>;

    /// Creates the room, or gives the live one of that name back unchanged.
    fn create_room(&self, room: RoomName, settings: RoomSettings, deadline: &Deadline) -> Work<Room>;

    /// Disconnects everyone and removes the room; a missing room is success.
    fn delete_room(&self, room: RoomName, deadline: &Deadline) -> Work<()>;

    /// The rooms that bear the prefix, sorted by name.
    fn list_rooms(&self, prefix: RoomPrefix, deadline: &Deadline) -> Work<Vec<Room>>;

    /// Those in the room, sorted by identity; none for a missing room.
    fn list_participants(&self, room: RoomName, deadline: &Deadline) -> Work<Vec<Participant>>;

    /// Disconnects a participant.
    fn remove_participant(&self, room: RoomName, identity: Identity, deadline: &Deadline) -> Work<()>;

    /// Gives up what the provider holds; an engine of ours ends, with its rooms.
    fn close(&self) -> Work<()>;
}

/// Waits for `work` as one caller: no longer than its deadline, and not past its cancellation. A panic is an error.
///
/// # Errors
/// What `work` gives, [`MediaError::TimedOut`], [`MediaError::Aborted`] or [`MediaError::Internal`].
pub async fn attend<T>(
    work: impl Future<Output = Result<T, MediaError>>,
    deadline: Deadline,
    cancelled: CancellationToken,
) -> Result<T, MediaError> {
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
        let outcome = attend::<()>(std::future::pending(), Deadline::after(budget), CancellationToken::new()).await;
        assert_eq!(outcome, Err(MediaError::TimedOut { budget, upstream: None }));
    }

    #[tokio::test]
    async fn a_cancelled_caller_is_told_so() {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let outcome = attend::<()>(std::future::pending(), Deadline::after(Duration::from_secs(9)), cancelled).await;
        assert_eq!(outcome, Err(MediaError::Aborted));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let work = Work::<()>::new(async { panic!("a defect") });
        let outcome = attend(work, Deadline::after(Duration::from_secs(9)), CancellationToken::new()).await;
        assert_eq!(outcome, Err(MediaError::Internal));
    }
}
