//! The registry of metrics, and what rooms build their sets from. Each room defines its own set, with etcd's names (HTP-4).
//!
//! ```text
//!   room: struct Metrics { puts: Counter, .. } --registered at start--> Registry --text--> /metrics
//!                            |                                            ^
//!   hot path: one relaxed atomic add, no label looked up                  |
//!   values that live elsewhere (sizes, revisions): a closure -------------+ read at the scrape
//! ```
//!
//! Writes: every room, its own metrics. Reads: the scrape.
//! Invariant: labels are looked up at start or on cold paths only; a hot path holds the child.
//! Of Go's runtime metrics (`go_*`) there are the names, for dashboards that fail without them: see `metrics/go.rs`.

pub use prometheus::{
    Histogram, HistogramVec, IntCounter as Counter, IntCounterVec as CounterVec, IntGauge as Gauge, IntGaugeVec as GaugeVec,
};

use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{HistogramOpts, Opts, TextEncoder};

mod go;
mod process;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Upper bounds of a histogram: `count` bounds from `first`, each `factor` times the one before.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    pub first: f64,
    pub factor: f64,
    pub count: usize,
}

impl Buckets {
    /// From 1 ms to 8.192 s: what most of etcd's histograms have.
    pub const SECONDS: Buckets = Buckets::new(0.001, 14);

    pub const fn new(first: f64, count: usize) -> Buckets {
        Buckets { first, factor: 2.0, count }
    }

    fn bounds(self) -> Vec<f64> {
        prometheus::exponential_buckets(self.first, self.factor, self.count).expect("bounds are positive and grow")
    }
}

/// All metrics of this process. Clones share them. A name can be registered once; a second time is an error of this program and panics.
#[derive(Clone, Default)]
pub struct Registry {
    registry: prometheus::Registry,
    refresh: Arc<OnceLock<Refresh>>,
}

type Refresh = Box<dyn Fn() + Send + Sync>;

impl Registry {
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.add(Counter::new(name, help).expect(NAMES))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.add(CounterVec::new(Opts::new(name, help), labels).expect(NAMES))
    }

    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help).expect(NAMES))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels).expect(NAMES))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: Buckets) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.bounds())).expect(NAMES))
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: Buckets) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.bounds()), labels).expect(NAMES))
    }

    /// With the bounds that Prometheus's libraries have when none are given.
    pub fn histograms_of_calls(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help), labels).expect(NAMES))
    }

    /// A gauge that is asked for its value at each scrape.
    pub fn gauge_of(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.add_reading(name, help, MetricType::GAUGE, read);
    }

    /// A counter that is kept elsewhere and asked for its value at each scrape.
    pub fn counter_of(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.add_reading(name, help, MetricType::COUNTER, read);
    }

    /// A gauge that is 1 and says something in its label, as `etcd_server_version` does.
    pub fn fact(&self, name: &str, help: &str, label: &str, value: &str) {
        self.gauges(name, help, &[label]).with_label_values(&[value]).set(1);
    }

    /// What the system knows about this process: `process_*`, `os_fd_*` and, as far as they mean anything here, `go_*`. Where the system does not say, they are left out.
    pub fn process(&self) {
        self.registry.register(Box::new(process::Process::default())).expect(NAMES);
        self.registry.register(Box::new(go::Runtime::default())).expect(NAMES);
    }

    /// Has the values whose labels move brought up to date before each scrape. The first caller's function stays.
    pub fn before_scrape(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.refresh.get_or_init(|| Box::new(refresh));
    }

    /// Everything, in the text format of Prometheus.
    pub fn text(&self) -> String {
        if let Some(refresh) = self.refresh.get() {
            refresh();
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("what is registered can be written")
    }

    /// The present value of a counter or gauge without labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().first()?;
        Some(if family.get_field_type() == MetricType::COUNTER { metric.get_counter().get_value() } else { metric.get_gauge().get_value() })
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> M {
        self.registry.register(Box::new(metric.clone())).expect(NAMES);
        metric
    }

    fn add_reading(&self, name: &str, help: &str, kind: MetricType, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default()).expect(NAMES);
        self.registry.register(Box::new(Reading { desc, kind, read })).expect(NAMES);
    }
}

const NAMES: &str = "a metric has a valid name that nobody else has";

/// One value that lives elsewhere.
struct Reading<F> {
    desc: Desc,
    kind: MetricType,
    read: F,
}

impl<F: Fn() -> f64 + Send + Sync> Collector for Reading<F> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![family(&self.desc.fq_name, &self.desc.help, self.kind, (self.read)())]
    }
}

fn family(name: &str, help: &str, kind: MetricType, value: f64) -> MetricFamily {
    let mut metric = proto::Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// Facts and positions of the member itself.
pub struct Server {
    pub has_leader: Gauge,
    pub is_leader: Gauge,
    pub is_learner: Gauge,
    features: GaugeVec,
    cluster_version: GaugeVec,
}

impl Server {
    /// Registers the set, with the versions of this build.
    pub fn new(registry: &Registry, release: &str, rust_version: &str) -> Server {
        registry.fact("etcd_server_version", "The release that is running, in the label of the one sample.", "server_version", release);
        // Quirk: the name is an interface although no Go is involved; pinned by `facts_are_in_labels`.
        registry.fact(
            "etcd_server_go_version",
            "The compiler that built it, in the label of the one sample.",
            "server_go_version",
            rust_version,
        );
        Server {
            has_leader: registry.gauge("etcd_server_has_leader", "1 while a leader is known."),
            is_leader: registry.gauge("etcd_server_is_leader", "1 while this member leads."),
            is_learner: registry.gauge("etcd_server_is_learner", "1 while this member is a learner."),
            features: registry.gauges("etcd_server_feature_enabled", "1 where a feature gate is open.", &["name", "stage"]),
            cluster_version: registry.gauges(
                "etcd_cluster_version",
                "The cluster's version, in the label of the sample that is 1.",
                &["cluster_version"],
            ),
        }
    }

    /// Shows this member's id, in hexadecimal.
    pub fn set_id(registry: &Registry, id: u64) {
        registry.fact("etcd_server_id", "This member's id, in the label of the one sample.", "server_id", &format!("{id:x}"));
    }

    /// Shows whether a feature gate is open.
    pub fn set_feature(&self, name: &str, stage: &str, is_open: bool) {
        self.features.with_label_values(&[name, stage]).set(i64::from(is_open));
    }

    /// Moves the 1 to the version that now holds.
    pub fn set_cluster_version(&self, version: &str) {
        self.cluster_version.reset();
        self.cluster_version.with_label_values(&[version]).set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn lines(registry: &Registry) -> Vec<String> {
        registry.text().lines().filter(|line| !line.starts_with("# HELP")).map(str::to_owned).collect()
    }

    #[test]
    fn a_counter_is_written_with_its_type() {
        let registry = Registry::default();
        registry.counter("etcd_mvcc_put_total", "Puts.").inc_by(3);
        assert_eq!(lines(&registry), ["# TYPE etcd_mvcc_put_total counter", "etcd_mvcc_put_total 3"]);
    }

    #[test]
    fn a_value_that_lives_elsewhere_is_read_at_each_scrape() {
        let registry = Registry::default();
        let size = Arc::new(AtomicU64::new(1));
        let read = Arc::clone(&size);
        registry.gauge_of("etcd_mvcc_db_total_size_in_bytes", "Size.", move || read.load(Ordering::Relaxed) as f64);
        assert_eq!(lines(&registry)[1], "etcd_mvcc_db_total_size_in_bytes 1");
        size.store(2_147_483_648, Ordering::Relaxed);
        assert_eq!(lines(&registry)[1], "etcd_mvcc_db_total_size_in_bytes 2147483648");
    }

    #[test]
    fn facts_are_in_labels() {
        let registry = Registry::default();
        let server = Server::new(&registry, "3.7.1", "1.95.0");
        Server::set_id(&registry, 0xf95_ac0b_f909_e976);
        server.set_cluster_version("3.6");
        server.set_cluster_version("3.7");
        let lines = lines(&registry);
        for line in [
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "etcd_server_go_version{server_go_version=\"1.95.0\"} 1",
            "etcd_server_id{server_id=\"f95ac0bf909e976\"} 1",
            "etcd_cluster_version{cluster_version=\"3.7\"} 1",
        ] {
            assert!(lines.iter().any(|known| known == line), "{line} in {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("3.6")));
    }

    #[test]
    fn buckets_have_etcds_bounds() {
        let registry = Registry::default();
        let histogram = registry.histogram("etcd_disk_wal_fsync_duration_seconds", "Syncs.", Buckets::SECONDS);
        histogram.observe(0.0015);
        let text = registry.text();
        for line in [
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 0",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 1",
            "etcd_disk_wal_fsync_duration_seconds_sum 0.0015",
            "etcd_disk_wal_fsync_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    }
}
