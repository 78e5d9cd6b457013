//! The names of Go's runtime metrics, with what they can truly say of a program without that runtime (HTP-4).
//!
//! ```text
//!   threads, memory of the process ---> go_threads, go_memstats_sys_bytes, go_memstats_alloc_bytes, ..
//!   collections, goroutines, spans ---> 0: there are none
//! ```
//!
//! Writes: nothing. Reads: the system, at each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::family;
use super::process::{resident_bytes, threads};

/// What stands behind a name.
#[derive(Clone, Copy)]
enum Source {
    /// There is no such thing here.
    Nothing,
    Threads,
    /// How many threads run at once.
    Parallelism,
    /// Everything the process has in memory: no part of it is managed by a runtime of its own.
    Memory,
}

use Source::{Memory, Nothing, Parallelism, Threads};

/// Every name but `go_info` and `go_gc_duration_seconds`, which have a shape of their own.
const NAMES: &[(&str, MetricType, Source)] = &[
    ("go_gc_gogc_percent", MetricType::GAUGE, Nothing),
    ("go_gc_gomemlimit_bytes", MetricType::GAUGE, Nothing),
    ("go_goroutines", MetricType::GAUGE, Nothing),
    ("go_memstats_alloc_bytes", MetricType::GAUGE, Memory),
    ("go_memstats_alloc_bytes_total", MetricType::COUNTER, Nothing),
    ("go_memstats_buck_hash_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_frees_total", MetricType::COUNTER, Nothing),
    ("go_memstats_gc_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_heap_alloc_bytes", MetricType::GAUGE, Memory),
    ("go_memstats_heap_idle_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_heap_inuse_bytes", MetricType::GAUGE, Memory),
    ("go_memstats_heap_objects", MetricType::GAUGE, Nothing),
    ("go_memstats_heap_released_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_heap_sys_bytes", MetricType::GAUGE, Memory),
    ("go_memstats_last_gc_time_seconds", MetricType::GAUGE, Nothing),
    ("go_memstats_mallocs_total", MetricType::COUNTER, Nothing),
    ("go_memstats_mcache_inuse_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_mcache_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_mspan_inuse_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_mspan_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_next_gc_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_other_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_stack_inuse_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_stack_sys_bytes", MetricType::GAUGE, Nothing),
    ("go_memstats_sys_bytes", MetricType::GAUGE, Memory),
    ("go_sched_gomaxprocs_threads", MetricType::GAUGE, Parallelism),
    ("go_threads", MetricType::GAUGE, Threads),
];

impl Source {
    fn help(self) -> &'static str {
        match self {
            Nothing => "Always 0: there is no Go runtime.",
            Threads => "Threads of the process.",
            Parallelism => "Threads that may run at the same time.",
            Memory => "Resident memory of the process.",
        }
    }
}

pub struct Runtime {
    /// Of one name; the others are this collector's too.
    desc: Desc,
}

impl Default for Runtime {
    fn default() -> Runtime {
        let desc =
            Desc::new("go_info".to_owned(), "The compiler, in the label.".to_owned(), vec!["version".to_owned()], Default::default());
        Runtime { desc: desc.expect(super::NAMES) }
    }
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let (memory, threads) = (resident_bytes().unwrap_or_default(), threads().unwrap_or_default());
        let value = |source| match source {
            Nothing => 0.0,
            Threads => threads,
            Parallelism => parallelism as f64,
            Memory => memory,
        };
        let mut families: Vec<_> = NAMES.iter().map(|&(name, kind, source)| family(name, source.help(), kind, value(source))).collect();
        families.extend([info(), collections()]);
        families
    }
}

fn info() -> MetricFamily {
    let mut info = family("go_info", "The compiler, in the label.", MetricType::GAUGE, 1.0);
    let mut label = proto::LabelPair::default();
    label.set_name("version".to_owned());
    label.set_value(format!("rust{}", crate::release::RUST_VERSION));
    info.mut_metric()[0].set_label(vec![label]);
    info
}

/// A summary of no collection at all.
fn collections() -> MetricFamily {
    let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| {
        let mut quantile = proto::Quantile::default();
        quantile.set_quantile(at);
        quantile.set_value(0.0);
        quantile
    });
    let mut summary = proto::Summary::default();
    summary.set_quantile(quantiles.to_vec());
    let mut metric = proto::Metric::default();
    metric.set_summary(summary);
    let mut collections = MetricFamily::default();
    collections.set_name("go_gc_duration_seconds".to_owned());
    collections.set_help(Nothing.help().to_owned());
    collections.set_field_type(MetricType::SUMMARY);
    collections.set_metric(vec![metric]);
    collections
}
