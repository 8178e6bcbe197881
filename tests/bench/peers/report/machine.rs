//! What everything ran on.

use std::fs;

/// Processors, memory and kernel of this machine, in a line.
pub fn describe() -> String {
    let cpus = read("/proc/cpuinfo");
    let models: Vec<_> = cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": ")).collect();
    let model = models.first().map_or("unknown processors", |(_, model)| model.trim());
    let memory = read("/proc/meminfo");
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).map(|value| value.trim().trim_end_matches(" kB"));
    let gib = kilobytes.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default() / (1024.0 * 1024.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} × {model}, {gib:.0} GiB, Linux {}", models.len(), kernel.trim())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
