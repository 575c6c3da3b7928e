//! Counts the panics on engine threads.

use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Installs the counting panic hook. Only the first call has an effect.
pub fn start_counting() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_engine = thread::current().name().is_some_and(|name| name.starts_with("maravilla-"));
            COUNT.fetch_add(usize::from(is_engine), Ordering::Relaxed);
            default_hook(info);
        }));
    });
}

pub fn assert_none() {
    assert_eq!(COUNT.load(Ordering::Relaxed), 0, "an engine thread has panicked");
}
