//! What a process and its children use: CPU, memory, disk. From `/proc`.
//!
//! Invariant: processes that come and go between two looks (connections of a database) are only
//! counted while they live; the ones that do the work outlive a measurement.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::path::Path;

/// Clock ticks a second of `/proc/<pid>/stat`; 100 on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// CPU time of a process, in seconds.
pub fn cpu_alone(process: u32) -> f64 {
    stat(process).and_then(|fields| seconds(&fields)).unwrap_or_default()
}

fn seconds(fields: &[String]) -> Option<f64> {
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// CPU time of those threads of a process whose name begins like this, in seconds.
pub fn cpu_of_threads(process: u32, name: &str) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let of = |task: std::path::PathBuf| {
        let named = fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name));
        if named { seconds(&fields(&task.join("stat"))?) } else { None }
    };
    tasks.filter_map(|task| of(task.path())).sum()
}

/// CPU time of a process and of its living children, in seconds.
pub fn cpu(process: u32) -> f64 {
    cpu_alone(process) + children(process).into_iter().map(cpu).sum::<f64>()
}

/// Resident memory of a process now, and at its highest, in MiB.
pub fn memory(process: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    (of("VmRSS").unwrap_or_default() / 1024.0, of("VmHWM").unwrap_or_default() / 1024.0)
}

/// Bytes of the files below a folder.
pub fn disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0, // Gone meanwhile.
    });
    sizes.sum()
}

fn stat(process: u32) -> Option<Vec<String>> {
    fields(Path::new(&format!("/proc/{process}/stat")))
}

/// The fields of a `stat` from the state on: behind the name, which may hold anything.
fn fields(path: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child =
        |process: &u32| stat(*process).is_some_and(|fields| fields[1].parse() == Ok(parent));
    numbers.filter(is_child).collect()
}
