//! The log of the process's embedded engines, on standard error.

use std::io::{self, ErrorKind, Write, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, sleep};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// Maximum number of lines that wait to be written; past it, further lines are dropped. A standard error that nothing reads must not
/// stop the engine.
const MAX_LINES: usize = 4096;

/// Time between attempts to write while standard error is a full pipe that does not block: Node.js sets that mode.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

type Handle = reload::Handle<Targets, Registry>;

/// Changes the level of the running log; `None` if the log could not be started.
static LOG: OnceLock<Option<Handle>> = OnceLock::new();

/// Logs events of this level and above from now on, for all engines of the process. The first call starts the log.
pub(super) fn set_level(level: LevelFilter) {
    if let Some(handle) = LOG.get_or_init(start) {
        // Fails only if the log has ended, and it lives as long as the process.
        let _ = handle.reload(filter(level));
    }
}

/// Events of the engine only. Its dependencies may log session descriptions, which contain ICE passwords.
fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_target("maravilla_engine", level)
}

fn start() -> Option<Handle> {
    let (sender, lines) = sync_channel::<Vec<u8>>(MAX_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let line = Line { sender, dropped: Arc::clone(&dropped) };
    Builder::new().name("maravilla-log".into()).spawn(move || write_lines(&lines, &dropped, &mut stderr())).ok()?;
    let (filter, handle) = reload::Layer::new(filter(LevelFilter::OFF));
    let lines = fmt::layer().with_ansi(false).with_writer(move || line.clone()).log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(lines).try_init().ok()?;
    Some(handle)
}

/// Writes lines until all senders are gone, and the number of dropped lines after the next line that can be written.
fn write_lines(lines: &Receiver<Vec<u8>>, dropped: &AtomicU64, output: &mut impl Write) {
    for line in lines {
        if write_line(output, &line).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 && write_line(output, format!("maravilla: {count} log lines dropped\n").as_bytes()).is_err() {
            dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Writes all of a line, as [`Write::write_all`] does, but waits while `output` would block.
fn write_line(output: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(RETRY_INTERVAL),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writer of one line.
#[derive(Clone)]
struct Line {
    sender: SyncSender<Vec<u8>>,
    /// Number of lines dropped since the log last said so.
    dropped: Arc<AtomicU64>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails if too many lines wait.
        if self.sender.try_send(bytes.to_vec()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most 3 bytes per write, and fails every second write with `error`, at most `failures` times.
    struct Output {
        text: Vec<u8>,
        error: ErrorKind,
        failures: usize,
        /// Whether the next write fails.
        fails: bool,
    }

    impl Output {
        fn failing(error: ErrorKind, failures: usize) -> Self {
            Self { text: Vec::new(), error, failures, fails: false }
        }

        fn text(&self) -> &str {
            str::from_utf8(&self.text).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fails = self.fails;
            self.fails = !fails;
            if fails && self.failures > 0 {
                self.failures -= 1;
                return Err(self.error.into());
            }
            let taken = &bytes[..bytes.len().min(3)];
            self.text.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log's output for those lines, of which the channel holds `capacity`.
    fn logged(capacity: usize, lines: &[&str], output: &mut Output) {
        let (sender, receiver) = sync_channel(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut line = Line { sender, dropped: Arc::clone(&dropped) };
        for text in lines {
            line.write_all(text.as_bytes()).unwrap();
        }
        drop(line);
        write_lines(&receiver, &dropped, output);
    }

    #[test]
    fn continues_a_line_at_the_same_offset_after_a_full_pipe() {
        let mut output = Output::failing(ErrorKind::WouldBlock, usize::MAX);
        logged(2, &["first line\n", "second line\n"], &mut output);
        assert_eq!(output.text(), "first line\nsecond line\n");
    }

    #[test]
    fn continues_a_line_after_a_signal() {
        let mut output = Output::failing(ErrorKind::Interrupted, usize::MAX);
        logged(1, &["first line\n"], &mut output);
        assert_eq!(output.text(), "first line\n");
    }

    #[test]
    fn reports_lines_past_the_maximum_once() {
        let mut output = Output::failing(ErrorKind::WouldBlock, 0);
        logged(2, &["a\n", "b\n", "c\n", "d\n"], &mut output);
        assert_eq!(output.text(), "a\nmaravilla: 2 log lines dropped\nb\n");
    }

    #[test]
    fn counts_a_line_that_fails_as_dropped() {
        let mut output = Output::failing(ErrorKind::BrokenPipe, 1);
        logged(3, &["a\n", "b\n", "c\n"], &mut output);
        assert_eq!(output.text(), "a\nc\nmaravilla: 1 log lines dropped\n");
    }
}
