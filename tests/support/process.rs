//! What the kernel tells of a process.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// A process that we started.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

impl Process {
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// Memory resident now, in bytes.
    pub fn resident_bytes(self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    pub fn peak_resident_bytes(self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("running");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kilobytes * 1024
    }

    /// The time that processors have spent on it so far, in the kernel too.
    pub fn cpu_time(self) -> Duration {
        let stat = self.stat().expect("running");
        // Fields 14 and 15, utime and stime; the second, the name in brackets, may hold blanks: proc_pid_stat(5).
        let (_, fields) = stat.rsplit_once(") ").expect("Linux tells it");
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number of ticks"));
        Duration::from_secs_f64(ticks.sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The words that it was started with, as every user of the machine sees them; empty when it is gone.
    pub fn command_line(self) -> String {
        let words = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    }

    /// Whether it is gone, or would be if somebody had asked how it ended.
    pub fn has_ended(self) -> bool {
        self.stat().is_none_or(|stat| stat.contains(") Z "))
    }

    /// Sends it `signal`; panics when there is no such process.
    pub fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.0.cast_signed()).expect("not 0");
        rustix::process::kill_process(pid, signal).expect("a process of ours");
    }

    fn stat(self) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()
    }
}
