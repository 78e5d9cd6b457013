//! Who will belong to the cluster that a snapshot is restored for: the checks of a new cluster's flags, in etcd's words.
//!
//! ```text
//!   --initial-cluster a=http://h:1,a=http://h:2,b=http://i:1   -->  member a {id, 2 URLs}, member b {id, 1 URL}, by id
//!   --initial-cluster-token                                    -->  part of every id (MEM-10)
//! ```
//!
//! Writes: nothing. Reads: the system's name service, where two URLs differ by name only.

use std::{collections::BTreeMap, net::ToSocketAddrs};

use crate::{
    membership::{self, Identity, Member},
    print::text::quote,
    url::Url,
};

#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// By id.
    pub members: Vec<Member>,
    /// Whose data directory is made.
    pub identity: Identity,
}

impl Group {
    pub fn found(name: &str, initial_cluster: &str, token: &str, advertised: &str) -> Result<Group, String> {
        let advertised = sorted(advertised.split(',').map(Url::read).collect::<Result<_, _>>()?);
        let listed = parse(initial_cluster)?;
        let own = listed
            .get(name)
            .ok_or_else(|| format!("couldn't find local name {} in the initial cluster configuration", quote(name.as_bytes())))?;
        check_advertised(name, own, &advertised)?;
        let mut all: Vec<&String> = listed.values().flatten().collect();
        all.sort_unstable();
        if all.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("initial cluster {} has duplicate url", pairs(&listed)));
        }
        let mut members: Vec<Member> = listed.iter().map(|(name, urls)| Member::founding(name, urls, token)).collect();
        members.sort_unstable_by_key(|member| member.id);
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(format!("members {} and {} have the same id", pair[0].name, pair[1].name));
        }
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        let member_id = members.iter().find(|member| member.name == name).map_or(0, |member| member.id);
        Ok(Group { identity: Identity { cluster_id: membership::cluster_id(&ids), member_id }, members })
    }
}

fn sorted(urls: Vec<Url>) -> Vec<String> {
    let mut urls: Vec<String> = urls.iter().map(Url::to_string).collect();
    urls.sort_unstable();
    urls
}

fn parse(initial_cluster: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut listed: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for pair in initial_cluster.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        listed.entry(name.to_owned()).or_default().push(Url::read(url)?);
    }
    Ok(listed.into_iter().map(|(name, urls)| (name, sorted(urls))).collect())
}

fn pairs(listed: &BTreeMap<String, Vec<String>>) -> String {
    let mut pairs: Vec<String> = listed.iter().flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}"))).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// The URLs that this member advertises are those that the others know it by.
fn check_advertised(name: &str, listed: &[String], advertised: &[String]) -> Result<(), String> {
    let Err(why) = equal(advertised, listed) else { return Ok(()) };
    let missing_in = |from: &[String], other: &[String], before: &str| -> Vec<String> {
        from.iter().filter(|url| !other.contains(url)).map(|url| format!("{before}{url}")).collect()
    };
    let unadvertised = missing_in(listed, advertised, &format!("{name}="));
    let advertised_text = advertised.join(",");
    if !unadvertised.is_empty() {
        let missing = unadvertised.join(",");
        return Err(format!("--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={advertised_text} ({why})"));
    }
    let unlisted = missing_in(advertised, listed, "").join(",");
    let known = pairs(&BTreeMap::from([(name.to_owned(), advertised.to_vec())]));
    Err(format!("--initial-advertise-peer-urls has {unlisted} but missing from --initial-cluster={known}"))
}

/// Whether two sorted lists name the same addresses, or why not.
fn equal(a: &[String], b: &[String]) -> Result<(), String> {
    let list = |urls: &[String]| format!("[{}]", urls.iter().map(|url| quote(url.as_bytes())).collect::<Vec<_>>().join(" "));
    if a.len() != b.len() {
        return Err(format!("len({}) != len({})", list(a), list(b)));
    }
    if a == b {
        return Ok(());
    }
    let (a, b) = (resolved(a)?, resolved(b)?);
    match a.iter().zip(&b).find(|(a, b)| a != b) {
        None => Ok(()),
        Some((a, b)) => Err(format!("resolved urls: {} != {}", quote(a.as_bytes()), quote(b.as_bytes()))),
    }
}

fn resolved(urls: &[String]) -> Result<Vec<String>, String> {
    let mut resolved = urls.iter().map(|text| resolve(text)).collect::<Result<Vec<_>, _>>()?;
    resolved.sort_unstable();
    Ok(resolved)
}

fn resolve(text: &str) -> Result<String, String> {
    let url = Url::read(text)?;
    if url.is_unix() || url.host() == "localhost" {
        return Ok(text.to_owned());
    }
    let failed = |why: String| format!("failed to resolve {} ({why})", quote(text.as_bytes()));
    let address = (url.host(), url.port()).to_socket_addrs().map_err(|error| failed(error.to_string()))?.next();
    let address = address.ok_or_else(|| failed("no address".into()))?;
    Ok(Url { address: address.to_string(), ..url }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, cluster: &str, advertised: &str) -> String {
        Group::found(name, cluster, "t", advertised).unwrap_err()
    }

    #[test]
    fn the_default_cluster_has_etcds_ids() {
        let group = Group::found("default", "default=http://localhost:2380", "etcd-cluster", "http://localhost:2380").unwrap();
        assert_eq!(group.identity, Identity { cluster_id: 0xcdf8_1819_4e3a_8c32, member_id: 0x8e9e_05c5_2164_694d });
        assert_eq!(group.members.len(), 1);
    }

    #[test]
    fn members_are_in_the_order_of_their_ids_and_may_have_several_urls() {
        let cluster = "a=http://127.0.0.1:1,b=http://127.0.0.1:3,a=http://127.0.0.1:2";
        let group = Group::found("a", cluster, "t", "http://127.0.0.1:2,http://127.0.0.1:1").unwrap();
        assert!(group.members.is_sorted_by_key(|member| member.id));
        let own = group.members.iter().find(|member| member.id == group.identity.member_id).unwrap();
        assert_eq!((&own.name[..], &own.peer_urls[..]), ("a", &["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()][..]));
    }

    #[test]
    fn what_does_not_fit_is_told_in_etcds_words() {
        for (name, cluster, advertised, says) in [
            ("a", "x", "http://h:1", "URL scheme must be http, https, unix, or unixs: "),
            ("a", "a=foo", "http://h:1", "URL scheme must be http, https, unix, or unixs: foo"),
            ("y", "a=http://h:1", "http://h:1", "couldn't find local name \"y\" in the initial cluster configuration"),
            ("a", "a=http://h:1", "http://h", "URL address does not have the form \"host:port\": http://h"),
            ("a", "a=http://h:1,b=http://h:1", "http://h:1", "initial cluster a=http://h:1,b=http://h:1 has duplicate url"),
            (
                "default",
                "default=http://localhost:2380",
                "http://localhost:1",
                "--initial-cluster has default=http://localhost:2380 but missing from --initial-advertise-peer-urls=http://localhost:1 \
                 (resolved urls: \"http://localhost:1\" != \"http://localhost:2380\")",
            ),
            (
                "a",
                "a=http://h:1",
                "http://h:1,http://h:2",
                "--initial-advertise-peer-urls has http://h:2 but missing from --initial-cluster=a=http://h:1,a=http://h:2",
            ),
        ] {
            assert_eq!(refused(name, cluster, advertised), says);
        }
    }
}
