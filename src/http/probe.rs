//! `/livez` and `/readyz`: a list of named checks, each with a page of its own (HTP-3).
//!
//! ```text
//!   [+]data_corruption ok                         one line for each check when asked to be verbose
//!   [-]linearizable_read failed: <why>            and always when one failed
//!   ok
//! ```
//!
//! Writes: `etcd_server_healthcheck` and `etcd_server_healthchecks_total`. Reads: the node.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Response, StatusCode, Uri};
use axum::routing::any;

use super::{Shared, Source, get_only, parameters, plain};
use crate::wire::etcdserverpb::AlarmType;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

use Check::{DataCorruption, LinearizableRead, NonLearner, SerializableRead};

/// A page, and the checks that it stands for.
const PROBES: &[(&str, &[Check])] =
    &[("livez", &[SerializableRead]), ("readyz", &[DataCorruption, SerializableRead, LinearizableRead, NonLearner])];

impl Check {
    fn name(self) -> &'static str {
        match self {
            DataCorruption => "data_corruption",
            SerializableRead => "serializable_read",
            LinearizableRead => "linearizable_read",
            NonLearner => "non_learner",
        }
    }

    async fn run(self, source: &dyn Source) -> Result<(), String> {
        match self {
            DataCorruption if source.alarms().contains(&AlarmType::Corrupt) => Err("alarm activated: CORRUPT".to_owned()),
            NonLearner if source.is_learner() => Err("not supported for learner".to_owned()),
            DataCorruption | NonLearner => Ok(()),
            SerializableRead => source.serializable_read().await,
            LinearizableRead => source.linearizable_read().await,
        }
    }
}

pub fn routes(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for &(probe, checks) in PROBES {
        router = router.route(&format!("/{probe}"), handler(shared, probe, checks, true));
        for at in 0..checks.len() {
            router = router.route(&format!("/{probe}/{}", checks[at].name()), handler(shared, probe, &checks[at..=at], false));
        }
    }
    router
}

fn handler(shared: &Arc<Shared>, probe: &'static str, checks: &'static [Check], may_exclude: bool) -> axum::routing::MethodRouter {
    let shared = Arc::clone(shared);
    any(move |method: Method, uri: Uri| async move {
        match get_only(&method) {
            Some(refusal) => refusal,
            None => answer(&shared, probe, checks, uri.query(), may_exclude).await,
        }
    })
}

async fn answer(shared: &Shared, probe: &str, checks: &[Check], query: Option<&str>, may_exclude: bool) -> Response<Body> {
    let excluded: Vec<&str> = if may_exclude { parameters(query, "exclude").collect() } else { Vec::new() };
    for name in excluded.iter().filter(|name| !checks.iter().any(|check| check.name() == **name)) {
        tracing::warn!(probe, check = name, "a check that does not exist cannot be excluded");
    }
    let mut lines = String::new();
    let mut is_failed = false;
    for check in checks.iter().filter(|check| !excluded.contains(&check.name())) {
        let name = check.name();
        let result = check.run(&*shared.source).await;
        shared.metrics.check.with_label_values(&[probe, name]).set(i64::from(result.is_ok()));
        let status = if result.is_ok() { "success" } else { "error" };
        shared.metrics.checks.with_label_values(&[probe, name, status]).inc();
        let _ = match result {
            Ok(()) => writeln!(lines, "[+]{name} ok"),
            Err(error) => {
                is_failed = true;
                tracing::warn!(probe, check = name, error, "health check failed");
                writeln!(lines, "[-]{name} failed: {error}")
            }
        };
    }
    if is_failed {
        return plain(StatusCode::SERVICE_UNAVAILABLE, format!("{lines}\n"));
    }
    let is_verbose = parameters(query, "verbose").next().is_some();
    plain(StatusCode::OK, if is_verbose { format!("{lines}ok\n") } else { "ok\n".to_owned() })
}
