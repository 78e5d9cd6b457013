//! The memory of a member, as its metrics page says.
//!
//! Writes: nothing. Reads: `/metrics` of one endpoint, over plain HTTP.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::{Options, error};

const METRIC: &str = "process_resident_memory_bytes";

/// Why there is no number, in one line.
pub async fn bytes(options: &Options, endpoint: &str) -> Result<f64, String> {
    let host = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
    if host.contains("://") || options.tls.force {
        return Err(format!("fetch error: {endpoint}: the metrics page is only read over plain HTTP"));
    }
    let page = page(host).await.map_err(|reason| format!("fetch error: {reason}"))?;
    let value = page.lines().find_map(|line| line.strip_prefix(METRIC)?.strip_prefix(' '));
    let value = value.ok_or_else(|| format!("could not find: {METRIC}"))?;
    value.trim().parse().map_err(|error| format!("parse error: {value}: {error}"))
}

async fn page(host: &str) -> Result<String, String> {
    let stream = TcpStream::connect(host).await.map_err(|error| format!("Get \"http://{host}/metrics\": {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| error::chain(&e))?;
    let serving = tokio::spawn(connection);
    let request = http::Request::get("/metrics").header("host", host).body(Empty::<Bytes>::new()).map_err(|e| error::chain(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| error::chain(&e))?;
    let body = answer.into_body().collect().await.map_err(|e| error::chain(&e))?.to_bytes();
    serving.abort();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
