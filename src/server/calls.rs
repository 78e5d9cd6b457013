//! `grpc_server_started_total` and `grpc_server_handled_total`, a child for each method found once at start, and the warning
//! about a slow unary call.
//!
//! Writes: these counters. Reads: paths of calls, status of answers.
//! Does not count the messages of streams, nor a stream as handled when it ends later than its first answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tonic::body::Body;

use super::log::timestamp;
use crate::api::slow::Details;
use crate::clock::Clock;
use crate::metrics::{Counter, CounterVec, Registry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unary,
    ServerStream,
    BidiStream,
}

use Kind::{BidiStream, ServerStream, Unary};

/// A service, its unary methods, and those that stream with their kind.
type Service = (&'static str, &'static str, &'static [(&'static str, Kind)]);

const SERVICES: &[Service] = &[
    ("etcdserverpb.KV", "Range Put DeleteRange Txn Compact", &[("RangeStream", ServerStream)]),
    ("etcdserverpb.Watch", "", &[("Watch", BidiStream)]),
    ("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseTimeToLive LeaseLeases", &[("LeaseKeepAlive", BidiStream)]),
    ("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote", &[]),
    ("etcdserverpb.Maintenance", "Alarm Status Defragment Hash HashKV MoveLeader Downgrade", &[("Snapshot", ServerStream)]),
    (
        "etcdserverpb.Auth",
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword UserGrantRole \
         UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission RoleRevokePermission",
        &[],
    ),
    ("grpc.health.v1.Health", "Check List", &[("Watch", ServerStream)]),
];

/// Names of the codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// One method's counters.
pub struct Call {
    pub started: Counter,
    succeeded: Counter,
    handled: CounterVec,
    service: &'static str,
    method: &'static str,
    kind: Kind,
}

/// All methods, by path.
pub struct Calls {
    by_path: HashMap<String, Arc<Call>>,
}

impl Calls {
    /// Registers the set, so once for a registry.
    pub fn new(registry: &Registry) -> Calls {
        let labels = ["grpc_method", "grpc_service", "grpc_type"];
        let started = registry.counters("grpc_server_started_total", "Calls begun.", &labels);
        let with_code = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
        let handled = registry.counters("grpc_server_handled_total", "Calls answered, by code.", &with_code);
        let mut by_path = HashMap::new();
        for &(service, unary, streams) in SERVICES {
            let unary = unary.split_whitespace().map(|method| (method, Unary));
            for (method, kind) in unary.chain(streams.iter().copied()) {
                let call = Call {
                    started: started.with_label_values(&[method, service, kind.label()]),
                    succeeded: handled.with_label_values(&["OK", method, service, kind.label()]),
                    handled: handled.clone(),
                    service,
                    method,
                    kind,
                };
                by_path.insert(format!("/{service}/{method}"), Arc::new(call));
            }
        }
        Calls { by_path }
    }

    pub fn find(&self, path: &str) -> Option<&Arc<Call>> {
        self.by_path.get(path)
    }
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Unary => "unary",
            ServerStream => "server_stream",
            BidiStream => "bidi_stream",
        }
    }
}

impl Call {
    /// The head of the answer is there: for a unary call that is the answer.
    pub fn note_answer(&self, answer: &Response<Body>, took: Duration, limits: &Limits<'_>) {
        match answer.headers().get("grpc-status").map(|status| status.as_bytes()) {
            Some(status) if status != b"0" => self.note_failure(status),
            // A stream that was opened is not handled yet.
            _ if self.kind != Unary => {}
            _ => self.succeeded.inc(),
        }
        if self.kind == Unary && (took > limits.warning || tracing::enabled!(tracing::Level::DEBUG)) {
            self.tell(answer.extensions().get(), took, limits);
        }
    }

    #[cold]
    fn note_failure(&self, status: &[u8]) {
        let number = std::str::from_utf8(status).ok().and_then(|text| text.parse::<usize>().ok());
        let code = number.and_then(|number| CODES.get(number)).copied().unwrap_or("Unknown");
        self.handled.with_label_values(&[code, self.method, self.service, self.kind.label()]).inc();
    }

    /// Quirk: etcd's own words and fields (server/etcdserver/api/v3rpc/interceptor.go), for every call at the debug level; pinned by
    /// `slow_requests_are_told_as_etcd_tells_them`.
    #[cold]
    fn tell(&self, details: Option<&Details>, took: Duration, limits: &Limits<'_>) {
        let details = details.cloned().unwrap_or_default();
        let start = timestamp(limits.clock.unix().saturating_sub(took));
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    "start time" = start,
                    "time spent" = ?took,
                    remote = limits.remote,
                    "response type" = format_args!("/{}/{}", self.service, self.method),
                    "request count" = details.request_count,
                    "request size" = details.request_size,
                    "response count" = details.response_count,
                    "response size" = details.response_size,
                    "request content" = &*details.content,
                    "request stats"
                )
            };
        }
        if tracing::enabled!(tracing::Level::DEBUG) { tell!(debug) } else { tell!(warn) }
    }
}

/// When a call took long, and what is needed to say so.
pub struct Limits<'a> {
    pub warning: Duration,
    pub clock: &'a dyn Clock,
    /// The client's address.
    pub remote: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use http::HeaderValue;

    #[test]
    fn answers_are_counted_by_their_code() {
        let registry = Registry::default();
        let calls = Calls::new(&registry);
        let put = calls.find("/etcdserverpb.KV/Put").expect("a method");
        let mut answer = Response::new(Body::empty());
        let limits = Limits { warning: Duration::ZERO, clock: &SystemClock::default(), remote: "@" };
        put.note_answer(&answer, Duration::ZERO, &limits);
        answer.headers_mut().insert("grpc-status", HeaderValue::from_static("8"));
        put.note_answer(&answer, Duration::ZERO, &limits);
        let text = registry.text();
        for code in ["OK", "ResourceExhausted"] {
            let line = format!(
                "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}} 1"
            );
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(calls.find("/etcdserverpb.KV/Get").is_none());
    }
}
