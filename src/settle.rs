use std::io;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt as _, future};
use napi::bindgen_prelude::{Either, Either3, Object};
use napi::{Env, Result};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::calls::Cancellable;
use super::failure::Failure;
use maravilla_core::MediaError;
use maravilla_core::{Deadline, MAX_RESULT_BYTES, Work, attend};

/// JSON text, what went wrong, or a promise of either.
pub type Settled<'env> = Either3<String, Failure, Object<'env>>;

type Answer = Either<String, Failure>;

/// Ours rather than napi's: it outlives the worker thread that first loaded the addon. One thread, because hyper loses a
/// request that one thread sends while another closes its connection (hyperium/hyper#4122); it only waits and copies.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, started at first need. Where the system has no thread or socket left, a later call tries again.
fn runtime() -> std::result::Result<&'static Runtime, MediaError> {
    if let Some(running) = RUNTIME.get() {
        return Ok(running);
    }
    let started = Builder::new_multi_thread().worker_threads(1).thread_name("maravilla").enable_all().build();
    let started = started.map_err(|_| MediaError::Starved)?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Answers at once where `work` needs no waiting; else gives a promise and leaves the waiting to the runtime.
pub fn settle<T: Serialize + Send + 'static>(
    env: &Env,
    call: Option<u32>,
    work: Work<T>,
    deadline: Deadline,
) -> Result<Settled<'_>> {
    let Work { future, until_told } = work;
    let future = match future {
        future::Either::Left(done) => {
            return Ok(settled(answer_with(done.into_inner().and_then(|value| to_json(&value)))));
        }
        future::Either::Right(waits) => waits,
    };
    let call = Cancellable::new(*env, call)?;
    let json = async { to_json(&future.await?) };
    let mut answer = async move { answer_with(attend(json, deadline, call.cancelled.clone()).await) }.boxed();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Ok(Settled::B(error.into())),
    };
    let _entered = runtime.enter();
    // Whoever polls next sees what has happened since, so a wake-up in between is not lost.
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(settled(answer)),
        Poll::Pending => {
            let (deferred, promise) = env.create_deferred::<Answer, _>()?;
            runtime.spawn(async move {
                let answer = answer.await;
                // A caller who gave up must not keep the others' work from going on, or from ending.
                let until_told = until_told.filter(|_| matches!(answer, Answer::A(_)));
                deferred.resolve(move |_| {
                    drop(until_told);
                    Ok(answer)
                });
            });
            Ok(Settled::C(promise))
        }
    }
}

fn settled<'env>(answer: Answer) -> Settled<'env> {
    match answer {
        Answer::A(json) => Settled::A(json),
        Answer::B(failure) => Settled::B(failure),
    }
}

fn answer_with(json: std::result::Result<String, MediaError>) -> Answer {
    match json {
        Ok(json) => Answer::A(json),
        Err(error) => Answer::B(error.into()),
    }
}

fn to_json(value: &impl Serialize) -> std::result::Result<String, MediaError> {
    let mut text = Text(Vec::with_capacity(128));
    serde_json::to_writer(&mut text, value).map_err(|error| match error.io_error_kind() {
        Some(_) => MediaError::ResultTooLarge { max: MAX_RESULT_BYTES },
        None => MediaError::Internal,
    })?;
    String::from_utf8(text.0).map_err(|_| MediaError::Internal)
}

/// The text of a result, which takes up to [`MAX_RESULT_BYTES`].
struct Text(Vec<u8>);

impl io::Write for Text {
    #[inline]
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.write_all(part)?;
        Ok(part.len())
    }

    #[inline]
    fn write_all(&mut self, part: &[u8]) -> io::Result<()> {
        if part.len() > MAX_RESULT_BYTES - self.0.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(part);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_result_longer_than_the_limit() {
        let largest = "x".repeat(MAX_RESULT_BYTES - 2);
        assert!(to_json(&largest).is_ok());
        let expected = Err(MediaError::ResultTooLarge { max: MAX_RESULT_BYTES });
        assert_eq!(to_json(&(largest + "x")), expected);
        assert_eq!(to_json(&"\0".repeat(MAX_RESULT_BYTES / 2)), expected);
    }
}
