//! The boundary that LiveKit servers and the embedded engine share.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::webhook::{Event, SignedWebhook};
use crate::{
    DataMessage, Deadline, Identity, Join, MediaError, Participant, ParticipantChange, Room, RoomName, RoomPrefix,
    RoomSettings, Secret, Track, TrackSource, Upstream,
};

/// Maximum size of a result as JSON text, in bytes. A larger one is `LIMIT_EXCEEDED`. JavaScript parses it on its own
/// thread, which is blocked meanwhile, and cannot hold a string of 512 MiB at all.
pub const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// How a call ends.
pub type Outcome<T> = Result<T, MediaError>;

/// A call of a provider.
pub enum Call<T> {
    /// The call needed no waiting.
    Ready(Outcome<T>),
    /// The call has to wait, and makes no progress before it is run.
    Pending(PendingCall<T>),
}

impl<T> From<Outcome<T>> for Call<T> {
    fn from(outcome: Outcome<T>) -> Self {
        Self::Ready(outcome)
    }
}

impl<T: 'static> Call<T> {
    /// A call that waits for `future`.
    pub(crate) fn pending(future: impl Future<Output = Outcome<T>> + Send + 'static) -> Self {
        Self::Pending(PendingCall { future: future.boxed(), request_id: None, keep_alive: None })
    }

    /// Applies `change` to the result.
    #[must_use]
    pub fn and_then<U>(self, change: impl FnOnce(T) -> Outcome<U> + Send + 'static) -> Call<U> {
        match self {
            Self::Ready(outcome) => Call::Ready(outcome.and_then(change)),
            Self::Pending(PendingCall { future, request_id, keep_alive }) => {
                let future = future.map(|outcome| outcome.and_then(change)).boxed();
                Call::Pending(PendingCall { future, request_id, keep_alive })
            }
        }
    }

    /// The outcome, within 10 s.
    #[cfg(test)]
    pub(crate) async fn settled(self) -> Outcome<T> {
        match self {
            Self::Ready(outcome) => outcome,
            Self::Pending(call) => {
                let deadline = Deadline::after(std::time::Duration::from_secs(10));
                call.run(deadline, CancellationToken::new()).await.0
            }
        }
    }
}

/// A call that has to wait.
pub struct PendingCall<T> {
    pub(crate) future: BoxFuture<'static, Outcome<T>>,
    /// `X-Livekit-Request-Id` of the requests that it sends.
    pub(crate) request_id: Option<String>,
    pub(crate) keep_alive: Option<KeepAlive>,
}

/// Dropped once the call's promise has settled. Until then, later calls can join the request.
pub type KeepAlive = Box<dyn Any + Send>;

impl<T> PendingCall<T> {
    /// Runs the call until its outcome, its deadline or its cancellation, whichever comes first; a panic is
    /// [`MediaError::Internal`]. Only here do calls expire. A successful call also gives its guard.
    pub async fn run(self, deadline: Deadline, cancelled: CancellationToken) -> (Outcome<T>, Option<KeepAlive>) {
        let Self { future, request_id, keep_alive } = self;
        let outcome = tokio::select! {
            biased;
            outcome = AssertUnwindSafe(future).catch_unwind() => outcome.unwrap_or(Err(MediaError::Internal)),
            () = cancelled.cancelled() => Err(MediaError::Aborted),
            () = deadline.passed() => {
                let upstream = request_id.map(|id| Upstream { request_id: Some(id), status: None });
                Err(MediaError::TimedOut { budget: deadline.budget(), upstream })
            }
        };
        let keep_alive = keep_alive.filter(|_| outcome.is_ok());
        (outcome, keep_alive)
    }
}

/// Creates rooms and tokens, on a server or in this process.
///
/// Methods check nothing that the types of their arguments already hold. `deadline` is the budget of the whole call;
/// a provider uses it to divide its time, and [`PendingCall::run`] ends the call.
pub trait Provider: Send + Sync {
    /// The URL that clients connect to; `None` if none is configured. Starts an embedded engine.
    ///
    /// # Errors
    /// [`MediaError::InvalidConfig`] if the engine cannot start.
    fn media_url(&self) -> Outcome<Option<String>>;

    /// The port of the engine in this process; `None` if there is none, or if it has not started yet.
    fn engine_port(&self) -> Option<u16>;

    /// Signs a token to join one room. Local work.
    ///
    /// # Errors
    /// [`MediaError::UrlNotConfigured`] if there is no URL to connect to.
    fn generate_token(&self, join: &Join) -> Outcome<Secret>;

    /// Creates the room, or returns the live room of that name unchanged.
    fn create_room(&self, room: RoomName, settings: RoomSettings, deadline: Deadline) -> Call<Room>;

    /// Disconnects all participants and removes the room; a missing room is success.
    fn delete_room(&self, room: RoomName, deadline: Deadline) -> Call<()>;

    /// Lists the rooms with the prefix, sorted by name.
    fn list_rooms(&self, prefix: RoomPrefix, deadline: Deadline) -> Call<Vec<Room>>;

    /// The room; `None` for a missing one.
    fn get_room(&self, room: RoomName, deadline: Deadline) -> Call<Option<Room>>;

    /// Replaces the room's metadata, which its participants receive.
    fn update_room(&self, room: RoomName, metadata: String, deadline: Deadline) -> Call<Room>;

    /// Lists the participants of a room, sorted by identity; none for a missing room.
    fn list_participants(&self, room: RoomName, deadline: Deadline) -> Call<Vec<Participant>>;

    /// The participant; `None` if it or its room is missing.
    fn get_participant(&self, room: RoomName, identity: Identity, deadline: Deadline) -> Call<Option<Participant>>;

    /// Changes a participant. What `change` does not name stays unchanged.
    fn update_participant(
        &self,
        room: RoomName,
        identity: Identity,
        change: ParticipantChange,
        deadline: Deadline,
    ) -> Call<Participant>;

    /// Mutes a participant's tracks of those sources, or all. The result has the tracks that it muted.
    fn mute_participant(
        &self,
        room: RoomName,
        identity: Identity,
        sources: Option<Vec<TrackSource>>,
        deadline: Deadline,
    ) -> Call<Vec<Track>>;

    /// Sends a data message to participants of a room.
    fn send_data(&self, room: RoomName, message: DataMessage, deadline: Deadline) -> Call<()>;

    /// Disconnects a participant. With `revoke_tokens`, the tokens that were minted before for that identity and room no
    /// longer admit it; the result is whether the server can do that.
    fn remove_participant(
        &self,
        room: RoomName,
        identity: Identity,
        revoke_tokens: bool,
        deadline: Deadline,
    ) -> Call<bool>;

    /// Verifies a webhook of the server, and returns its event; `None` if it is of a room with another prefix.
    ///
    /// # Errors
    /// [`MediaError::WebhookRejected`], or [`MediaError::InvalidArgument`] for a signed body that is no event.
    fn receive_webhook(&self, prefix: &RoomPrefix, body: &[u8], authorization: Option<&str>) -> Outcome<Option<Event>>;

    /// Signs an event as the server does.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] for an invalid room name.
    fn sign_webhook(&self, prefix: &RoomPrefix, event: Event) -> Outcome<SignedWebhook>;

    /// Releases what the provider holds: closes an engine of its own, with its rooms.
    fn close(&self) -> Call<()>;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(9);

    fn call<T: 'static>(future: impl Future<Output = Outcome<T>> + Send + 'static) -> PendingCall<T> {
        let future = future.boxed();
        PendingCall { future, request_id: Some("id".into()), keep_alive: Some(Box::new(())) }
    }

    #[tokio::test]
    async fn times_out_after_its_budget_and_names_its_request() {
        let budget = Duration::from_millis(20);
        let (outcome, keep_alive) =
            call::<()>(std::future::pending()).run(Deadline::after(budget), CancellationToken::new()).await;
        let upstream = Some(Upstream { request_id: Some("id".into()), status: None });
        assert_eq!(outcome, Err(MediaError::TimedOut { budget, upstream }));
        assert!(keep_alive.is_none(), "a failed call keeps nothing");
    }

    #[tokio::test]
    async fn a_cancelled_call_is_aborted() {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let (outcome, _) = call::<()>(std::future::pending()).run(Deadline::after(LONG), cancelled).await;
        assert_eq!(outcome, Err(MediaError::Aborted));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let panics = call::<()>(async { panic!("a defect") });
        let (outcome, _) = panics.run(Deadline::after(LONG), CancellationToken::new()).await;
        assert_eq!(outcome, Err(MediaError::Internal));
    }

    #[tokio::test]
    async fn a_successful_call_gives_its_guard() {
        let (outcome, keep_alive) = call(async { Ok(7) }).run(Deadline::after(LONG), CancellationToken::new()).await;
        assert_eq!(outcome, Ok(7));
        assert!(keep_alive.is_some());
    }
}
