//! Stands in front of the pages and the gateway on client listeners: host names and origins (HTP-10).
//!
//! ```text
//!   request --Host known?--no--> 421
//!              |yes
//!              +--Origin known?--yes--> answer carries the CORS headers
//!              +--OPTIONS--> 200, empty
//!              +--> the router
//! ```
//!
//! Writes: response headers. Reads: `--host-whitelist`, `--cors`.
//! Hosts are only checked without TLS: a page of another site cannot pass the certificate check under a rebound name.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::{self, Next};

use super::plain;

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Allowed host names; empty or `*` is any.
    pub hosts: Vec<String>,
    /// Allowed origins; `*` is any.
    pub origins: Vec<String>,
    /// Whether the listener speaks TLS.
    pub is_tls: bool,
}

impl Guard {
    /// Puts the guard in front of everything the router serves, its fallback too.
    pub fn before(self, router: Router) -> Router {
        let guard = Arc::new(self);
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let guard = Arc::clone(&guard);
            async move { guard.pass(request, next).await }
        }))
    }

    async fn pass(&self, request: Request, next: Next) -> Response<Body> {
        let host = host(&request);
        if !self.is_tls && !self.is_host_allowed(&host) {
            tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
            return misdirected(&host);
        }
        let origin = self.allowed_origin(request.headers());
        let mut response = match *request.method() {
            Method::OPTIONS => Response::new(Body::empty()),
            _ => next.run(request).await,
        };
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type, authorization"));
        }
        response
    }

    fn is_host_allowed(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|allowed| allowed == "*" || allowed == host)
    }

    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = headers.get(header::ORIGIN)?;
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// The host the request names, without its port.
fn host(request: &Request) -> String {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let named = named.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    let bare = match named.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => &named,
    };
    bare.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn misdirected(host: &str) -> Response<Body> {
    let why = "This keeps pages of other sites out that reach this address under a name of their own (DNS rebinding, CVE-2018-5702).";
    let body = format!(
        "The request names the host {host:?}, which is not among those this server answers to.\n\
         Either use TLS, or allow the name: etcd --host-whitelist {host:?}\n{why}\n"
    );
    plain(StatusCode::MISDIRECTED_REQUEST, body)
}
