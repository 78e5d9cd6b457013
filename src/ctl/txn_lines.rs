//! The lines of a transaction.
//!
//!   mod("key") > "0"         compare: target ("quoted key") operator "quoted value"
//!   put key "a value"        operation: get, put or del as on the command line, in words
//!
//! Writes and reads: nothing.

use super::{
    Failure,
    command_line::{self, Operation},
    number, words,
};
use crate::{
    cli,
    print::text,
    wire::etcdserverpb::{
        Compare, RequestOp,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
    },
};

pub fn compare(line: &[u8]) -> Result<Compare, String> {
    let shown = String::from_utf8_lossy(line);
    let open = line.iter().position(|&b| b == b'(').ok_or_else(|| format!("malformed comparison: {shown}"))?;
    let target = &line[..open];
    let parts = parts(&line[open + 1..]);
    let (Some(key), Some(operator), Some(value)) = (&parts.key, &parts.operator, &parts.value) else {
        let quote = |part: &Option<Vec<u8>>| text::quote(part.as_deref().unwrap_or_default());
        let operator = String::from_utf8_lossy(parts.operator.unwrap_or_default());
        let (target, key, value) = (String::from_utf8_lossy(target), quote(&parts.key), quote(&parts.value));
        return Err(format!("malformed comparison: {shown}; got {target}({key}) {operator} {value}"));
    };
    let result = match *operator {
        b"=" => CompareResult::Equal,
        b"!=" => CompareResult::NotEqual,
        b">" => CompareResult::Greater,
        b"<" => CompareResult::Less,
        other => {
            let other = String::from_utf8_lossy(other);
            return Err(format!("malformed comparison: {shown} (unknown operator {other}, use =, !=, < or >)"));
        }
    };
    let number = |radix| {
        let value = String::from_utf8_lossy(value);
        number::parse(&value, radix).map_err(|_| format!("invalid txn compare request: {shown}"))
    };
    let (target, operand) = match target {
        b"ver" | b"version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        b"c" | b"create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        b"m" | b"mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        b"val" | b"value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        b"lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => return Err(format!("malformed comparison: {shown} (unknown target {})", String::from_utf8_lossy(other))),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.clone().into(),
        range_end: Default::default(),
        target_union: Some(operand),
    })
}

/// What could be read of a compare after its parenthesis; from the first part that could not on, nothing.
#[derive(Default)]
struct Parts<'a> {
    key: Option<Vec<u8>>,
    operator: Option<&'a [u8]>,
    value: Option<Vec<u8>>,
}

fn parts(text: &[u8]) -> Parts<'_> {
    let mut parts = Parts::default();
    let Some((key, rest)) = text::unquote(text.trim_ascii_start()) else { return parts };
    parts.key = Some(key);
    let Some(rest) = rest.strip_prefix(b")") else { return parts };
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    parts.operator = Some(&rest[..end]).filter(|operator| !operator.is_empty());
    parts.value = text::unquote(rest[end..].trim_ascii_start()).map(|(value, _)| value);
    parts
}

pub async fn operation(line: &[u8]) -> Result<RequestOp, Failure> {
    let words = words::split(line).map_err(Failure::invalid_input)?;
    let shown = String::from_utf8_lossy(line);
    if words.len() < 2 {
        return Err(Failure::invalid_input(format!("invalid txn compare request: {shown}")));
    }
    let words = words.into_iter().map(words::to_argument).collect::<Result<_, _>>().map_err(Failure::invalid_input)?;
    let operation = command_line::parse_operation(words).map_err(|e| {
        let why = cli::first_line(&e);
        Failure::invalid_input(format!("invalid txn request: {shown}")).with_advice(format!("{why}\n"))
    })?;
    let request = match operation {
        Operation::Get(get) => Request::RequestRange(get.request()?),
        Operation::Put(put) => Request::RequestPut(put.request(false)?),
        Operation::Del(del) => Request::RequestDeleteRange(del.request().await?),
    };
    Ok(RequestOp { request: Some(request) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};

    #[test]
    fn a_compare_is_a_target_an_operator_and_a_value() {
        for (line, result, target, operand) in [
            (r#"ver("k") = "3""#, CompareResult::Equal, CompareTarget::Version, TargetUnion::Version(3)),
            (r#"create("k")   != "0""#, CompareResult::NotEqual, CompareTarget::Create, TargetUnion::CreateRevision(0)),
            (r#"m("k") < "-1""#, CompareResult::Less, CompareTarget::Mod, TargetUnion::ModRevision(-1)),
            (r#"val("k") > "a\tb""#, CompareResult::Greater, CompareTarget::Value, TargetUnion::Value("a\tb".into())),
            (r#"lease("k") = "694d""#, CompareResult::Equal, CompareTarget::Lease, TargetUnion::Lease(0x694d)),
        ] {
            let compare = compare(line.as_bytes()).unwrap();
            assert_eq!((compare.result(), compare.target()), (result, target), "{line}");
            assert_eq!(compare.target_union, Some(operand), "{line}");
            assert_eq!(compare.key, "k", "{line}");
        }
    }

    #[test]
    fn a_compare_that_cannot_be_read_is_told_with_what_could() {
        for (line, says) in [
            ("bla", "malformed comparison: bla"),
            (r#"mod(key1) > "x""#, r#"malformed comparison: mod(key1) > "x"; got mod("")  """#),
            (r#"mod("key1") >"#, r#"malformed comparison: mod("key1") >; got mod("key1") > """#),
            (r#"mod("key1") > "x""#, r#"invalid txn compare request: mod("key1") > "x""#),
            (r#"foo("key1") > "0""#, r#"malformed comparison: foo("key1") > "0" (unknown target foo)"#),
            (r#"val("k") ~ "0""#, r#"malformed comparison: val("k") ~ "0" (unknown operator ~, use =, !=, < or >)"#),
        ] {
            assert_eq!(compare(line.as_bytes()).unwrap_err(), says);
        }
    }

    async fn request(line: &str) -> Request {
        operation(line.as_bytes()).await.unwrap().request.unwrap()
    }

    #[tokio::test]
    async fn an_operation_is_a_command_in_words() {
        let put = PutRequest { key: "k".into(), value: "a b".into(), lease: 0x1f, prev_kv: true, ..Default::default() };
        assert_eq!(request("put --prev-kv --lease=1f k 'a b'").await, Request::RequestPut(put));
        let range = RangeRequest { key: "k".into(), range_end: "l".into(), limit: 2, ..Default::default() };
        assert_eq!(request(r#"get "\x6b" --prefix --limit 2"#).await, Request::RequestRange(range));
        let delete = DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv: false };
        assert_eq!(request("del --from-key a").await, Request::RequestDeleteRange(delete));
    }

    #[tokio::test]
    async fn an_operation_that_is_none_is_invalid_input() {
        for (line, failure) in [
            ("put", Failure::invalid_input("invalid txn compare request: put")),
            ("put k", Failure::bad_args("put command needs 1 argument and input from stdin or 2 arguments")),
        ] {
            assert_eq!(operation(line.as_bytes()).await.unwrap_err(), failure, "{line}");
        }
        for line in ["bogus x", "get --bogus x"] {
            let failure = format!("{:?}", operation(line.as_bytes()).await.unwrap_err());
            assert!(failure.contains(&format!("invalid txn request: {line}")) && failure.contains("code: 3"), "{failure}");
        }
    }
}
