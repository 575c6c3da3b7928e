//! The log of the process's embedded engines, on standard error.

use std::io::{self, Write, stderr};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// Maximum number of lines that wait to be written; past it, further lines are dropped. A standard error that nothing reads must not
/// stop the engine.
const MAX_LINES: usize = 4096;

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
    let write = move || {
        for line in lines {
            // Lost if standard error is closed.
            let _ = stderr().write_all(&line);
        }
    };
    Builder::new().name("maravilla-log".into()).spawn(write).ok()?;
    let (filter, handle) = reload::Layer::new(filter(LevelFilter::OFF));
    let lines = fmt::layer().with_ansi(false).with_writer(move || Line(sender.clone())).log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(lines).try_init().ok()?;
    Some(handle)
}

/// Writer of one line.
struct Line(SyncSender<Vec<u8>>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails if too many lines wait.
        let _ = self.0.try_send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
