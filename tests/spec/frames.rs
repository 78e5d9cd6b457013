//! What no gRPC library would send: broken frames, wrong paths and types, bytes that are no text. HTTP/2 is spoken here by hand.
//!
//! ```text
//!   5-byte head (flag, length) + message, as many or few bytes as a case wants ──► h2 ──► server ──► HTTP status, gRPC code, text
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd::wire::etcdserverpb::{
    DowngradeRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
};
use http::{HeaderMap, HeaderValue, Method, Request};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    bad_input::{furnished, is_untouched},
    harness,
};

/// Calls that ours may refuse in another way than the reference, each with its reason. They must be refused all the same.
const REFUSED_OTHERWISE: &[(&str, &str)] = &[];

/// One call of a connection of its own.
#[derive(Clone)]
struct Call {
    what: &'static str,
    method: Method,
    path: &'static str,
    headers: HeaderMap,
    body: Bytes,
}

const RANGE: &str = "/etcdserverpb.KV/Range";

fn frame(flag: u8, length: usize, message: &[u8]) -> Bytes {
    let mut bytes = vec![flag];
    bytes.extend(u32::try_from(length).expect("a frame's length").to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

fn whole(message: &[u8]) -> Bytes {
    frame(0, message.len(), message)
}

fn call(what: &'static str, path: &'static str, body: Bytes) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    Call { what, method: Method::POST, path, headers, body }
}

fn with(mut call: Call, name: &'static str, value: &'static [u8]) -> Call {
    call.headers.insert(name, HeaderValue::from_bytes(value).expect("a header's value"));
    call
}

/// A read that would be answered.
fn good(what: &'static str) -> Call {
    let read = RangeRequest { key: "a".into(), ..Default::default() }.encode_to_vec();
    call(what, RANGE, whole(&read))
}

fn calls() -> Vec<Call> {
    let read = RangeRequest { key: "a".into(), ..Default::default() }.encode_to_vec();
    let write = PutRequest { key: "a".into(), value: "evil".into(), ..Default::default() }.encode_to_vec();
    let put = "/etcdserverpb.KV/Put";
    // Field 2 of DowngradeRequest is a string.
    let mut no_text = DowngradeRequest { action: 0, version: "xx".into() }.encode_to_vec();
    let at = no_text.len() - 2;
    no_text[at..].copy_from_slice(&[0xff, 0xfe]);
    let mut calls = vec![
        good("a good call, for comparison"),
        call("an unknown service", "/some.Thing/Range", whole(&read)),
        call("an unknown method", "/etcdserverpb.KV/Nothing", whole(&read)),
        call("a service without a method", "/etcdserverpb.KV", whole(&read)),
        call("a method in another case", "/etcdserverpb.KV/range", whole(&read)),
        call("no path", "/", whole(&read)),
        call("half a head", RANGE, Bytes::from_static(&[0, 0, 0])),
        call("a head alone", RANGE, frame(0, read.len(), b"")),
        call("a message cut short", RANGE, frame(0, read.len() + 90, &read)),
        call("a write cut short", put, frame(0, write.len() + 1, &write)),
        call("an empty message", RANGE, whole(b"")),
        call("two messages", RANGE, [whole(&read), whole(&read)].concat().into()),
        call("bytes after the message", RANGE, [&whole(&read)[..], b"xx"].concat().into()),
        call("a length over the limit", RANGE, frame(0, 3_000_000, &read)),
        call("the greatest length", put, frame(0, u32::MAX as usize, &write)),
        call("compressed, without saying how", RANGE, frame(1, read.len(), &read)),
        call("an unknown flag", RANGE, frame(2, read.len(), &read)),
        call("bytes that are no message", RANGE, whole(&[0xff; 20])),
        call("a field that ends early", put, whole(&write[..write.len() - 1])),
        call("an unknown field", RANGE, whole(&[&read[..], &[0xfa, 0x01, 1, b'x']].concat())),
        call("a group that never ends", RANGE, whole(&[0x0b])),
        call("field number 0", RANGE, whole(&[0x02, 0x01, b'x'])),
        call("an endless varint", RANGE, whole(&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
        call("a string that is no text", "/etcdserverpb.Maintenance/Downgrade", whole(&no_text)),
        with(good("an unknown encoding"), "grpc-encoding", b"snappy"),
        with(call("an unknown encoding, compressed", RANGE, frame(1, read.len(), &read)), "grpc-encoding", b"snappy"),
        with(call("gzip that is none", RANGE, frame(1, read.len(), &read)), "grpc-encoding", b"gzip"),
        with(good("a timeout that is none"), "grpc-timeout", b"soon"),
        with(good("a timeout without a unit"), "grpc-timeout", b"100"),
        with(good("a long timeout"), "grpc-timeout", b"99999999H"),
        with(good("a client version that is no text"), "client-api-version", b"\xff\xfe"),
        with(good("an unknown client version"), "client-api-version", b"99.99"),
        with(good("metadata that is no text"), "x-something", b"\xff\xfe"),
        with(good("binary metadata that is none"), "x-something-bin", b"!!!"),
        with(good("leader asked for oddly"), "hasleader", b"\xff"),
        with(good("a token where none is needed"), "token", b"nonsense.1"),
        with(good("a content subtype"), "content-type", b"application/grpc+proto"),
        with(good("an unknown content subtype"), "content-type", b"application/grpc+thrift"),
        with(good("no grpc"), "content-type", b"text/plain"),
    ];
    calls.push(Call { method: Method::GET, ..good("GET") });
    calls.push(Call { method: Method::PUT, ..good("PUT") });
    let mut without_te = good("no te");
    without_te.headers.remove("te");
    calls.push(without_te);
    let mut without_type = good("no content type");
    without_type.headers.remove("content-type");
    calls.push(without_type);
    calls
}

#[tokio::test]
async fn broken_calls_are_refused_alike_and_harm_nothing() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let (ours, reference) = (pair.ours.server.address(), pair.reference.server.address());
        for call in calls() {
            let (ours, reference) = tokio::join!(outcome(&ours, &call), outcome(&reference, &call));
            println!("{}: {reference}", call.what);
            if REFUSED_OTHERWISE.iter().any(|(what, _)| *what == call.what) {
                assert!(!ours.contains("code 0"), "{}: {ours}", call.what);
            } else {
                pair.compare(call.what, &ours, &reference);
            }
        }
    })
    .await;
}

/// A call that is late on arrival is refused alike. Of one that becomes late under way the reference tells, or says that it was canceled,
/// or only resets the stream, as its timer, its handler and the transport happen to race; ours always tells.
#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let write = PutRequest { key: "a".into(), value: "late".into(), ..Default::default() }.encode_to_vec();
    let watch =
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest { key: "never".into(), ..Default::default() })) };
    let alive = LeaseKeepAliveRequest { id: 5 }.encode_to_vec();
    let put = "/etcdserverpb.KV/Put";
    let late = [
        with(good("a read without time"), "grpc-timeout", b"0S"),
        with(call("an unknown method without time", "/etcdserverpb.KV/Nothing", whole(&write)), "grpc-timeout", b"0S"),
        with(with(good("an unknown encoding without time"), "grpc-encoding", b"snappy"), "grpc-timeout", b"0S"),
        Call { method: Method::GET, ..with(good("GET without time"), "grpc-timeout", b"0S") },
    ];
    let hasty = with(call("a write with next to no time", put, whole(&write)), "grpc-timeout", b"1n");
    let short = [
        call("a watch", "/etcdserverpb.Watch/Watch", whole(&watch.encode_to_vec())),
        call("keepalives", "/etcdserverpb.Lease/LeaseKeepAlive", whole(&alive)),
        call("the rest of a read", RANGE, frame(0, 4, b"")),
        call("health", "/grpc.health.v1.Health/Watch", whole(b"")),
    ];
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let (ours, reference) = (pair.ours.server.address(), pair.reference.server.address());
        for call in late {
            let (ours, reference) = tokio::join!(outcome(&ours, &call), outcome(&reference, &call));
            pair.compare(call.what, &ours, &reference);
        }
        let (ours_said, reference_said) = tokio::join!(outcome(&ours, &hasty), outcome(&reference, &hasty));
        assert_late(hasty.what, &ours_said, &reference_said);
        for call in short {
            let call = with(call, "grpc-timeout", b"200m");
            let began = Instant::now();
            let (ours, reference) = tokio::join!(held_open(&ours, &call), held_open(&reference, &call));
            assert!(began.elapsed() >= Duration::from_millis(200), "{}: {ours}, {reference}", call.what);
            assert_late(call.what, &ours, &reference);
        }
    })
    .await;
}

fn assert_late(what: &str, ours: &str, reference: &str) {
    assert!(ours.contains("code 4, context deadline exceeded"), "{what}: {ours}");
    let late = ["code 4, context deadline exceeded", "code 1, context canceled", "CANCEL"];
    assert!(late.iter().any(|end| reference.contains(end)), "{what}: {reference}");
}

/// Findings, where ours is stricter by intent: Go skips a known field of another wire type as if it were unknown, prost refuses it; and
/// Go decodes 10,000 messages inside each other, prost 100, so that a transaction nested deeper than 48 is over the limits for ours.
#[tokio::test]
async fn what_ours_refuses_and_the_reference_takes_harms_nothing() {
    if harness::is_reference_itself() {
        return;
    }
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let address = pair.ours.server.address();
        let number = call("a key as a number", RANGE, whole(&[0x08, 0x01]));
        let refused = "HTTP 200, code 13, grpc: error unmarshalling request: proto: cannot parse invalid wire-format data";
        assert_eq!(outcome(&address, &number).await, refused);
        for depth in [49, 60, 128] {
            let deep = call("a deep transaction", "/etcdserverpb.KV/Txn", whole(&nested(depth)));
            let refused = "HTTP 200, code 3, etcdserver: too many operations in txn request";
            assert_eq!(outcome(&address, &deep).await, refused, "{depth} deep");
        }
    })
    .await;
}

/// The reference never answers a call without a body. Ours may be as silent, but not succeed.
#[tokio::test]
async fn a_call_without_a_body_is_not_answered_with_success() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let address = pair.ours.server.address();
        let call = call("no body", RANGE, Bytes::new());
        let answer = tokio::time::timeout(Duration::from_secs(3), exchange(&address, &call, true)).await;
        let is_success = matches!(&answer, Ok(Ok(line)) if line.contains("code 0"));
        assert!(!is_success, "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn transactions_nested_beyond_reason_harm_nothing() {
    let mut pair = furnished(&[]).await;
    is_untouched(&mut pair, async |pair| {
        let (ours, reference) = (pair.ours.server.address(), pair.reference.server.address());
        for depth in [1, 48, 129, 200, 4_999, 5_000, 20_000] {
            let call = call("a deep transaction", "/etcdserverpb.KV/Txn", whole(&nested(depth)));
            let (ours, reference) = tokio::join!(outcome(&ours, &call), outcome(&reference, &call));
            println!("{depth} deep: {reference}");
            pair.compare(&format!("{depth} deep"), &ours, &reference);
        }
    })
    .await;
}

#[tokio::test]
async fn connections_that_are_no_http_2_harm_nothing() {
    let mut pair = furnished(&[]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let cases: [(&str, Vec<u8>); 6] = [
        ("nothing at all", Vec::new()),
        ("bytes without a meaning", (0..=255).collect()),
        ("the preface alone", preface.to_vec()),
        ("a frame longer than allowed", [&preface[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat()),
        ("data for a stream that is not open", [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 1, 0, 0, 0, 0, 0, 1, b'x']].concat()),
        ("headers that do not decode", [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 2, 1, 5, 0, 0, 0, 1, 0xff, 0xff]].concat()),
    ];
    is_untouched(&mut pair, async |pair| {
        for (what, bytes) in cases {
            for side in [&mut pair.ours, &mut pair.reference] {
                let mut connection = TcpStream::connect(side.server.address()).await.expect("the port is open");
                connection.write_all(&bytes).await.expect("the bytes leave");
                connection.shutdown().await.expect("half of the connection closes");
                let mut answer = Vec::new();
                let ended = tokio::time::timeout(harness::DEADLINE, connection.read_to_end(&mut answer)).await;
                assert!(ended.is_ok(), "{what}: the server keeps a connection that its client has closed");
                assert!(side.server.is_alive(), "{what}");
            }
        }
    })
    .await;
}

/// An encoded transaction that holds a transaction that holds a transaction, written from the inside out.
fn nested(depth: usize) -> Vec<u8> {
    // Lengths grow outwards, so the bytes are collected back to front.
    let mut reversed: Vec<u8> = Vec::new();
    let prepend = |reversed: &mut Vec<u8>, tag: u8| {
        let mut head = vec![tag];
        prost::encoding::encode_varint(reversed.len() as u64, &mut head);
        reversed.extend(head.iter().rev());
    };
    for _ in 0..depth {
        prepend(&mut reversed, 0x22); // RequestOp.request_txn = 4
        prepend(&mut reversed, 0x12); // TxnRequest.success = 2
    }
    reversed.reverse();
    reversed
}

/// What the server made of the call, as a line.
async fn outcome(address: &str, call: &Call) -> String {
    told(exchange(address, call, true)).await
}

/// The same of a call whose client does not close its side.
async fn held_open(address: &str, call: &Call) -> String {
    told(exchange(address, call, false)).await
}

async fn told(exchange: impl Future<Output = Result<String, h2::Error>>) -> String {
    match tokio::time::timeout(harness::DEADLINE, exchange).await {
        Ok(Ok(line)) => line,
        Ok(Err(error)) => match error.reason() {
            Some(reason) => format!("the stream or connection ended: {reason:?}"),
            None => "the connection broke".to_owned(),
        },
        Err(_) => "no answer".to_owned(),
    }
}

async fn exchange(address: &str, call: &Call, closes: bool) -> Result<String, h2::Error> {
    let connection = TcpStream::connect(address).await.expect("the port is open");
    let (sender, connection) = h2::client::handshake(connection).await?;
    let driver = tokio::spawn(connection);
    let mut sender = sender.ready().await?;
    let mut request = Request::builder().method(&call.method).uri(format!("http://{address}{}", call.path)).body(()).expect("a request");
    *request.headers_mut() = call.headers.clone();
    let (response, mut body) = sender.send_request(request, call.body.is_empty())?;
    if !call.body.is_empty() {
        // The server may refuse before it has read the body.
        let _ = body.send_data(call.body.clone(), closes);
    }
    let response = response.await?;
    let (head, mut body) = response.into_parts();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        received += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    driver.abort();
    let field = |name: &str| trailers.get(name).or_else(|| head.headers.get(name)).map(decoded);
    let (code, text) = (field("grpc-status"), field("grpc-message"));
    let message = if code.is_some() && received > 0 { ", a message" } else { "" };
    Ok(format!("HTTP {}, code {}, {}{message}", head.status.as_u16(), code.unwrap_or_default(), text.unwrap_or_default()))
}

/// grpc-message is percent-encoded.
fn decoded(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
