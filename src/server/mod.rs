//! Start and stop of the whole process, in order and with the reason for each order.
//!
//! ```text
//!   start:  log -> runtimes -> ports bound -> node (lock, engine, log, state, threads) -> peer and metrics listeners -> published
//!           -> client listeners
//!   stop:   streams told -> listeners closed -> connections drained -> node (last flush) -> runtimes
//! ```

mod calls;
mod checks;
mod client_versions;
mod connection;
mod framing;
pub mod gate;
mod gather;
mod group;
mod grpc;
mod listener;
mod metrics;
mod probe;
mod runtime;
pub mod signal;
mod streamed;
mod terms;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::Semaphore;

use crate::clock::{Clock, SystemClock};
use crate::config::{AutoCompaction, Config};
use crate::go_words::go_words;
use crate::http::guard::Guard;
use crate::http::{Pages, peer};
use crate::log;
use crate::metrics::Registry;
use crate::node::{self, CompactionMode, Node, Seat};
use crate::release;
use crate::url::Url;
use crate::watch::Station;
use calls::Calls;
use connection::Services;
use gather::Traffic;
use group::Peers;
use grpc::Grpc;
use listener::{Desk, Listener};
use probe::Probe;
use runtime::Thread;
use signal::Request;

/// Why the process ended before it served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Node(#[from] node::StartError),
    /// The second half is in the words of etcd's own line, which harnesses look for.
    #[error("cannot listen on {url} (--{flag}): listen tcp {}: bind: {}", url.address, go_words(source))]
    Listen { url: Url, flag: &'static str, source: std::io::Error },
    #[error("{0}")]
    Proxy(&'static str),
    #[error("the task that serves clients panicked")]
    Panicked,
    #[error("cannot start a runtime thread: {0}")]
    Runtime(std::io::Error),
}

/// Bytes of current values kept ready in memory (D4). Where a process can address 2 or 3 GiB, all budgets together stay below 256 MiB.
const VALUE_CACHE_BYTES: usize = if cfg!(target_pointer_width = "32") { 64 << 20 } else { 256 << 20 };
/// Beyond max-request-bytes, for the envelope of a request (GRP-6).
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;
/// Bound: connections of one metrics listener.
const PROBES_MAX: usize = 64;
/// Bound: connections of the peer listeners. A member of a cluster of seven opens a few dozen.
const PEERS_MAX: usize = 1024;
/// Open calls get this long at stop; then the connections are closed under them.
const DRAIN: Duration = Duration::from_secs(1);

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

fn node_options(config: &Config) -> node::Options {
    node::Options {
        name: config.name.clone(),
        data_dir: config.data_dir.clone(),
        wal_dir: config.wal_dir.clone(),
        advertise_client_urls: texts(&config.advertise_client_urls),
        advertise_peer_urls: texts(config.founding_urls()),
        cluster_token: config.initial_cluster.token.clone(),
        heartbeat: config.heartbeat,
        election: config.election_timeout,
        request_timeout: node::request_timeout(config.election_timeout),
        quota_bytes: config.quota_backend_bytes.map_or(-1, |bytes| bytes as i64),
        founding: config.check_bootstrap(),
        max_request_bytes: config.request_bytes_max,
        max_txn_ops: config.txn_ops_max,
        wals_max: config.wals_max.map_or(usize::MAX, |max| max as usize),
        warning_apply: config.warning_apply,
        warning_unary: config.warning_unary_request,
        compaction: match config.auto_compaction {
            AutoCompaction::Off => CompactionMode::Off,
            AutoCompaction::Periodic(period) => CompactionMode::Periodic(period),
            AutoCompaction::Revision(retention) => CompactionMode::Revision(retention),
        },
        sweep_records: config.compaction_batch_limit,
        sweep_pause: config.compaction_sleep_interval,
        lease_checkpoints: config.is_lease_checkpoint(),
        value_cache_bytes: VALUE_CACHE_BYTES,
    }
}

fn watch_options(config: &Config) -> crate::watch::Options {
    crate::watch::Options {
        progress_interval: config.watch_progress_notify_interval,
        fragment_bytes: config.request_bytes_max + GRPC_OVERHEAD_BYTES,
        ..crate::watch::Options::default()
    }
}

/// The whole program: log, member, exit code.
pub fn main(config: &Config) -> ExitCode {
    if let Err(error) = log::start(&config.log) {
        log::refuse(&error.to_string());
        return ExitCode::FAILURE;
    }
    log::notices(&config.notices);
    tracing::info!(
        etcd_version = release::VERSION,
        git_sha = release::GIT_SHA,
        build = release::BUILD,
        name = config.name,
        data_dir = %config.data_dir.display(),
        wal_dir = %config.wal_dir.display(),
        initial_advertise_peer_urls = ?texts(&config.advertise_peer_urls),
        listen_peer_urls = ?texts(&config.listen_peer_urls),
        listen_metrics_urls = ?texts(&config.listen_metrics_urls),
        initial_cluster_token = config.initial_cluster.token,
        listen_client_urls = ?texts(&config.listen_client_urls),
        advertise_client_urls = ?texts(&config.advertise_client_urls),
        heartbeat_interval = ?config.heartbeat,
        election_timeout = ?config.election_timeout,
        snapshot_count = config.snapshot_count,
        snapshot_catchup_entries = config.snapshot_catchup_entries,
        quota_backend_bytes = config.quota_backend_bytes.unwrap_or_default(),
        max_request_bytes = config.request_bytes_max,
        "starting an etcd server"
    );
    match run(config) {
        Ok(Some(request)) => request.leave(),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "this member does not start");
            ExitCode::FAILURE
        }
    }
}

/// Runs a member until a signal asks it to stop. Returns after everything has ended and is on disk.
fn run(config: &Config) -> Result<Option<Request>, Error> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<Thread> = (0..count).map(|k| Thread::start(&format!("rpc-{k}"))).collect::<Result<_, _>>().map_err(Error::Runtime)?;
    // Listeners, signals and the look-after tasks run on the first runtime.
    let first = threads[0].handle().clone();

    refuse_proxy(&config.data_dir)?;
    // Before anything is written: a port that is taken is a mistake in the command line, and the data directory stays as it was.
    let listeners = first.block_on(Listeners::bind(config))?;
    // The hubs must exist before the applier, which offers them events from its first batch on.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let registry = Registry::default();
    let hub_options = watch_options(config);
    let mut stations = Vec::new();
    let node = node::start(
        node_options(config),
        clock.clone(),
        |reader| {
            let (hubs, made) = Station::for_threads(count, reader, &hub_options, &clock);
            stations = made;
            hubs
        },
        count,
        node::Metrics::new(&registry),
    )?;
    // From here on a signal is answered by an orderly stop; before, it ends the process as it is, which every step of a start survives.
    let stop = first.block_on(async { signal::Stop::listen() }).map_err(Error::Runtime)?;
    let traffic = Arc::default();
    metrics::register(&node, config, &traffic, &registry);
    let seats = node.seats();
    for ((seat, station), thread) in seats.iter().zip(&stations).zip(&threads) {
        thread.handle().spawn(seat.mailbox.clone().open());
        thread.handle().spawn(station.clone().run(node.leadership()));
    }

    let sites = sites(config, &node, &seats, stations, &threads, &registry, &traffic);
    tracing::info!(
        local_member_id = format_args!("{:x}", node.member_id()),
        initial_advertise_peer_urls = ?texts(&config.advertise_peer_urls),
        listen_peer_urls = ?texts(&config.listen_peer_urls),
        advertise_client_urls = ?texts(&config.advertise_client_urls),
        listen_client_urls = ?texts(&config.listen_client_urls),
        listen_metrics_urls = ?texts(&config.listen_metrics_urls),
        "now serving peer/client/metrics"
    );
    let member = first.spawn(serve(node.clone(), seats, sites, listeners, stop));
    let served = first.block_on(member);
    node.stop();
    drop(threads);
    tracing::info!("closed etcd server");
    // The task can only have panicked, which the log says; the node was stopped all the same.
    served.unwrap_or(Err(Error::Panicked))
}

/// A data directory of the v2 proxy, which stood in for a member, holds nothing that a member could serve.
fn refuse_proxy(data_dir: &std::path::Path) -> Result<(), Error> {
    match (data_dir.join("proxy").is_dir(), data_dir.join("member").is_dir()) {
        (true, true) => Err(Error::Proxy("invalid datadir; both member and proxy directories exist")),
        (true, false) => Err(Error::Proxy("v2 http proxy has already been deprecated in 3.6")),
        (false, _) => Ok(()),
    }
}

/// What is served where.
struct Sites {
    /// Clients; one desk per runtime thread.
    clients: Vec<Desk>,
    metrics: Router,
    peers: Router,
}

fn sites(
    config: &Config,
    node: &Arc<Node>,
    seats: &[Seat],
    stations: Vec<Arc<Station>>,
    threads: &[Thread],
    registry: &Registry,
    traffic: &Arc<Traffic>,
) -> Sites {
    let pages = Pages::new(Arc::new(Probe::new(seats[0].clone())), registry, config.command_line.clone());
    let group: Arc<dyn peer::Group> = Arc::new(Peers::new(seats[0].clone()));
    let guard = Guard { hosts: config.host_whitelist.clone(), origins: config.cors.clone(), is_tls: false };
    let router = guard.before(pages.client());
    let keepalive = config.keepalive.interval.zip(config.keepalive.timeout);
    let calls = Arc::new(Calls::new(registry, config.is_metrics_extensive));
    let receive_max = node.options.max_request_bytes + GRPC_OVERHEAD_BYTES;
    let clients = seats.iter().zip(stations).zip(threads).map(|((seat, station), thread)| Desk {
        handle: thread.handle().clone(),
        services: Arc::new(Services {
            grpc: Some(Grpc::new(seat.clone(), station, receive_max, calls.clone())),
            http: Some(router.clone()),
            traffic: traffic.clone(),
            concurrent_streams_max: config.concurrent_streams_max,
            keepalive,
        }),
    });
    Sites { clients: clients.collect(), metrics: pages.metrics(), peers: pages.peer(&group) }
}

impl Sites {
    /// Desks that serve these pages and nothing else. Who asks for them is no client: what guards against browsers, and what counts
    /// the bytes of clients, is not in the way (HTP-3, HTP-11).
    fn pages_only(&self, pages: &Router) -> Vec<Desk> {
        let traffic: Arc<Traffic> = Arc::default();
        let desk = |desk: &Desk| {
            let services = Services { grpc: None, http: Some(pages.clone()), traffic: traffic.clone(), ..(*desk.services).clone() };
            Desk { handle: desk.handle.clone(), services: Arc::new(services) }
        };
        self.clients.iter().map(desk).collect()
    }

    /// Peers, probes and dashboards may look at once; clients only after the member has published itself (GRP-1). They have permits
    /// of their own: clients that hold all of theirs must not make a probe or a peer fail.
    fn open_beside(&self, node: &Node, peers: Vec<(Url, Listener)>, metrics: Vec<(Url, Listener)>) {
        let open = |what: &str, listeners: Vec<(Url, Listener)>, pages: &Router, connections_max: usize| {
            let permits = Arc::new(Semaphore::new(connections_max));
            for (url, listener) in listeners {
                tracing::info!(address = %url.address, "{what}");
                tokio::spawn(listener.run(self.pages_only(pages), permits.clone(), node.subscribe_stop()));
            }
        };
        open("serving peer traffic", peers, &self.peers, PEERS_MAX);
        open("serving metrics", metrics, &self.metrics, PROBES_MAX);
    }
}

/// The same desks with one half of their services (GRP-3).
fn narrowed(desks: &[Desk], grpc: bool, http: bool) -> Vec<Desk> {
    let narrow = |desk: &Desk| {
        let services = Services {
            grpc: desk.services.grpc.clone().filter(|_| grpc),
            http: desk.services.http.clone().filter(|_| http),
            ..(*desk.services).clone()
        };
        Desk { handle: desk.handle.clone(), services: Arc::new(services) }
    };
    desks.iter().map(narrow).collect()
}

/// Listeners of one member, bound but not accepting: a port that is taken is known before anything else happens.
struct Listeners {
    peers: Vec<(Url, Listener)>,
    clients: Vec<(Url, Listener)>,
    http: Vec<(Url, Listener)>,
    metrics: Vec<(Url, Listener)>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Listeners, Error> {
        tracing::info!(listen_peer_urls = ?texts(&config.listen_peer_urls), "configuring peer listeners");
        let bind_all = |flag, urls| bind_all(flag, urls, config.is_socket_reuse_port);
        let peers = bind_all("listen-peer-urls", &config.listen_peer_urls).await?;
        tracing::info!(listen_client_urls = ?texts(&config.listen_client_urls), "configuring client listeners");
        Ok(Listeners {
            peers,
            clients: bind_all("listen-client-urls", &config.listen_client_urls).await?,
            http: bind_all("listen-client-http-urls", &config.listen_client_http_urls).await?,
            metrics: bind_all("listen-metrics-urls", &config.listen_metrics_urls).await?,
        })
    }
}

async fn bind_all(flag: &'static str, urls: &[Url], reuse_port: bool) -> Result<Vec<(Url, Listener)>, Error> {
    let mut bound = Vec::new();
    for url in urls {
        let listener = Listener::bind(url, reuse_port).await.map_err(|source| Error::Listen { url: url.clone(), flag, source })?;
        bound.push((url.clone(), listener));
    }
    Ok(bound)
}

/// From bound listeners to the end of the last connection.
async fn serve(
    node: Arc<Node>,
    seats: Vec<Seat>,
    sites: Sites,
    listeners: Listeners,
    mut stop: signal::Stop,
) -> Result<Option<Request>, Error> {
    let permits = Arc::new(Semaphore::new(listener::connections_max()));
    let permits_all = permits.available_permits();
    let accepting = |listener: Listener, desks: Vec<Desk>| tokio::spawn(listener.run(desks, permits.clone(), node.subscribe_stop()));
    sites.open_beside(&node, listeners.peers, listeners.metrics);
    node::look_after(&seats[0]);
    tokio::select! {
        published = node::publish(&seats[0]) => if published.is_err() { return Ok(None) },
        request = stop.requested() => return Ok(Some(request)),
    }
    let versioning = seats[0].clone();
    tokio::spawn(async move { node::set_cluster_version(&versioning).await });

    tracing::info!("ready to serve client requests");
    let split = !listeners.http.is_empty();
    for (url, listener) in listeners.clients {
        let traffic = if split { "grpc" } else { "grpc+http" };
        tracing::info!(traffic, address = %url.address, "serving client traffic insecurely; this is strongly discouraged!");
        accepting(listener, narrowed(&sites.clients, true, !split));
    }
    for (url, listener) in listeners.http {
        tracing::info!(traffic = "http", address = %url.address, "serving client traffic insecurely; this is strongly discouraged!");
        accepting(listener, narrowed(&sites.clients, false, true));
    }
    if let Err(error) = signal::ready() {
        tracing::warn!(error = %error, "the service manager could not be told");
    }

    let request = stop.requested().await;
    tracing::info!(signal = request.name(), "received signal; shutting down");
    node.begin_stop();
    node.pipeline.hubs.shutdown();
    let drained = async {
        while permits.available_permits() < permits_all {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections did not end in time and are closed");
    }
    Ok(Some(request))
}
