//! What settings must not be, each on its own or together (surface 4.7).
//!
//! Writes: warnings. Reads: `Settings`.
//! An error is one line that names the flag, in etcd's words where it has any.

use super::Notice;
use super::flags::{Care, FLAGS};
use super::gates::Gates;
use super::settings::Settings;
use super::value::Kind;
use crate::url::Url;

const SUGGESTED_QUOTA_BYTES_MAX: i64 = 8 << 30;
const SUGGESTED_REQUEST_BYTES_MAX: u64 = 10 << 20;
const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;

pub fn urls(settings: &Settings) -> Result<(), String> {
    for name in ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"] {
        settings.urls(name).iter().try_for_each(Url::check_bindable)?;
    }
    for name in ["initial-advertise-peer-urls", "advertise-client-urls"] {
        if let Some(url) = settings.urls(name).iter().find(|url| url.host().is_empty()) {
            let forms = "\"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"";
            return Err(format!("--{name} {:?} must be in the format {forms} (unexpected empty host ({url}))", url.to_string()));
        }
    }
    if settings.urls("listen-client-urls").is_empty() {
        return Err("--listen-client-urls is empty".to_owned());
    }
    let grpc = settings.urls("listen-client-urls");
    if let Some(url) = settings.urls("listen-client-http-urls").iter().find(|url| grpc.contains(url)) {
        return Err(format!("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}"));
    }
    Ok(())
}

pub fn discovery(settings: &Settings) -> Result<(), String> {
    let (token, endpoints) = (settings.text("discovery-token"), settings.list("discovery-endpoints"));
    let claims = [settings.is_set("initial-cluster"), !endpoints.is_empty(), !settings.text("discovery-srv").is_empty()];
    if claims.into_iter().filter(|&is_claimed| is_claimed).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or \
                    \"discovery-srv\""
            .to_owned());
    }
    if token.is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_owned());
    }
    if settings.text("discovery-fallback") == "proxy" {
        return Err("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"".to_owned());
    }
    Ok(())
}

pub fn ticks(settings: &Settings) -> Result<(), String> {
    let (heartbeat, election) = (settings.uint("heartbeat-interval"), settings.uint("election-timeout"));
    if heartbeat == 0 {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".to_owned());
    }
    if election == 0 {
        return Err("--election-timeout must be >0 (set to 0ms)".to_owned());
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!("--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"));
    }
    if election > ELECTION_TIMEOUT_MS_MAX {
        return Err(format!("--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MS_MAX}ms"));
    }
    Ok(())
}

pub fn tls_versions(settings: &Settings) -> Result<(), String> {
    for name in ["tls-min-version", "tls-max-version"] {
        if !matches!(settings.text(name), "" | "TLS1.2" | "TLS1.3") {
            return Err(format!("unexpected TLS version {:?} (must be one of: TLS1.2, TLS1.3)", settings.text(name)));
        }
    }
    if settings.text("tls-min-version") == "TLS1.3" && !settings.list("cipher-suites").is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
    }
    if settings.text("tls-min-version") == "TLS1.3" && settings.text("tls-max-version") == "TLS1.2" {
        return Err("min version (TLS1.3) is greater than max version (TLS1.2)".to_owned());
    }
    Ok(())
}

pub fn features(settings: &Settings) -> Result<Gates, String> {
    if settings.nanos("compact-hash-check-time") <= 0 {
        return Err("--compact-hash-check-time must be >0 (set to 0s)".to_owned());
    }
    let gates = Gates::read(settings.text("feature-gates"))?;
    if gates.is_open("LeaseCheckpointPersist") && !gates.is_open("LeaseCheckpoint") {
        return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint".to_owned());
    }
    Ok(gates)
}

/// Refuses what this build cannot do and would have to ignore, and says what it ignores without harm.
pub fn care(settings: &Settings, notices: &mut Vec<Notice>) -> Result<(), String> {
    for at in settings.changed() {
        let flag = &FLAGS[at];
        match flag.care {
            Care::Honoured => {}
            Care::Harmless(reason) => notices.push(Notice::warn(&format!("this flag changes nothing: {reason}"), flag.name)),
            Care::Refused(missing) => return Err(format!("--{} cannot be honoured: {missing}", flag.name)),
        }
    }
    for at in (0..FLAGS.len()).filter(|&at| settings.is_set_at(at) && FLAGS[at].kind == Kind::Retired) {
        notices.push(Notice::warn("this flag is of an older release and is ignored", FLAGS[at].name));
    }
    Ok(())
}

pub fn schemes(settings: &Settings) -> Result<(), String> {
    let secure = |name: &str| settings.urls(name).iter().find(|url| url.is_tls()).cloned();
    if let Some(url) = secure("listen-client-urls").or_else(|| secure("listen-client-http-urls")) {
        let scheme = url.scheme.name().to_uppercase();
        return Err(format!("TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with {scheme} scheme"));
    }
    if secure("listen-metrics-urls").is_some() {
        return Err("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url".to_owned());
    }
    if let Some(url) = secure("listen-peer-urls") {
        return Err(format!("TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url {url}"));
    }
    Ok(())
}

/// Says what is allowed but seldom wise.
pub fn risks(settings: &Settings, notices: &mut Vec<Notice>) {
    if settings.text("name") == "default" {
        notices.push(Notice::warn("the member has the default name; members of one cluster need names of their own", "name"));
    }
    if settings.int("quota-backend-bytes") > SUGGESTED_QUOTA_BYTES_MAX {
        notices.push(Notice::warn("the quota is above the suggested 8 GiB", "quota-backend-bytes"));
    }
    if settings.uint("max-request-bytes") > SUGGESTED_REQUEST_BYTES_MAX {
        notices.push(Notice::warn("requests above 10 MiB slow everybody down", "max-request-bytes"));
    }
}
