//! CPU time of the engine.

use std::fs;
use std::time::Duration;

/// CPU time of the engine's threads.
pub fn engine_cpu_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_engine = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("maravilla-")));
    let used = of_engine.filter_map(|task| {
        let stats = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stats.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    used.sum()
}
