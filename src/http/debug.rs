//! `/debug/vars`: the process and the raft state as one JSON object, one line a variable.
//!
//! Writes: nothing. Reads: the node, the registry.
//! Of Go's `memstats` it has `Sys` alone, the memory in use that is in RAM: there is no collector with statistics here.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::routing::any;
use serde_json::{Value, json};

use super::{Shared, get_only, page};

pub fn routes(shared: &Arc<Shared>) -> Router {
    let shared = Arc::clone(shared);
    Router::new().route("/debug/vars", any(move |method: Method| async move { get_only(&method).unwrap_or_else(|| answer(&shared)) }))
}

fn answer(shared: &Shared) -> Response<Body> {
    let variables: [(&str, Value); 4] = [
        ("cmdline", json!(shared.command_line)),
        ("file_descriptor_limit", json!(whole(shared.registry.value("os_fd_limit")))),
        ("memstats", json!({ "Sys": whole(shared.registry.value("process_resident_memory_bytes")) })),
        ("raft.status", shared.source.raft_status()),
    ];
    let mut body = String::from("{\n");
    for (at, (name, value)) in variables.iter().enumerate() {
        let _ = write!(body, "{}\"{name}\": {value}", if at == 0 { "" } else { ",\n" });
    }
    body.push_str("\n}\n");
    page(StatusCode::OK, "application/json; charset=utf-8", body)
}

fn whole(value: Option<f64>) -> u64 {
    value.unwrap_or_default() as u64
}
