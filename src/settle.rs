use std::io;
use std::sync::OnceLock;

use maravilla_core::{Call, Deadline, MAX_RESULT_BYTES, MediaError, Outcome};
use napi::bindgen_prelude::{Either, Either3, Object};
use napi::{Env, Result};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::calls::Cancellable;
use super::failure::Failure;

/// JSON text, a failure, or a promise of either.
pub type Settled<'env> = Either3<String, Failure, Object<'env>>;

/// Not napi's runtime, because this one outlives the worker thread that first loaded the addon. One thread, because hyper
/// loses a request that one thread sends while another closes its connection (hyperium/hyper#4122).
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, started by the first pending call. A failed start is repeated by the next one.
fn runtime() -> Outcome<&'static Runtime> {
    if let Some(running) = RUNTIME.get() {
        return Ok(running);
    }
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("maravilla").enable_all();
    // By default every 61st task is the newest. Calls wait for their turn in the order of their start.
    builder.global_queue_interval(u32::MAX);
    let started = builder.build().map_err(|_| MediaError::ResourceExhausted)?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Returns the outcome of a call that is ready. Runs a pending one on the runtime and returns its promise.
pub fn settle(env: &Env, call_id: Option<u32>, call: Call<String>, deadline: Deadline) -> Result<Settled<'_>> {
    let pending = match call {
        Call::Ready(Ok(json)) => return Ok(Settled::A(json)),
        Call::Ready(Err(error)) => return Ok(Settled::B(error.into())),
        Call::Pending(pending) => pending,
    };
    let cancellable = Cancellable::new(*env, call_id)?;
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Ok(Settled::B(error.into())),
    };
    let (deferred, promise) = env.create_deferred::<Either<String, Failure>, _>()?;
    runtime.spawn(async move {
        let (outcome, keep_alive) = pending.run(deadline, cancellable.cancelled.clone()).await;
        let answer = match outcome {
            Ok(json) => Either::A(json),
            Err(error) => Either::B(error.into()),
        };
        deferred.resolve(move |_| {
            drop(keep_alive);
            Ok(answer)
        });
    });
    Ok(Settled::C(promise))
}

/// Serializes a result of at most [`MAX_RESULT_BYTES`].
pub fn to_json(value: &impl Serialize) -> Outcome<String> {
    let mut text = JsonText(Vec::with_capacity(128));
    serde_json::to_writer(&mut text, value).map_err(|error| match error.io_error_kind() {
        Some(_) => MediaError::ResultTooLarge { max: MAX_RESULT_BYTES },
        None => MediaError::Internal,
    })?;
    String::from_utf8(text.0).map_err(|_| MediaError::Internal)
}

/// A result, limited to [`MAX_RESULT_BYTES`].
struct JsonText(Vec<u8>);

impl io::Write for JsonText {
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
