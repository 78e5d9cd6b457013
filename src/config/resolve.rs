//! From settings to a `Config`: defaults that depend on other settings, and the checks of surface 4.7.
//!
//! ```text
//!   Settings (what was typed) --checks--> Config (what it means: typed, nothing left to look up)
//!                                 \-----> one line that says what is wrong
//! ```
//!
//! Writes: nothing. Reads: `Settings`.
//! Does not look at the disk or the network: what depends on the data directory is `Config::check_bootstrap`, for the moment
//! when it is known to be empty.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::gates::Gates;
use super::settings::Settings;
use super::value::read_span;
use super::{Notice, check};
use crate::go_words::go_words;
use crate::log::{self, Level, Output};
use crate::url::Url;

/// There is no such file, in numbers of Unix and of Windows.
const ENOENT: i32 = 2;

/// Everything a member is told from outside, resolved.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// The directory of the log: `--wal-dir`, or `member/wal` inside the data directory.
    pub wal_dir: PathBuf,
    pub listen_peer_urls: Vec<Url>,
    pub listen_client_urls: Vec<Url>,
    /// When not empty, these serve HTTP and the client URLs serve gRPC only (GRP-3).
    pub listen_client_http_urls: Vec<Url>,
    pub listen_metrics_urls: Vec<Url>,
    pub advertise_peer_urls: Vec<Url>,
    pub advertise_client_urls: Vec<Url>,
    pub initial_cluster: InitialCluster,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    pub is_pre_vote: bool,
    pub is_initial_election_tick_advance: bool,
    pub is_strict_reconfig_check: bool,
    pub snapshot_count: u64,
    pub snapshot_catchup_entries: u64,
    /// log::Options files to keep; `None` keeps all.
    pub wals_max: Option<u64>,
    pub learners_max: u64,
    /// Bytes at which writes are refused; `None` is no limit.
    pub quota_backend_bytes: Option<u64>,
    pub txn_ops_max: usize,
    pub request_bytes_max: usize,
    pub concurrent_streams_max: u32,
    pub keepalive: Keepalive,
    pub auto_compaction: AutoCompaction,
    pub compaction_batch_limit: usize,
    pub compaction_sleep_interval: Duration,
    pub watch_progress_notify_interval: Duration,
    pub warning_apply: Duration,
    pub warning_unary_request: Duration,
    pub gates: Gates,
    pub is_force_new_cluster: bool,
    pub is_unsafe_no_fsync: bool,
    pub is_socket_reuse_port: bool,
    pub is_socket_reuse_address: bool,
    pub is_grpc_gateway: bool,
    /// Allowed origins; `*` is any.
    pub cors: Vec<String>,
    /// Allowed host names; empty or `*` is any.
    pub host_whitelist: Vec<String>,
    pub is_metrics_extensive: bool,
    pub log: log::Options,
    /// What to log once there is a log.
    pub notices: Vec<Notice>,
    /// The program and the words it was started with, as `/debug/vars` shows them.
    pub command_line: Vec<String>,
}

/// The members a new cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    pub members: BTreeMap<String, Vec<Url>>,
    pub token: String,
    /// Whether this member joins a cluster that is already there.
    pub is_existing: bool,
}

/// Pings of client connections (GRP-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub min_time: Duration,
    /// `None` sends no pings.
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    Periodic(Duration),
    Revision(i64),
}

impl Config {
    /// Ticks of a heartbeat in an election timeout.
    pub fn election_ticks(&self) -> usize {
        usize::try_from(self.election_timeout.as_millis() / self.heartbeat.as_millis()).unwrap_or(usize::MAX)
    }

    /// How long a request may take: the disk's share, and two elections in a row.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    pub fn is_lease_checkpoint(&self) -> bool {
        self.gates.is_open("LeaseCheckpoint")
    }

    pub fn is_lease_checkpoint_persist(&self) -> bool {
        self.gates.is_open("LeaseCheckpointPersist")
    }
}

/// Checks the settings and says what they mean.
pub fn resolve(settings: &Settings, mut notices: Vec<Notice>) -> Result<Config, String> {
    let log = resolve_log(settings)?;
    check::urls(settings)?;
    check::discovery(settings)?;
    check::ticks(settings)?;
    // Quirk: CFG-4 asks this of flags and variables only; a file that leaves the key out gets the default; pinned by `a_file_may_leave_the_advertised_urls_out`.
    if settings.is_set("listen-client-urls") && !settings.is_set("advertise-client-urls") && !settings.is_from_file {
        return Err("--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned());
    }
    let auto_compaction = resolve_auto_compaction(settings, &mut notices)?;
    check::tls_versions(settings)?;
    let gates = check::features(settings)?;
    check::numbers(settings)?;
    check::care(settings, &mut notices)?;
    check::schemes(settings)?;
    let initial_cluster = resolve_initial_cluster(settings)?;
    check::risks(settings, &mut notices);
    Ok(assemble(settings, initial_cluster, auto_compaction, gates, log, notices))
}

/// Every setting in its place, after the checks.
fn assemble(
    settings: &Settings,
    initial_cluster: InitialCluster,
    auto_compaction: AutoCompaction,
    gates: Gates,
    log: log::Options,
    notices: Vec<Notice>,
) -> Config {
    let name = settings.text("name");
    let data_dir = directory(settings.text("data-dir")).unwrap_or_else(|| PathBuf::from(format!("{name}.etcd")));
    let wal_dir = directory(settings.text("wal-dir")).unwrap_or_else(|| data_dir.join("member").join("wal"));
    let urls = |name: &str| settings.urls(name).to_vec();
    let milliseconds = |name: &str| Duration::from_millis(settings.uint(name));
    let limit = |name: &str, or: usize| usize::try_from(settings.int(name)).ok().filter(|&limit| limit > 0).unwrap_or(or);
    let optional = |name: &str| Some(settings.span(name, Duration::ZERO)).filter(|span| !span.is_zero());
    Config {
        initial_cluster,
        name: name.to_owned(),
        data_dir,
        wal_dir,
        listen_peer_urls: urls("listen-peer-urls"),
        listen_client_urls: urls("listen-client-urls"),
        listen_client_http_urls: urls("listen-client-http-urls"),
        listen_metrics_urls: urls("listen-metrics-urls"),
        advertise_peer_urls: urls("initial-advertise-peer-urls"),
        advertise_client_urls: urls("advertise-client-urls"),
        heartbeat: milliseconds("heartbeat-interval"),
        election_timeout: milliseconds("election-timeout"),
        is_pre_vote: settings.bool("pre-vote"),
        is_initial_election_tick_advance: settings.bool("initial-election-tick-advance"),
        is_strict_reconfig_check: settings.bool("strict-reconfig-check"),
        snapshot_count: settings.uint("snapshot-count"),
        snapshot_catchup_entries: settings.uint("snapshot-catchup-entries"),
        wals_max: Some(settings.uint("max-wals")).filter(|&max| max > 0),
        learners_max: u64::try_from(settings.int("max-learners")).unwrap_or(0),
        quota_backend_bytes: match settings.int("quota-backend-bytes") {
            0 => Some(DEFAULT_QUOTA_BYTES),
            given => u64::try_from(given).ok(),
        },
        txn_ops_max: usize::try_from(settings.uint("max-txn-ops")).unwrap_or(usize::MAX),
        request_bytes_max: usize::try_from(settings.uint("max-request-bytes")).unwrap_or(usize::MAX),
        concurrent_streams_max: u32::try_from(settings.uint("max-concurrent-streams")).unwrap_or(u32::MAX),
        keepalive: Keepalive {
            min_time: settings.span("grpc-keepalive-min-time", Duration::ZERO),
            interval: optional("grpc-keepalive-interval"),
            timeout: optional("grpc-keepalive-timeout"),
        },
        auto_compaction,
        compaction_batch_limit: limit("compaction-batch-limit", 1000),
        compaction_sleep_interval: settings.span("compaction-sleep-interval", Duration::from_millis(10)),
        watch_progress_notify_interval: settings
            .span("watch-progress-notify-interval", Duration::from_secs(600))
            .max(Duration::from_millis(100)),
        warning_apply: settings.span("warning-apply-duration", Duration::ZERO),
        warning_unary_request: settings.span("warning-unary-request-duration", Duration::from_millis(300)),
        gates,
        is_force_new_cluster: settings.bool("force-new-cluster"),
        is_unsafe_no_fsync: settings.bool("unsafe-no-fsync"),
        is_socket_reuse_port: settings.bool("socket-reuse-port"),
        is_socket_reuse_address: settings.bool("socket-reuse-address"),
        is_grpc_gateway: settings.bool("enable-grpc-gateway"),
        cors: settings.list("cors").to_vec(),
        host_whitelist: settings.list("host-whitelist").to_vec(),
        is_metrics_extensive: settings.text("metrics") == "extensive",
        log,
        notices,
        command_line: Vec::new(),
    }
}

fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

const DEFAULT_NAME: &str = "default";
const DEFAULT_PEER_URL: &str = "http://localhost:2380";
const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;

fn resolve_log(settings: &Settings) -> Result<log::Options, String> {
    match settings.text("logger") {
        "zap" => {}
        other => return Err(format!("unknown logger option {other:?}")),
    }
    let level = match settings.text("log-level") {
        "debug" => Level::Debug,
        "" | "info" => Level::Info,
        "warn" => Level::Warn,
        "error" | "dpanic" | "panic" | "fatal" => Level::Error,
        other => return Err(format!("unrecognized level: {other:?}")),
    };
    let is_console = match settings.text("log-format") {
        "" | "json" => false,
        "console" => true,
        other => return Err(format!("unknown log format: {other}, supported values json, console")),
    };
    let names = settings.list("log-outputs");
    if settings.bool("enable-log-rotation") && !matches!(names, [name] if !["default", "stderr", "stdout"].contains(&name.as_str())) {
        return Err("--log-outputs requires a single file path when --log-rotate-config-json is defined".to_owned());
    }
    if names.is_empty() && settings.is_set("log-outputs") && !settings.is_from_file {
        return Err(format!("open sink \"\": open : {}", go_words(&io::Error::from_raw_os_error(ENOENT))));
    }
    if names.len() > 1 && names.iter().any(|name| name == "default") {
        return Err("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    let mut outputs: Vec<Output> = Vec::new();
    for name in names {
        let output = match name.as_str() {
            // A unit's stderr ends up in the journal.
            "default" | "stderr" | "systemd/journal" => Output::Stderr,
            "stdout" => Output::Stdout,
            // Wins over all others, as in etcd.
            "/dev/null" => return Ok(log::Options { level, is_console, outputs: Vec::new() }),
            path => Output::File(PathBuf::from(path)),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() {
        outputs.push(Output::Stderr);
    }
    Ok(log::Options { level, is_console, outputs })
}

fn resolve_auto_compaction(settings: &Settings, notices: &mut Vec<Notice>) -> Result<AutoCompaction, String> {
    let is_periodic = match settings.text("auto-compaction-mode") {
        "periodic" => true,
        "revision" => false,
        "" => return Err("undefined auto-compaction-mode".to_owned()),
        other => return Err(format!("unknown auto-compaction-mode {other:?}")),
    };
    let text = settings.text("auto-compaction-retention");
    if let Ok(count) = text.parse::<u32>() {
        return Ok(match (count, is_periodic) {
            (0, _) => AutoCompaction::Off,
            (hours, true) => AutoCompaction::Periodic(Duration::from_secs(u64::from(hours) * 3600)),
            (revisions, false) => AutoCompaction::Revision(i64::from(revisions)),
        });
    }
    if !is_periodic && let Ok(revisions) = text.parse::<i64>() {
        return if revisions < 0 { Err(wrong_retention(text)) } else { Ok(AutoCompaction::Revision(revisions)) };
    }
    let nanos = read_span(text).ok_or_else(|| wrong_retention(text))?;
    if nanos <= 0 {
        return Ok(AutoCompaction::Off);
    }
    if is_periodic {
        return Ok(AutoCompaction::Periodic(Duration::from_nanos(nanos.unsigned_abs())));
    }
    // Quirk: a duration in revision mode counts its nanoseconds, so in effect nothing is ever compacted; pinned by `a_retention_is_read_by_its_mode`.
    notices.push(Notice::warn("a duration in revision mode keeps that many revisions as it has nanoseconds", "auto-compaction-retention"));
    Ok(AutoCompaction::Revision(nanos))
}

fn wrong_retention(text: &str) -> String {
    if text.parse::<f64>().is_ok() {
        return format!("error parsing CompactionRetention: time: missing unit in duration {text:?}");
    }
    format!("error parsing CompactionRetention: time: invalid duration {text:?}")
}

fn resolve_initial_cluster(settings: &Settings) -> Result<InitialCluster, String> {
    let name = settings.text("name");
    let token = settings.text("initial-cluster-token").to_owned();
    let is_existing = settings.text("initial-cluster-state") == "existing";
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    if settings.is_set("initial-cluster") {
        for pair in settings.text("initial-cluster").split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (member, text) = pair.split_once('=').unwrap_or((pair, ""));
            let url = Url::read(text).map_err(|error| format!("error setting up initial cluster: {error}"))?;
            members.entry(member.to_owned()).or_default().push(url);
        }
    } else if name == DEFAULT_NAME {
        // Quirk: only a member with a name of its own takes over what it advertises (CFG-6), as in etcd; pinned by
        // `a_member_without_a_name_has_the_default_cluster`.
        let url = Url::read(DEFAULT_PEER_URL).map_err(|error| format!("error setting up initial cluster: {error}"))?;
        members.insert(name.to_owned(), vec![url]);
    } else if !name.is_empty() {
        members.insert(name.to_owned(), settings.urls("initial-advertise-peer-urls").to_vec());
    }
    let mut all: Vec<&Url> = members.values().flatten().collect();
    all.sort_by_key(|url| url.to_string());
    if all.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("initial cluster {} has duplicate url", settings.text("initial-cluster")));
    }
    for urls in members.values_mut() {
        urls.sort_by_key(Url::to_string);
    }
    if let Some(other) = members.keys().find(|member| *member != name && members.len() > 1) {
        return Err(format!("--initial-cluster names another member ({other}): clusters of several members are not built yet"));
    }
    Ok(InitialCluster { members, token, is_existing })
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, parse};
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn config(line: &str) -> Config {
        match parse(&words(line), &[]) {
            Outcome::Run(config) => *config,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        match parse(&words(line), &[]) {
            Outcome::Refuse(reason) => reason,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_etcds() {
        let config = config("");
        assert_eq!((config.name.as_str(), config.data_dir), ("default", PathBuf::from("default.etcd")));
        assert_eq!(config.wal_dir, PathBuf::from("default.etcd/member/wal"));
        assert_eq!((config.heartbeat, config.election_timeout), (Duration::from_millis(100), Duration::from_secs(1)));
        assert_eq!((config.snapshot_count, config.snapshot_catchup_entries, config.wals_max), (10_000, 5_000, Some(5)));
        assert_eq!((config.txn_ops_max, config.request_bytes_max, config.learners_max), (128, 1_572_864, 1));
        assert_eq!(config.quota_backend_bytes, Some(2 << 30));
        assert_eq!(config.concurrent_streams_max, u32::MAX);
        assert_eq!(config.auto_compaction, AutoCompaction::Off);
        assert_eq!((config.warning_apply, config.warning_unary_request), (Duration::from_millis(100), Duration::from_millis(300)));
        assert_eq!(config.watch_progress_notify_interval, Duration::from_secs(600));
        assert_eq!((config.compaction_batch_limit, config.compaction_sleep_interval), (1000, Duration::from_millis(10)));
        let hours_2 = Some(Duration::from_secs(7200));
        let pings = Keepalive { min_time: Duration::from_secs(5), interval: hours_2, timeout: Some(Duration::from_secs(20)) };
        assert_eq!(config.keepalive, pings);
        assert_eq!(config.initial_cluster.members["default"][0].to_string(), "http://localhost:2380");
        assert_eq!((config.initial_cluster.token.as_str(), config.initial_cluster.is_existing), ("etcd-cluster", false));
        assert_eq!((config.cors, config.host_whitelist), (vec!["*".to_owned()], vec!["*".to_owned()]));
        assert_eq!(config.log, log::Options { level: Level::Info, is_console: false, outputs: vec![Output::Stderr] });
        assert!(config.is_pre_vote && config.is_strict_reconfig_check && config.is_initial_election_tick_advance && config.is_grpc_gateway);
        assert!(!config.is_force_new_cluster && !config.is_unsafe_no_fsync && !config.is_metrics_extensive);
    }

    #[test]
    fn the_name_moves_the_directory_and_the_initial_cluster() {
        let config = config("--name=a --initial-advertise-peer-urls=http://127.0.0.1:1");
        assert_eq!(config.data_dir, PathBuf::from("a.etcd"));
        assert_eq!(config.initial_cluster.members["a"][0].to_string(), "http://127.0.0.1:1");
        assert_eq!(config.check_bootstrap(), Ok(()));
    }

    #[test]
    fn a_quota_of_zero_is_the_default_and_less_than_zero_is_none() {
        assert_eq!(config("--quota-backend-bytes=-1").quota_backend_bytes, None);
        assert_eq!(config("--quota-backend-bytes=5").quota_backend_bytes, Some(5));
    }

    #[test]
    fn a_retention_is_read_by_its_mode() {
        let hour = Duration::from_secs(3600);
        for (line, wanted) in [
            ("--auto-compaction-retention=2", AutoCompaction::Periodic(2 * hour)),
            ("--auto-compaction-retention=5m", AutoCompaction::Periodic(hour / 12)),
            ("--auto-compaction-mode=revision --auto-compaction-retention=1000", AutoCompaction::Revision(1000)),
            ("--auto-compaction-mode=revision --auto-compaction-retention=1us", AutoCompaction::Revision(1000)),
            ("--auto-compaction-mode=revision", AutoCompaction::Off),
        ] {
            assert_eq!(config(line).auto_compaction, wanted, "{line}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_one_line() {
        for (line, reason) in [
            ("stray", "\"stray\" is not a valid flag"),
            ("--logger=foo", "unknown logger option \"foo\""),
            ("--log-format=foo", "unknown log format: foo, supported values json, console"),
            ("--log-level=foo", "unrecognized level: \"foo\""),
            ("--log-outputs=a,default", "multi logoutput for \"default\" is not supported yet"),
            ("--listen-client-urls=http://foo.com:1", "expected IP in URL for binding (http://foo.com:1)"),
            ("--listen-client-urls=http://127.0.0.1:1", "--advertise-client-urls is required when --listen-client-urls is set explicitly"),
            ("--heartbeat-interval=0", "--heartbeat-interval must be >0 (set to 0ms)"),
            ("--heartbeat-interval=1000", "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[1000ms]"),
            ("--election-timeout=60000", "--election-timeout[60000ms] is too long, and should be set less than 50000ms"),
            ("--compact-hash-check-time=0s", "--compact-hash-check-time must be >0 (set to 0s)"),
            ("--auto-compaction-mode=", "undefined auto-compaction-mode"),
            ("--auto-compaction-retention=-5", "error parsing CompactionRetention: time: missing unit in duration \"-5\""),
            ("--log-outputs=", &format!("open sink \"\": open : {}", go_words(&io::Error::from_raw_os_error(ENOENT)))),
            ("--max-learners=-1", "membership: too many learner members in cluster"),
            ("--auth-token=foo", "auth: invalid auth options"),
            (
                "--enable-distributed-tracing --distributed-tracing-sampling-rate=1000001",
                "distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)",
            ),
            ("--auto-compaction-mode=foo", "unknown auto-compaction-mode \"foo\""),
            ("--auto-compaction-retention=foo", "error parsing CompactionRetention: time: invalid duration \"foo\""),
            ("--discovery-token=x", "both --discovery-token and --discovery-endpoints must be set"),
            ("--tls-min-version=foo", "unexpected TLS version \"foo\" (must be one of: TLS1.2, TLS1.3)"),
            ("--tls-min-version=TLS1.3 --cipher-suites=x", "cipher suites cannot be configured when only TLS1.3 is enabled"),
            (
                "--feature-gates=LeaseCheckpointPersist=true",
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
            ),
            (
                "--name=a --initial-cluster=a=http://127.0.0.1:1,a=http://127.0.0.1:1",
                "initial cluster a=http://127.0.0.1:1,a=http://127.0.0.1:1 has duplicate url",
            ),
            ("--initial-cluster=foo", "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "),
            (
                "--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://127.0.0.1:1",
                "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme",
            ),
            (
                "--listen-client-urls=http://127.0.0.1:1 --advertise-client-urls=http://127.0.0.1:1 --listen-client-http-urls=http://127.0.0.1:1",
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://127.0.0.1:1",
            ),
        ] {
            assert_eq!(refusal(line), reason);
        }
    }

    #[test]
    fn what_would_be_ignored_at_the_users_peril_is_refused() {
        for line in [
            "--client-cert-auth",
            "--cert-file=a --key-file=b",
            "--peer-auto-tls",
            "--auth-token=jwt,sign-method=HS256",
            "--discovery-srv=example.com",
            "--enable-log-rotation --log-outputs=a.log",
            "--initial-cluster=default=http://localhost:2380,b=http://localhost:2381",
        ] {
            assert!(refusal(line).contains("built"), "{line}");
        }
    }

    #[test]
    fn what_changes_nothing_is_accepted_with_a_warning_that_names_it() {
        let subjects: Vec<String> =
            config("--name=a --memory-mlock --v=1 --backend-batch-limit=1").notices.into_iter().map(|notice| notice.subject).collect();
        assert_eq!(subjects, ["memory-mlock", "backend-batch-limit", "v"]);
    }

    #[test]
    fn a_new_log_is_only_begun_by_a_member_of_the_initial_cluster() {
        let other_name = config("--name=a --initial-cluster=b=http://localhost:2380");
        assert_eq!(other_name.check_bootstrap(), Err("couldn't find local name \"a\" in the initial cluster configuration".to_owned()));
        let other_url = config("--name=a --initial-cluster=a=http://127.0.0.1:1").check_bootstrap().unwrap_err();
        assert_eq!(
            other_url,
            "--initial-cluster has a=http://127.0.0.1:1 but missing from --initial-advertise-peer-urls=http://localhost:2380 \
             (resolved urls: \"http://localhost:2380\" != \"http://127.0.0.1:1\")"
        );
        assert!(config("--initial-cluster-state=existing").check_bootstrap().is_err());
    }

    #[test]
    fn a_member_without_a_name_has_the_default_cluster() {
        let advertised = "--initial-advertise-peer-urls=http://127.0.0.1:1";
        assert!(config(advertised).check_bootstrap().is_err());
        let named = config(&format!("--name=a {advertised}"));
        assert_eq!((named.check_bootstrap(), named.founding_urls()[0].to_string().as_str()), (Ok(()), "http://127.0.0.1:1"));
        let nameless = config("--name=").check_bootstrap();
        assert_eq!(nameless, Err("couldn't find local name \"\" in the initial cluster configuration".to_owned()));
    }

    #[test]
    fn dev_null_silences_every_other_output() {
        assert!(config("--log-outputs=stderr,/dev/null").log.outputs.is_empty());
    }

    #[test]
    fn a_file_may_leave_the_advertised_urls_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.json");
        std::fs::write(&path, r#"{"listen-client-urls": "http://127.0.0.1:1"}"#).unwrap();
        let config = config(&format!("--config-file={}", path.display()));
        assert_eq!(config.advertise_client_urls[0].to_string(), "http://localhost:2379");
    }

    #[test]
    fn a_file_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.yml");
        std::fs::write(&path, "max-txn-ops: 7\nbogus: 1\n").unwrap();
        let path = path.to_str().unwrap().to_owned();
        let env = [("ETCD_NAME".to_owned(), "from-env".to_owned()), ("ETCD_CONFIG_FILE".to_owned(), path.clone())];
        for line in [vec!["--name=from-flag".to_owned()], vec!["--config-file".to_owned(), path.clone()]] {
            let Outcome::Run(config) = parse(&line, &env) else { panic!("{line:?}") };
            assert_eq!((config.name.as_str(), config.txn_ops_max), ("default", 7));
            assert!(config.notices.iter().any(|notice| notice.subject == "bogus"));
        }
        std::fs::write(&path, "max-txn-ops: abc\n").unwrap();
        let Outcome::Refuse(reason) = parse(&["--config-file".to_owned(), path.clone()], &[]) else { panic!() };
        assert_eq!(reason, format!("{path}: max-txn-ops: a whole number from 0 is wanted, not a text"));
    }
}
