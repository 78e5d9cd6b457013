//! The URLs that listeners bind and members advertise.
//!
//! ```text
//!   http://127.0.0.1:2379      scheme, host, port; no path
//!   unix://dir/name            scheme, file name (relative to the working directory when it has no leading slash)
//! ```
//!
//! Writes: nothing. Reads: nothing.

use std::fmt;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl Scheme {
    const NAMES: [(&'static str, Scheme); 4] =
        [("http", Scheme::Http), ("https", Scheme::Https), ("unix", Scheme::Unix), ("unixs", Scheme::Unixs)];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }
}

/// One URL. Ordered by its text, as lists of URLs are (GRP-14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    pub scheme: Scheme,
    /// `host:port`, or the name of a socket file.
    pub address: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.address)
    }
}

impl Url {
    pub fn read(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(match text.split_once(':') {
                Some((before, _))
                    if before.contains(|c: char| !c.is_ascii_alphanumeric()) || before.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    format!("parse {text:?}: first path segment in URL cannot contain colon")
                }
                _ => wrong_scheme(text),
            });
        };
        let Some((_, scheme)) = Scheme::NAMES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)) else {
            return Err(wrong_scheme(text));
        };
        let url = Url { scheme, address: address.to_owned() };
        if url.is_unix() {
            return Ok(url);
        }
        if let Some((host_port, _)) = address.split_once('/') {
            let host_port = host_port.to_owned();
            Url { scheme, address: host_port }.checked_address(text)?;
            return Err(format!("URL must not contain a path: {text}"));
        }
        url.checked_address(text)?;
        Ok(url)
    }

    fn checked_address(&self, text: &str) -> Result<(), String> {
        let form = || format!("URL address does not have the form \"host:port\": {text}");
        let (host, port) = self.address.rsplit_once(':').ok_or_else(form)?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if (host.contains(':') && !is_bracketed) || host.contains(['@', '?', '#', ' ']) {
            return Err(form());
        }
        if !port.chars().all(|c| c.is_ascii_digit()) || port.parse::<u16>().is_err() && !port.is_empty() {
            return Err(format!("parse {text:?}: invalid port \":{port}\" after host"));
        }
        Ok(())
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    /// The host without brackets; the file name of a socket.
    pub fn host(&self) -> &str {
        if self.is_unix() {
            return &self.address;
        }
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, 0 where none was given.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// A listener is named by an IP address, by `localhost` or by a socket file, so that no name service decides where it binds (GRP-14).
    pub fn check_bindable(&self) -> Result<(), String> {
        if self.is_unix() || self.host() == "localhost" || self.host().parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        Err(format!("expected IP in URL for binding ({self})"))
    }
}

fn wrong_scheme(text: &str) -> String {
    format!("URL scheme must be http, https, unix, or unixs: {text}")
}

/// Reads a comma-separated list, sorted and each URL once; empty text is no URLs.
pub fn read_list(text: &str) -> Result<Vec<Url>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut urls = text.split(',').map(Url::read).collect::<Result<Vec<_>, _>>()?;
    urls.sort_by_key(Url::to_string);
    urls.dedup();
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_and_an_address() {
        for (text, host, port) in [
            ("http://127.0.0.1:2379", "127.0.0.1", 2379),
            ("https://[::1]:2380", "::1", 2380),
            ("http://localhost:0", "localhost", 0),
            ("unix://dir/name", "dir/name", 0),
            ("unixs:///run/etcd.sock", "/run/etcd.sock", 0),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!((url.host(), url.port(), url.to_string().as_str()), (host, port, text));
        }
    }

    #[test]
    fn a_bad_url_is_refused_in_the_words_scripts_know() {
        for (text, error) in [
            ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
            ("ftp://127.0.0.1:1", "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1"),
            ("http://127.0.0.1", "URL address does not have the form \"host:port\": http://127.0.0.1"),
            ("http://0.0.0.0:2379/foo", "URL must not contain a path: http://0.0.0.0:2379/foo"),
            ("http://127.0.0.1:x", "parse \"http://127.0.0.1:x\": invalid port \":x\" after host"),
            ("127.0.0.1:2379", "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(Url::read(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_list_is_sorted_and_holds_each_url_once() {
        let urls = read_list("http://127.0.0.1:2, http://127.0.0.1:1,http://127.0.0.1:2").unwrap();
        assert_eq!(urls.iter().map(Url::to_string).collect::<Vec<_>>(), ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    }

    #[test]
    fn a_listener_is_bound_to_an_address_and_not_to_a_name() {
        for text in ["http://127.0.0.1:1", "http://[::]:1", "http://localhost:1", "unix://name"] {
            assert_eq!(Url::read(text).unwrap().check_bindable(), Ok(()), "{text}");
        }
        for text in ["http://foo.com:1", "http://:2379"] {
            assert_eq!(Url::read(text).unwrap().check_bindable(), Err(format!("expected IP in URL for binding ({text})")));
        }
    }
}
