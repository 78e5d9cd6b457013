//! What a call must be like before it is dispatched: grpc-go's rules for headers and paths, in its order and words.
//!
//! ```text
//!   content-type 415 -> grpc-timeout, -bin metadata 400 -> POST 405 -> time is up -> path -> grpc-encoding -> client-api-version (GRP-8)
//! ```

use std::time::Duration;

use http::{HeaderMap, Method as HttpMethod, Request, Response, StatusCode};
use tonic::body::Body;
use tonic::{Code, Status};

use super::terms::Terms;
use crate::wire::error::Error;
use crate::wire::service::{self, Method};

/// A call that may be dispatched.
pub struct Call {
    pub method: Method,
    /// Its messages may be compressed.
    pub is_encoded: bool,
    pub terms: Terms,
}

/// What one pass over the headers finds.
#[derive(Default)]
struct Found<'a> {
    is_grpc: bool,
    wrong_type: &'a [u8],
    broken: Option<String>,
    encoding: &'a [u8],
    is_version_text: bool,
    timeout: Option<Duration>,
    leader: Option<&'a [u8]>,
}

/// Looks at everything before the body. `began`: when the call arrived; `now` tells whether its time is up already.
pub fn check<B>(request: &Request<B>, began: Duration, now: impl Fn() -> Duration) -> Result<Call, Box<Response<Body>>> {
    let found = look(request.headers());
    if !found.is_grpc {
        let status = Status::invalid_argument(format!("invalid gRPC request content-type {}", quoted(found.wrong_type)));
        return Err(abort(StatusCode::UNSUPPORTED_MEDIA_TYPE, status));
    }
    if let Some(text) = found.broken {
        return Err(abort(StatusCode::BAD_REQUEST, Status::internal(text)));
    }
    if request.method() != HttpMethod::POST {
        let text = format!("Received a HEADERS frame with :method {:?} which should be POST", request.method().as_str());
        return Err(abort(StatusCode::METHOD_NOT_ALLOWED, Status::internal(text)));
    }
    let deadline = found.timeout.map(|timeout| began.saturating_add(timeout));
    if deadline.is_some_and(|deadline| deadline <= now()) {
        return Err(abort(StatusCode::OK, Terms::late()));
    }
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let Some(method) = service::method(path) else {
        return Err(abort(StatusCode::OK, Status::unimplemented(unknown(path))));
    };
    let is_encoded = !matches!(found.encoding, b"" | b"identity");
    if is_encoded && found.encoding != b"gzip" {
        let text = format!("grpc: Decompressor is not installed for grpc-encoding {}", quoted(found.encoding));
        return Err(abort(StatusCode::OK, Status::unimplemented(text)));
    }
    if !found.is_version_text {
        return Err(abort(StatusCode::OK, Error::InvalidClientAPIVersion.status()));
    }
    let requires_leader = found.leader == Some(b"true");
    Ok(Call { method, is_encoded, terms: Terms { deadline, requires_leader } })
}

fn look(headers: &HeaderMap) -> Found<'_> {
    let mut found = Found { is_version_text: true, ..Found::default() };
    for (name, value) in headers {
        let value = value.as_bytes();
        match name.as_str() {
            "content-type" if is_grpc(value) => found.is_grpc = true,
            "content-type" => found.wrong_type = value,
            "grpc-encoding" => found.encoding = value,
            "grpc-timeout" => match timeout(value) {
                Ok(timeout) => found.timeout = Some(timeout),
                Err(why) => found.broken = Some(format!("malformed grpc-timeout: {why}")),
            },
            // The first one counts (GRP-8).
            "hasleader" => found.leader = found.leader.or(Some(value)),
            "client-api-version" => found.is_version_text &= std::str::from_utf8(value).is_ok(),
            name if name.ends_with("-bin") => {
                if let Some(at) = broken_base64(value) {
                    let value = quoted(value);
                    found.broken =
                        Some(format!("malformed binary metadata {value} in header {name:?}: illegal base64 data at input byte {at}"));
                }
            }
            _ => {}
        }
    }
    found
}

/// `application/grpc`, alone or with a subtype or parameters, in any case.
fn is_grpc(value: &[u8]) -> bool {
    const BASE: &[u8] = b"application/grpc";
    let Some((base, rest)) = value.split_at_checked(BASE.len()) else { return false };
    base.eq_ignore_ascii_case(BASE) && matches!(rest.first(), None | Some(b'+' | b';'))
}

/// Up to eight digits and a unit.
fn timeout(value: &[u8]) -> Result<Duration, String> {
    let why = |why: &str| Err(format!("transport: timeout {why}: {}", quoted(value)));
    let Some((unit, digits)) = value.split_last().filter(|(_, digits)| !digits.is_empty()) else {
        return why("string is too short");
    };
    if digits.len() > 8 {
        return why("string is too long");
    }
    let unit: fn(u64) -> Duration = match unit {
        b'H' => |hours| Duration::from_secs(hours * 3600),
        b'M' => |minutes| Duration::from_secs(minutes * 60),
        b'S' => Duration::from_secs,
        b'm' => Duration::from_millis,
        b'u' => Duration::from_micros,
        b'n' => Duration::from_nanos,
        _ => return why("unit is not recognized"),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quoted(digits)));
    }
    Ok(unit(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
}

/// The offset that Go's decoder reports. Padded if the length is a multiple of four, else without padding.
fn broken_base64(value: &[u8]) -> Option<usize> {
    let is_padded = value.len().is_multiple_of(4);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
            b'=' if is_padded && at % 4 >= 2 => {
                let end = if at % 4 == 2 { at + 2 } else { at + 1 };
                if value[at..end].iter().any(|&byte| byte != b'=') {
                    return Some(at);
                }
                return (end < value.len()).then_some(end);
            }
            _ => return Some(at),
        }
    }
    (value.len() % 4 == 1).then(|| value.len() - 1)
}

fn unknown(path: &str) -> String {
    let Some((service, method)) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/') else {
        return format!("malformed method name: {path:?}");
    };
    if service::is_service(service) {
        format!("unknown method {method} for service {service}")
    } else {
        format!("unknown service {service}")
    }
}

/// Bytes as Go's %q writes them.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        out += format!("{:?}", chunk.valid()).trim_matches('"');
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out + "\""
}

fn abort(http: StatusCode, status: Status) -> Box<Response<Body>> {
    let mut response = status.into_http();
    *response.status_mut() = http;
    Box::new(response)
}

/// The one transport text that is found after dispatch: tonic inflates, and speaks of it in its own words.
pub fn translate(response: Response<Body>, receive_max: usize) -> Response<Body> {
    // A response with a message has its status in the trailers.
    if !response.headers().contains_key("grpc-status") {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let Some(why) = status.message().strip_prefix("Error decompressing: ") else { return response };
    let status = if status.code() == Code::ResourceExhausted {
        Status::resource_exhausted(format!("grpc: received message after decompression larger than max {receive_max}"))
    } else {
        let why = why.strip_suffix(", while sending request").unwrap_or(why);
        let why = match why {
            "unexpected end of file" => "unexpected EOF",
            "invalid gzip header" => "gzip: invalid header",
            "corrupt gzip stream does not have a matching checksum" => "gzip: invalid checksum",
            other => other,
        };
        Status::internal(format!("grpc: failed to decompress the message: {why}"))
    };
    status.into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (good, means) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("15m", Duration::from_millis(15)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout(good.as_bytes()), Ok(means));
        }
        for (wrong, text) in [
            ("", r#"transport: timeout string is too short: """#),
            ("S", r#"transport: timeout string is too short: "S""#),
            ("123456789S", r#"transport: timeout string is too long: "123456789S""#),
            ("100", r#"transport: timeout unit is not recognized: "100""#),
            ("-1S", r#"strconv.ParseUint: parsing "-1": invalid syntax"#),
        ] {
            assert_eq!(timeout(wrong.as_bytes()), Err(text.into()));
        }
    }

    #[test]
    fn a_call_whose_time_is_up_is_not_dispatched() {
        let request = |timeout: &str, leader: &str| {
            let builder = Request::post("/etcdserverpb.KV/Put").header("content-type", "application/grpc");
            builder.header("grpc-timeout", timeout).header("hasleader", leader).body(()).expect("a request")
        };
        let at = Duration::from_secs;
        let call = check(&request("2S", "true"), at(10), || at(11)).unwrap_or_else(|_| panic!("there is time"));
        assert_eq!(call.terms, Terms { deadline: Some(at(12)), requires_leader: true });
        let late = check(&request("1S", "yes"), at(10), || at(11)).err().expect("its time is up");
        assert_eq!(late.headers()["grpc-status"], "4");
        let call = check(&request("2S", "yes"), at(10), || at(11)).unwrap_or_else(|_| panic!("there is time"));
        assert!(!call.terms.requires_leader);
    }

    #[test]
    fn base64_is_checked_as_go_does() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YQ", "YWI"] {
            assert_eq!(broken_base64(good.as_bytes()), None, "{good}");
        }
        for (wrong, at) in [("!!!", 0), ("YWJjY", 4), ("YQ=", 2), ("YQ=b", 2), ("YQ==YQ==", 4), ("=AAA", 0), ("YWI=YWI=", 4)] {
            assert_eq!(broken_base64(wrong.as_bytes()), Some(at), "{wrong}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        assert_eq!(unknown("/"), r#"malformed method name: "/""#);
        assert_eq!(unknown("/etcdserverpb.KV"), r#"malformed method name: "/etcdserverpb.KV""#);
        assert_eq!(unknown("/etcdserverpb.KV/Nothing"), "unknown method Nothing for service etcdserverpb.KV");
        assert_eq!(unknown("/a/b/c"), "unknown service a/b");
    }

    #[test]
    fn content_types_of_grpc_have_its_name_alone_or_with_more() {
        for good in ["application/grpc", "Application/GRPC+proto", "application/grpc;charset=utf-8"] {
            assert!(is_grpc(good.as_bytes()), "{good}");
        }
        for wrong in ["", "application/grpcx", "application/json", "application/grp"] {
            assert!(!is_grpc(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted(b"a\"b\\\xff"), r#""a\"b\\\xff""#);
    }
}
