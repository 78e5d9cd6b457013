//! What the system says about this process, read from `/proc` at each scrape.
//!
//! Writes: nothing. Reads: `/proc/self`, `/proc/stat`. A figure that cannot be read is left out, so other systems have none.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

/// Clock ticks in a second, as Linux shows them to programs on every platform we build for.
const TICKS_PER_SECOND: f64 = 100.0;

struct Figure {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: fn(&Proc) -> Option<f64>,
}

const FIGURES: &[Figure] = &[
    gauge("os_fd_limit", "File descriptors this process may have open.", |proc| proc.limit("Max open files")),
    gauge("os_fd_used", "File descriptors this process has open.", |_| open_fds()),
    counter("process_cpu_seconds_total", "Processor time spent, user and system.", |proc| {
        Some((proc.stat(13)? + proc.stat(14)?) / TICKS_PER_SECOND)
    }),
    gauge("process_max_fds", "File descriptors this process may have open.", |proc| proc.limit("Max open files")),
    counter("process_network_receive_bytes_total", "Bytes received from the network.", |proc| proc.network("InOctets")),
    counter("process_network_transmit_bytes_total", "Bytes sent to the network.", |proc| proc.network("OutOctets")),
    gauge("process_open_fds", "File descriptors this process has open.", |_| open_fds()),
    gauge("process_resident_memory_bytes", "Memory in use that is in RAM.", |proc| proc.memory("VmRSS:")),
    gauge("process_start_time_seconds", "When this process started, in seconds of Unix time.", |proc| {
        Some(boot_time()? + proc.stat(21)? / TICKS_PER_SECOND)
    }),
    gauge("process_virtual_memory_bytes", "Address space in use.", |proc| proc.memory("VmSize:")),
    gauge("process_virtual_memory_max_bytes", "Address space this process may use.", |proc| proc.limit("Max address space")),
];

const fn gauge(name: &'static str, help: &'static str, read: fn(&Proc) -> Option<f64>) -> Figure {
    Figure { name, help, kind: MetricType::GAUGE, read }
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Proc) -> Option<f64>) -> Figure {
    Figure { name, help, kind: MetricType::COUNTER, read }
}

/// The files of `/proc/self` that the figures come from, read once for all of them.
struct Proc {
    stat: String,
    status: String,
    limits: String,
    netstat: String,
}

impl Proc {
    fn read() -> Proc {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Proc { stat: file("stat"), status: file("status"), limits: file("limits"), netstat: file("net/netstat") }
    }

    /// A field of `stat`, counted from 0. The second one, the program's name in parentheses, may hold spaces.
    fn stat(&self, field: usize) -> Option<f64> {
        let (_, after_name) = self.stat.rsplit_once(')')?;
        after_name.split_whitespace().nth(field.checked_sub(2)?)?.parse().ok()
    }

    fn memory(&self, key: &str) -> Option<f64> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
    }

    fn limit(&self, key: &str) -> Option<f64> {
        let line = self.limits.lines().find_map(|line| line.strip_prefix(key))?;
        match line.split_whitespace().next()? {
            "unlimited" => Some(u64::MAX as f64),
            number => number.parse().ok(),
        }
    }

    fn network(&self, key: &str) -> Option<f64> {
        let mut rows = self.netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
        let at = rows.next()?.split_whitespace().position(|name| name == key)?;
        rows.next()?.split_whitespace().nth(at)?.parse().ok()
    }
}

/// Memory of this process that is in RAM.
pub fn resident_bytes() -> Option<f64> {
    Proc::read().memory("VmRSS:")
}

/// Threads of this process.
pub fn threads() -> Option<f64> {
    Proc::read().stat(19)
}

fn open_fds() -> Option<f64> {
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64)
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

pub struct Process {
    descs: Vec<Desc>,
}

impl Default for Process {
    fn default() -> Self {
        let desc = |figure: &Figure| {
            Desc::new(figure.name.to_owned(), figure.help.to_owned(), Vec::new(), Default::default()).expect("the names above are valid")
        };
        Process { descs: FIGURES.iter().map(desc).collect() }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let proc = Proc::read();
        let family = |figure: &Figure| (figure.read)(&proc).map(|value| super::family(figure.name, figure.help, figure.kind, value));
        FIGURES.iter().filter_map(family).collect()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_this_process_is_found_and_plausible() {
        let proc = Proc::read();
        let value = |name: &str| (FIGURES.iter().find(|figure| figure.name == name).unwrap().read)(&proc).unwrap();
        for figure in FIGURES {
            value(figure.name);
        }
        assert!(value("process_resident_memory_bytes") > 1024.0 * 1024.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
        assert!(value("process_start_time_seconds") > 1_500_000_000.0);
    }

    #[test]
    fn a_program_name_with_spaces_does_not_move_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 10".to_owned();
        let proc = Proc { stat, status: String::new(), limits: String::new(), netstat: String::new() };
        assert_eq!((proc.stat(13), proc.stat(14), proc.stat(21)), (Some(250.0), Some(50.0), Some(12345.0)));
    }
}
