//! What must hold before a new log is begun. With a log at hand the initial cluster is not looked at any more.
//!
//! Writes: nothing. Reads: the resolved settings; the resolver of names, and only where lists differ in names alone.

use std::net::ToSocketAddrs;

use super::resolve::Config;
use crate::url::Url;

impl Config {
    pub fn check_bootstrap(&self) -> Result<(), String> {
        if self.initial_cluster.is_existing {
            return Err("--initial-cluster-state=existing: joining a cluster is not built yet".to_owned());
        }
        let Some(listed) = self.initial_cluster.members.get(&self.name) else {
            return Err(format!("couldn't find local name {:?} in the initial cluster configuration", self.name));
        };
        match difference(&self.advertise_peer_urls, listed) {
            None => Ok(()),
            Some(reason) => Err(self.explain(listed, &reason)),
        }
    }

    /// The peer URLs that this member begins a cluster with: those of the initial cluster, from which ids are made (MEM-10).
    pub fn founding_urls(&self) -> &[Url] {
        self.initial_cluster.members.get(&self.name).map_or(&self.advertise_peer_urls, Vec::as_slice)
    }

    /// Which list lacks what, in etcd's words.
    fn explain(&self, listed: &[Url], reason: &str) -> String {
        let lacking = |urls: &[Url], other: &[Url]| urls.iter().filter(|url| !other.contains(url)).map(Url::to_string).collect::<Vec<_>>();
        let named = |urls: &[String]| urls.iter().map(|url| format!("{}={url}", self.name)).collect::<Vec<_>>().join(",");
        let advertised: Vec<String> = self.advertise_peer_urls.iter().map(Url::to_string).collect();
        let (missing, extra) = (lacking(listed, &self.advertise_peer_urls), lacking(&self.advertise_peer_urls, listed));
        let all = advertised.join(",");
        if !missing.is_empty() {
            return format!("--initial-cluster has {} but missing from --initial-advertise-peer-urls={all} ({reason})", named(&missing));
        }
        if !extra.is_empty() {
            let extra = extra.join(",");
            return format!("--initial-advertise-peer-urls has {extra} but missing from --initial-cluster={}", named(&advertised));
        }
        format!("failed to resolve {all} to match --initial-cluster={} ({reason})", named(&advertised))
    }
}

/// Why two sorted lists do not name the same addresses.
fn difference(advertised: &[Url], listed: &[Url]) -> Option<String> {
    if advertised == listed {
        return None;
    }
    let quoted = |urls: &[Url]| {
        let quoted: Vec<String> = urls.iter().map(|url| format!("{:?}", url.to_string())).collect();
        format!("[{}]", quoted.join(" "))
    };
    if advertised.len() != listed.len() {
        return Some(format!("len({}) != len({})", quoted(advertised), quoted(listed)));
    }
    let resolved = |urls: &[Url]| {
        let mut resolved: Vec<String> = urls.iter().map(resolve).collect();
        resolved.sort();
        resolved
    };
    let (advertised, listed) = (resolved(advertised), resolved(listed));
    let different = advertised.iter().zip(&listed).find(|(a, b)| a != b)?;
    Some(format!("resolved urls: {:?} != {:?}", different.0, different.1))
}

/// The URL with the address that its name has now. Quirk: `localhost` is not looked up, as in etcd (pkg/netutil/netutil.go), so
/// it is never the same as 127.0.0.1; pinned by `localhost_is_not_an_address`.
fn resolve(url: &Url) -> String {
    if url.is_unix() || url.host() == "localhost" {
        return url.to_string();
    }
    let addresses: Vec<_> = url.address.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    match addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()) {
        Some(address) => format!("{}://{address}", url.scheme.name()),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Vec<Url> {
        crate::url::read_list(text).unwrap()
    }

    #[test]
    fn localhost_is_not_an_address() {
        let why = difference(&urls("http://127.0.0.1:1"), &urls("http://localhost:1")).unwrap();
        assert_eq!(why, "resolved urls: \"http://127.0.0.1:1\" != \"http://localhost:1\"");
    }

    #[test]
    fn lists_of_different_lengths_are_not_looked_up() {
        let why = difference(&urls("http://127.0.0.1:1"), &urls("http://127.0.0.1:1,http://127.0.0.1:2")).unwrap();
        assert_eq!(why, "len([\"http://127.0.0.1:1\"]) != len([\"http://127.0.0.1:1\" \"http://127.0.0.1:2\"])");
    }
}
