//! The flags of the server: one row each, from which the parser, the environment, the file and the help text all read.
//!
//! ```text
//!   FLAGS --+-- command line     --name=value, -name value
//!           +-- environment      ETCD_NAME
//!           +-- file             name: value, or section.name
//!           +-- help
//! ```
//!
//! Writes: nothing. Reads: nothing.
//! Invariant: a flag that changes nothing says so in its row: `harmless` with the reason, or `refused` where ignoring it would
//! leave the user with less safety than asked for.

use super::value::Kind;

/// Heading of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Member,
    Clustering,
    Security,
    Auth,
    Monitoring,
    Logging,
    Tracing,
    Features,
    Unsafe,
    /// Not in the help text.
    Hidden,
}

/// What this build does with a flag that was set to something other than its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    Honoured,
    /// Accepted with a warning; the reason why nobody comes to harm.
    Harmless(&'static str),
    /// The start is refused; what is missing.
    Refused(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be typed.
    pub default: &'static str,
    pub category: Category,
    pub help: &'static str,
    /// The dotted key in the file; none where the file cannot set it.
    pub file_key: Option<&'static str>,
    pub care: Care,
}

impl Flag {
    const fn at(mut self, file_key: &'static str) -> Flag {
        self.file_key = Some(file_key);
        self
    }

    const fn not_in_file(mut self) -> Flag {
        self.file_key = None;
        self
    }

    const fn harmless(mut self, reason: &'static str) -> Flag {
        self.care = Care::Harmless(reason);
        self
    }

    const fn refused(mut self, missing: &'static str) -> Flag {
        self.care = Care::Refused(missing);
        self
    }

    /// The environment variable that sets it.
    pub fn env_name(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace(['-', '.'], "_"))
    }
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, category: Category, help: &'static str) -> Flag {
    Flag { name, kind, default, category, help, file_key: Some(name), care: Care::Honoured }
}

const fn retired(name: &'static str) -> Flag {
    flag(name, Kind::Retired, "", Category::Hidden, "").not_in_file().harmless("it is of an older release and has no meaning now")
}

/// The flag of this name.
pub fn find(name: &str) -> Option<usize> {
    FLAGS.iter().position(|flag| flag.name == name)
}

use Category::{Auth, Clustering, Features, Hidden, Logging, Member, Monitoring, Security, Tracing, Unsafe};
use Kind::{Bool, Choice, Int, List, Origins, Span, Text, Uint, Uint32, Urls};

const NO_TLS: &str = "TLS is not built yet";
const NO_DISCOVERY: &str = "discovery is not built yet";
const ONLY_WITH_TLS: &str = "it only shapes TLS, which is off";
const ONLY_WITH_DISCOVERY: &str = "it only shapes discovery, which is off";
const ONLY_WITH_AUTH: &str = "it only shapes authentication, which is not built yet";
const ONLY_WITH_PEERS: &str = "a single member has no peers";
const NO_BBOLT: &str = "the state engine is not bbolt";
const NO_TRACING: &str = "no trace is exported";

/// Every flag, in the order of the help text: a table, so each flag stays one row.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag("name", Text, "default", Member, "Name of this member, unique in its cluster."),
    flag("data-dir", Text, "", Member, "Directory of everything this member keeps; '<name>.etcd' when empty."),
    flag("wal-dir", Text, "", Member, "Directory of the raft log, when it has a disk of its own."),
    flag("snapshot-count", Uint, "10000", Member, "Applied entries after which the state is made durable and the log may be truncated.")
        .harmless("the state is made durable by what a restart would have to replay"),
    flag("heartbeat-interval", Uint, "100", Member, "Milliseconds between the heartbeats of a leader."),
    flag("election-timeout", Uint, "1000", Member, "Milliseconds without a leader after which a member campaigns."),
    flag("initial-election-tick-advance", Bool, "true", Member,
        "Start close to the election timeout, so that a first leader is found sooner."),
    flag("listen-peer-urls", Urls, "http://localhost:2380", Member, "URLs on which peers are served."),
    flag("listen-client-urls", Urls, "http://localhost:2379", Member,
        "URLs on which clients are served, with gRPC and, unless it has listeners of its own, HTTP."),
    flag("listen-client-http-urls", Urls, "", Member, "URLs that serve HTTP only; the client URLs then serve gRPC only."),
    flag("max-snapshots", Uint, "5", Member, "Snapshot files to keep. Of old.").harmless("no snapshot files are kept"),
    flag("max-wals", Uint, "5", Member, "Log files to keep beyond what recovery needs; 0 keeps all."),
    flag("memory-mlock", Bool, "false", Member,
        "Lock the pages of the database in memory.").harmless("the state engine maps no file into memory"),
    flag("quota-backend-bytes", Int, "0", Member, "Size of the database at which writes are refused; 0 is 2 GiB, less than 0 is no limit."),
    flag("backend-bbolt-freelist-type", Text, "map", Member, "How bbolt keeps its free pages.").harmless(NO_BBOLT),
    flag("backend-batch-interval", Span, "0s", Member, "Longest wait before a batch is committed to bbolt.").harmless(NO_BBOLT),
    flag("backend-batch-limit", Int, "0", Member, "Most operations before a batch is committed to bbolt.").harmless(NO_BBOLT),
    flag("max-txn-ops", Uint, "128", Member, "Most operations in one branch of a transaction."),
    flag("max-request-bytes", Uint, "1572864", Member, "Largest request of a client."),
    flag("max-concurrent-streams", Uint32, "4294967295", Member, "Most streams that one connection may have open."),
    flag("grpc-keepalive-min-time", Span, "5s", Member, "Shortest time between two pings of a client before it is sent away.").harmless("no client is sent away for its pings"),
    flag("grpc-keepalive-interval", Span, "2h", Member, "Time between pings to a quiet client; 0 sends none."),
    flag("grpc-keepalive-timeout", Span, "20s", Member, "How long a ping may stay unanswered before the connection is closed."),
    flag("socket-reuse-port", Bool, "false", Member, "Set SO_REUSEPORT on listeners.").at("socket-options.reuse-port"),
    flag("socket-reuse-address", Bool, "false", Member, "Set SO_REUSEADDR on listeners.").at("socket-options.reuse-address").harmless("it is always set"),
    flag("enable-grpc-gateway", Bool, "true", Member, "Serve the JSON form of the API below /v3/."),
    flag("raft-read-timeout", Span, "5s", Member, "Read timeout of peer connections.").not_in_file().harmless(ONLY_WITH_PEERS),
    flag("raft-write-timeout", Span, "5s", Member, "Write timeout of peer connections.").not_in_file().harmless(ONLY_WITH_PEERS),
    flag("feature-gates", Kind::Gates, "", Member, "Comma-separated NAME=true|false. The gates are:"),
    flag("initial-advertise-peer-urls", Urls, "http://localhost:2380", Clustering, "URLs at which this member tells peers to reach it."),
    flag("initial-cluster", Text, "", Clustering, "Members of a new cluster, NAME=URL with commas between; this member alone when empty."),
    flag("initial-cluster-state", Choice(&["new", "existing"]), "new", Clustering,
        "Whether to begin a cluster ('new') or to join one ('existing'). Only read while the data directory is empty."),
    flag("initial-cluster-token", Text, "etcd-cluster", Clustering, "Word that sets this cluster's ids apart from those of others."),
    flag("advertise-client-urls", Urls, "http://localhost:2379", Clustering,
        "URLs at which clients are told to reach this member; needed when --listen-client-urls is set."),
    flag("discovery-token", Text, "", Clustering,
        "Token of the cluster at the discovery service.").at("discovery-config.token").refused(NO_DISCOVERY),
    flag("discovery-endpoints", List, "", Clustering,
        "Endpoints of the discovery service.").at("discovery-config.client.endpoints").refused(NO_DISCOVERY),
    flag("discovery-dial-timeout", Span, "2s", Clustering,
        "Discovery: time to connect.").at("discovery-config.client.dial-timeout").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-request-timeout", Span, "5s", Clustering,
        "Discovery: time for a request.").at("discovery-config.client.request-timeout").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-keepalive-time", Span, "2s", Clustering,
        "Discovery: time between pings.").at("discovery-config.client.keepalive-time").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-keepalive-timeout", Span, "6s", Clustering,
        "Discovery: time for the answer to a ping.").at("discovery-config.client.keepalive-timeout").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-insecure-transport", Bool, "true", Clustering,
        "Discovery: connect without TLS.").at("discovery-config.client.secure.insecure-transport").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-insecure-skip-tls-verify", Bool, "false", Clustering,
        "Discovery: do not verify the certificate.").at("discovery-config.client.secure.insecure-skip-tls-verify")
        .harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-cert", Text, "", Clustering,
        "Discovery: certificate to show.").at("discovery-config.client.secure.cert").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-key", Text, "", Clustering,
        "Discovery: key of that certificate.").at("discovery-config.client.secure.key").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-cacert", Text, "", Clustering,
        "Discovery: authorities to trust.").at("discovery-config.client.secure.cacert").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-user", Text, "", Clustering,
        "Discovery: user, or user:password.").at("discovery-config.client.auth.username").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-password", Text, "", Clustering,
        "Discovery: password.").at("discovery-config.client.auth.password").harmless(ONLY_WITH_DISCOVERY),
    flag("discovery-fallback", Choice(&["exit", "proxy"]), "exit", Clustering,
        "What to do when discovery fails; only 'exit'.").not_in_file(),
    flag("discovery-srv", Text, "", Clustering, "DNS domain whose SRV records name the members.").refused(NO_DISCOVERY),
    flag("discovery-srv-name", Text, "", Clustering, "Suffix of the SRV name.").harmless(ONLY_WITH_DISCOVERY),
    flag("strict-reconfig-check", Bool, "true", Clustering, "Refuse changes of members that would lose the quorum.").harmless(ONLY_WITH_PEERS),
    flag("pre-vote", Bool, "true", Clustering, "Ask before campaigning, so that a member that was cut off does not unseat a leader.").harmless(ONLY_WITH_PEERS),
    flag("auto-compaction-retention", Text, "0", Clustering, "How much history to keep; 0 never compacts."),
    flag("auto-compaction-mode", Text, "periodic", Clustering,
        "What the retention counts: 'periodic' a duration (hours when no unit is given), 'revision' revisions."),
    flag("v2-deprecation", Choice(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"]), "write-only", Clustering,
        "Stage of the v2 store's removal. Of old.").harmless("there is no v2 store"),
    flag("cert-file", Text, "", Security, "Certificate of the client listeners.").at("client-transport-security.cert-file").refused(NO_TLS),
    flag("key-file", Text, "", Security, "Key of that certificate.").at("client-transport-security.key-file").refused(NO_TLS),
    flag("client-cert-auth", Bool, "false", Security,
        "Ask clients for a certificate.").at("client-transport-security.client-cert-auth").refused(NO_TLS),
    flag("client-cert-file", Text, "", Security,
        "Certificate this member shows when it is itself a client.").at("client-transport-security.client-cert-file").refused(NO_TLS),
    flag("client-key-file", Text, "", Security, "Key of that certificate.").at("client-transport-security.client-key-file").refused(NO_TLS),
    flag("client-crl-file", Text, "", Security, "Revoked client certificates.").not_in_file().refused(NO_TLS),
    flag("client-cert-allowed-hostname", List, "", Security,
        "Names one of which a client certificate must carry.").at("client-transport-security.allowed-hostname").refused(NO_TLS),
    flag("trusted-ca-file", Text, "", Security,
        "Authorities trusted for client certificates.").at("client-transport-security.trusted-ca-file").refused(NO_TLS),
    flag("auto-tls", Bool, "false", Security,
        "Make a certificate for the client listeners.").at("client-transport-security.auto-tls").refused(NO_TLS),
    flag("peer-cert-file", Text, "", Security,
        "Certificate of the peer listeners.").at("peer-transport-security.cert-file").refused(NO_TLS),
    flag("peer-key-file", Text, "", Security, "Key of that certificate.").at("peer-transport-security.key-file").refused(NO_TLS),
    flag("peer-client-cert-auth", Bool, "false", Security,
        "Ask peers for a certificate.").at("peer-transport-security.client-cert-auth").refused(NO_TLS),
    flag("peer-client-cert-file", Text, "", Security,
        "Certificate this member shows to peers.").at("peer-transport-security.client-cert-file").refused(NO_TLS),
    flag("peer-client-key-file", Text, "", Security,
        "Key of that certificate.").at("peer-transport-security.client-key-file").refused(NO_TLS),
    flag("peer-trusted-ca-file", Text, "", Security,
        "Authorities trusted for peers.").at("peer-transport-security.trusted-ca-file").refused(NO_TLS),
    flag("peer-cert-allowed-cn", List, "", Security,
        "Common names one of which a peer certificate must carry.").at("peer-transport-security.allowed-cn").refused(NO_TLS),
    flag("peer-cert-allowed-hostname", List, "", Security,
        "Names one of which a peer certificate must carry.").at("peer-transport-security.allowed-hostname").refused(NO_TLS),
    flag("peer-auto-tls", Bool, "false", Security,
        "Make a certificate for the peer listeners.").at("peer-transport-security.auto-tls").refused(NO_TLS),
    flag("self-signed-cert-validity", Uint, "1", Security, "Years that a certificate made here is valid.").harmless(ONLY_WITH_TLS),
    flag("peer-crl-file", Text, "", Security, "Revoked peer certificates.").not_in_file().refused(NO_TLS),
    flag("peer-skip-client-san-verification", Bool, "false", Security,
        "Do not compare a peer's address with its certificate.").at("peer-transport-security.skip-client-san-verification")
        .harmless(ONLY_WITH_TLS),
    flag("cipher-suites", List, "", Security, "TLS cipher suites, in Go's names.").harmless(ONLY_WITH_TLS),
    flag("cors", Origins, "*", Security, "Origins whose pages may call the HTTP API."),
    flag("host-whitelist", List, "*", Security, "Host names that HTTP requests may carry while TLS is off."),
    flag("tls-min-version", Text, "TLS1.2", Security, "Oldest TLS to speak: TLS1.2 or TLS1.3.").harmless(ONLY_WITH_TLS),
    flag("tls-max-version", Text, "", Security, "Newest TLS to speak: TLS1.2 or TLS1.3.").harmless(ONLY_WITH_TLS),
    flag("auth-token", Text, "simple", Auth, "Kind of token and its options.").refused("only simple tokens are built"),
    flag("bcrypt-cost", Uint, "10", Auth, "Cost of hashing a password, 4 to 31.").harmless(ONLY_WITH_AUTH),
    flag("auth-token-ttl", Uint, "300", Auth, "Seconds that an unused simple token lives.").harmless(ONLY_WITH_AUTH),
    flag("enable-pprof", Bool, "false", Monitoring, "Serve profiles of the process.").harmless("profiles in Go's format are not made"),
    flag("metrics", Text, "basic", Monitoring, "How much to measure: 'basic', or 'extensive' with a histogram for every gRPC method."),
    flag("listen-metrics-urls", Urls, "", Monitoring, "Further URLs that serve metrics and health."),
    flag("logger", Text, "zap", Logging, "Only 'zap', the shape of the log lines."),
    flag("log-outputs", List, "default", Logging,
        "Where to log: 'default', 'stderr', 'stdout', 'systemd/journal' or file names, with commas between."),
    flag("log-level", Text, "info", Logging, "Least level to log: debug, info, warn, error, panic or fatal."),
    flag("log-format", Text, "json", Logging, "Form of a log line: json or console."),
    flag("enable-log-rotation", Bool, "false", Logging, "Rotate the log file.").refused("rotation is not built yet, use an outside tool"),
    flag("log-rotation-config-json", Text, DEFAULT_ROTATION, Logging, "When to rotate.").harmless("rotation is off"),
    flag("warning-unary-request-duration", Span, "300ms", Logging, "Time after which a slow request is logged."),
    flag("enable-distributed-tracing", Bool, "false", Tracing, "Export traces.").harmless(NO_TRACING),
    flag("distributed-tracing-address", Text, "localhost:4317", Tracing, "Address of the collector.").harmless(NO_TRACING),
    flag("distributed-tracing-service-name", Text, "etcd", Tracing, "Name of the service in traces.").harmless(NO_TRACING),
    flag("distributed-tracing-instance-id", Text, "", Tracing, "Name of this member in traces.").harmless(NO_TRACING),
    flag("distributed-tracing-sampling-rate", Int, "0", Tracing, "Traces to keep out of a million.").harmless(NO_TRACING),
    flag("corrupt-check-time", Span, "0s", Features,
        "Time between comparisons of hashes with peers; 0 never compares.").harmless(ONLY_WITH_PEERS),
    flag("compact-hash-check-time", Span, "1m0s", Features,
        "Time between comparisons of compacted hashes with peers.").harmless(ONLY_WITH_PEERS),
    flag("compaction-batch-limit", Int, "0", Features, "Most revisions swept in one slice; 0 is 1000."),
    flag("compaction-sleep-interval", Span, "0s", Features, "Pause between slices of a sweep; 0 is 10ms."),
    flag("watch-progress-notify-interval", Span, "0s", Features, "Time between progress notices of a quiet watch; 0 is 10m."),
    flag("warning-apply-duration", Span, "100ms", Features, "Time after which a slow apply is logged."),
    flag("bootstrap-defrag-threshold-megabytes", Uint, "0", Features,
        "Defragment at start if that frees as much; 0 never does.").harmless("the state engine gives space back by itself"),
    flag("max-learners", Int, "1", Features, "Most learners in the cluster.").harmless(ONLY_WITH_PEERS),
    flag("downgrade-check-time", Span, "5s", Features, "Time between looks at the state of a downgrade.").harmless(ONLY_WITH_PEERS),
    flag("snapshot-catchup-entries", Uint, "5000", Features, "Entries kept in the log for slow followers when it is truncated.").harmless(ONLY_WITH_PEERS),
    flag("force-new-cluster", Bool, "false", Unsafe, "Keep the data and forget all other members.").refused("rebuilding a cluster is not built yet"),
    flag("unsafe-no-fsync", Bool, "false", Unsafe, "Do not wait for the disk. A crash loses data.").harmless("the log is always synced"),
    flag("config-file", Text, "", Hidden, "").not_in_file(),
    flag("version", Bool, "false", Hidden, "").not_in_file(),
    retired("cluster-active-size"),
    retired("cluster-remove-delay"),
    retired("cluster-sync-interval"),
    retired("config"),
    retired("force"),
    retired("max-result-buffer"),
    retired("max-retry-attempts"),
    retired("peer-heartbeat-interval"),
    retired("peer-election-timeout"),
    retired("retry-interval"),
    retired("snapshot"),
    retired("v"),
    retired("vv"),
    retired("test.coverprofile"),
    retired("test.outputdir"),
];

const DEFAULT_ROTATION: &str = r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#;
