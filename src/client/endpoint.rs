//! One address of a member, and how it is connected to.
//!
//!   host:port          TLS if the options ask for it      https://host:port   TLS
//!   unix:path          no TLS                             http://host:port    no TLS
//!
//! Writes: nothing. Reads: nothing; certificates come loaded.

use tonic::transport::Channel;

use super::{Error, KEEPALIVE_TIME_MIN, Options, error, tls::Tls};

/// Large answers come in few frames, from a server that makes use of it.
const FRAME_BYTES_MAX: u32 = 256 << 10;

#[derive(Clone, Debug)]
pub struct Endpoint {
    text: String,
    /// Err: why this address can never be connected to. It fails when it is its turn, as a member that is down does.
    transport: Result<tonic::transport::Endpoint, String>,
}

impl Endpoint {
    pub fn new(text: &str, tls: &Tls, options: &Options) -> Result<Endpoint, Error> {
        let transport = address(text, tls.is_wanted()).and_then(|(uri, is_secure)| {
            let endpoint = tonic::transport::Endpoint::from_shared(uri).map_err(|e| error::chain(&e))?;
            let endpoint = endpoint
                .connect_timeout(options.dial_timeout)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(options.keepalive_time.max(KEEPALIVE_TIME_MIN))
                .keep_alive_timeout(options.keepalive_timeout)
                .max_frame_size(FRAME_BYTES_MAX)
                .user_agent(concat!("etcdctl/", env!("CARGO_PKG_VERSION")))
                .map_err(|e| error::chain(&e))?;
            Ok((endpoint, is_secure))
        });
        let transport = match transport {
            // A certificate that cannot be used is an error of the options, at once.
            Ok((endpoint, true)) => Ok(tls.apply(endpoint, options.dial_timeout).map_err(Error::Options)?),
            Ok((endpoint, false)) => Ok(endpoint),
            Err(reason) => Err(reason),
        };
        Ok(Endpoint { text: text.to_owned(), transport })
    }

    /// The address as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub async fn connect(&self) -> Result<Channel, String> {
        match &self.transport {
            Ok(endpoint) => endpoint.connect().await.map_err(|e| error::chain(&e)),
            Err(reason) => Err(reason.clone()),
        }
    }
}

/// The address as a URI, and whether TLS is spoken there.
fn address(text: &str, wants_tls: bool) -> Result<(String, bool), String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => match text.split_once(':') {
            Some((scheme @ ("unix" | "unixs"), rest)) => (scheme, rest),
            _ => ("", text),
        },
    };
    let is_secure = match scheme {
        "unix" => return Ok((format!("unix:{rest}"), false)),
        "unixs" => return Err(format!("address {text}: TLS over a unix socket is not supported, use unix:{rest}")),
        "http" => false,
        "https" => true,
        "" => wants_tls,
        other => return Err(format!("address {text}: unknown scheme {other}, use http, https or unix")),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(format!("address {text}: missing port in address"));
    }
    // A host without a name is this one.
    let authority = if authority.starts_with(':') { format!("localhost{authority}") } else { authority.to_owned() };
    Ok((format!("{}://{authority}", if is_secure { "https" } else { "http" }), is_secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_about_tls_and_the_options_where_there_is_none() {
        for (text, wants_tls, uri, is_secure) in [
            ("127.0.0.1:2379", false, "http://127.0.0.1:2379", false),
            ("127.0.0.1:2379", true, "https://127.0.0.1:2379", true),
            ("http://a:1/", true, "http://a:1", false),
            ("https://[::1]:1", false, "https://[::1]:1", true),
            (":2379", false, "http://localhost:2379", false),
            ("unix:/tmp/s", true, "unix:/tmp/s", false),
            ("unix:///tmp/s", false, "unix:/tmp/s", false),
        ] {
            assert_eq!(address(text, wants_tls), Ok((uri.to_owned(), is_secure)), "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_work_says_why() {
        for (text, reason) in [
            ("a", "address a: missing port in address"),
            ("http://a:x", "address http://a:x: missing port in address"),
            ("ftp://a:1", "address ftp://a:1: unknown scheme ftp, use http, https or unix"),
        ] {
            assert_eq!(address(text, false).unwrap_err(), reason);
        }
    }
}
