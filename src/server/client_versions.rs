//! `etcd_server_client_requests_total`: calls by the version of the API that the client says it speaks.
//!
//! Writes: this counter. Reads: `client-api-version` of calls.
//! Bound: `VERSIONS_MAX` labels; who says more than that has no label of his own.

use http::HeaderMap;
use parking_lot::RwLock;

use crate::metrics::{Counter, CounterVec, Registry};

/// Bound: labels are kept for ever, and what a client says is not to be trusted.
const VERSIONS_MAX: usize = 32;
const UNKNOWN: &str = "unknown";

/// A version that was said.
struct Seen {
    version: Box<[u8]>,
    /// Unary calls and streams.
    counters: [Counter; 2],
}

pub struct ClientVersions {
    counters: CounterVec,
    seen: RwLock<Vec<Seen>>,
}

impl ClientVersions {
    /// Registers the counter, so once for a registry.
    pub fn new(registry: &Registry) -> ClientVersions {
        let counters = registry.counters(
            "etcd_server_client_requests_total",
            "Calls by the version that the client says it speaks.",
            &["client_api_version", "type"],
        );
        ClientVersions { counters, seen: RwLock::default() }
    }

    pub fn note(&self, head: &HeaderMap, is_stream: bool) {
        let said = head.get("client-api-version").map_or(UNKNOWN.as_bytes(), |value| value.as_bytes());
        let kind = usize::from(is_stream);
        if let Some(seen) = self.seen.read().iter().find(|seen| *seen.version == *said) {
            return seen.counters[kind].inc();
        }
        self.learn(said, kind);
    }

    #[cold]
    fn learn(&self, said: &[u8], kind: usize) {
        let mut seen = self.seen.write();
        let is_room = seen.len() < VERSIONS_MAX;
        let text = std::str::from_utf8(said).ok().filter(|text| is_room && text.len() <= VERSIONS_MAX).unwrap_or(UNKNOWN);
        let counters = ["unary", "stream"].map(|kind| self.counters.with_label_values(&[text, kind]));
        counters[kind].inc();
        if is_room && !seen.iter().any(|seen| *seen.version == *said) {
            seen.push(Seen { version: said.into(), counters });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_version_up_to_a_bound() {
        let registry = Registry::default();
        let versions = ClientVersions::new(&registry);
        let mut head = HeaderMap::new();
        versions.note(&head, false);
        for number in 0..100 {
            head.insert("client-api-version", format!("3.{number}").parse().unwrap());
            versions.note(&head, true);
            versions.note(&head, true);
        }
        let text = registry.text();
        assert!(text.contains("etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"stream\"} 2\n"), "{text}");
        assert!(text.contains("etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"} 1\n"), "{text}");
        assert!(text.lines().count() < 100, "{text}");
    }
}
