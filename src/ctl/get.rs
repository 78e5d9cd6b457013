//! `get`: one key or a range of keys.

use std::ffi::OsString;

use bytes::Bytes;

use super::{Failure, number, session::Session};
use crate::{
    client::key_range,
    print::{Answer, Format, Style},
    wire::etcdserverpb::{
        RangeRequest,
        range_request::{SortOrder, SortTarget},
    },
};

/// Shows a key, or the keys of a range
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl get [options] <key> [range_end]")]
pub struct Get {
    #[arg(value_names = ["key", "range_end"], num_args = 0..)]
    pub args: Vec<OsString>,
    /// l: linearizable, s: serializable (may be behind, needs no quorum)
    #[arg(long, default_value = "l", value_name = "string")]
    pub consistency: String,
    /// Order of the keys: ASCEND or DESCEND
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub order: String,
    /// What they are ordered by: CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "", value_name = "string", hide_default_value = true)]
    pub sort_by: String,
    /// Most keys to show (0: all)
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub limit: i64,
    /// All keys that begin with <key>
    #[arg(long)]
    pub prefix: bool,
    /// All keys from <key> on
    #[arg(long)]
    pub from_key: bool,
    /// The keys as they were at this revision
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub rev: i64,
    /// Keys without their values
    #[arg(long)]
    pub keys_only: bool,
    /// Only how many keys there are (with -w fields)
    #[arg(long)]
    pub count_only: bool,
    /// Values without their keys (simple format)
    #[arg(long)]
    pub print_value_only: bool,
    /// Only keys created at this revision or later
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub min_create_rev: i64,
    /// Only keys created at this revision or earlier
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub max_create_rev: i64,
    /// Only keys changed last at this revision or later
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub min_mod_rev: i64,
    /// Only keys changed last at this revision or earlier
    #[arg(long, default_value = "0", value_name = "int", value_parser = number::parse_flag)]
    pub max_mod_rev: i64,
    /// Have the member send the answer in parts
    #[arg(long)]
    pub stream: bool,
}

impl Get {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let request = self.request()?;
        let (client, timeout) = (session.client().await?, session.timeout()?);
        let answer = if self.stream { client.range_stream(request, timeout).await } else { client.call(request, timeout).await };
        let answer = answer.map_err(Failure::general)?;
        let style = session.style()?;
        if self.count_only && style.format != Format::Fields {
            return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
        }
        if self.print_value_only && style.format != Format::Simple {
            return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
        }
        super::session::print(Style { value_only: self.print_value_only, ..style }, Answer::Range(&answer))
    }

    pub fn request(&self) -> Result<RangeRequest, Failure> {
        let [first, ..] = &self.args[..] else {
            return Err(Failure::bad_args("get command needs one argument as key and an optional argument as range_end"));
        };
        refuse_both(self.prefix, "--prefix", self.from_key, "--from-key")?;
        refuse_both(self.keys_only, "--keys-only", self.count_only, "--count-only")?;
        let serializable = is_serializable(&self.consistency)?;
        let (key, range_end) = range(first, self.args.get(1), self.prefix, self.from_key)?;
        let sort_order = self.sort_order()?;
        let sort_target = self.sort_target()?;
        min_below_max("Create", self.min_create_rev, self.max_create_rev)?;
        min_below_max("Mod", self.min_mod_rev, self.max_mod_rev)?;
        // Keys come in ascending order anyway; asking for it would make the member fetch all of them before it limits.
        let is_natural = (sort_target, sort_order) == (SortTarget::Key, SortOrder::Ascend);
        Ok(RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev.max(0),
            sort_order: if is_natural { SortOrder::None } else { sort_order }.into(),
            sort_target: sort_target.into(),
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: self.min_mod_rev.max(0),
            max_mod_revision: self.max_mod_rev.max(0),
            min_create_revision: self.min_create_rev.max(0),
            max_create_revision: self.max_create_rev.max(0),
        })
    }

    fn sort_order(&self) -> Result<SortOrder, Failure> {
        match &self.order.to_uppercase()[..] {
            "ASCEND" => Ok(SortOrder::Ascend),
            "DESCEND" => Ok(SortOrder::Descend),
            "" => Ok(SortOrder::None),
            _ => Err(Failure::bad_feature(format!("bad sort order {}", self.order))),
        }
    }

    fn sort_target(&self) -> Result<SortTarget, Failure> {
        match &self.sort_by.to_uppercase()[..] {
            "CREATE" => Ok(SortTarget::Create),
            "KEY" | "" => Ok(SortTarget::Key),
            "MODIFY" => Ok(SortTarget::Mod),
            "VALUE" => Ok(SortTarget::Value),
            "VERSION" => Ok(SortTarget::Version),
            _ => Err(Failure::bad_feature(format!("bad sort target {}", self.sort_by))),
        }
    }
}

/// Key and range end of a command that takes `key [range_end]`, `--prefix` and `--from-key`.
pub fn range(key: &OsString, end: Option<&OsString>, prefix: bool, from_key: bool) -> Result<(Bytes, Bytes), Failure> {
    let key = bytes(key);
    if end.is_some() && (prefix || from_key) {
        return Err(Failure::bad_args("too many arguments, only accept one argument when `--prefix` or `--from-key` is set"));
    }
    Ok(match end {
        Some(end) => (key, bytes(end)),
        // The empty key is no key; the zero byte is the first one.
        None if (prefix || from_key) && key.is_empty() => {
            (Bytes::from_static(key_range::OPEN_END), Bytes::from_static(key_range::OPEN_END))
        }
        None if prefix => (key.clone(), key_range::prefix_end(&key).into()),
        None if from_key => (key, Bytes::from_static(key_range::OPEN_END)),
        None => (key, Bytes::new()),
    })
}

/// An argument's bytes, UTF-8 or not.
pub fn bytes(arg: &OsString) -> Bytes {
    Bytes::copy_from_slice(arg.as_encoded_bytes())
}

pub fn refuse_both(first: bool, first_name: &str, second: bool, second_name: &str) -> Result<(), Failure> {
    if first && second {
        return Err(Failure::bad_args(format!("`{first_name}` and `{second_name}` cannot be set at the same time, choose one")));
    }
    Ok(())
}

pub fn is_serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        other => Err(Failure::bad_feature(format!("unknown consistency flag {}", crate::print::text::quote(other.as_bytes())))),
    }
}

fn min_below_max(which: &str, min: i64, max: i64) -> Result<(), Failure> {
    if max > 0 && min > max {
        return Err(Failure::bad_feature(format!("getMin{which}Rev(={min}) > getMax{which}Rev(={max})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, end: Option<&str>, prefix: bool, from_key: bool) -> (Vec<u8>, Vec<u8>) {
        let (key, end) = range(&key.into(), end.map(OsString::from).as_ref(), prefix, from_key).unwrap();
        (key.to_vec(), end.to_vec())
    }

    #[test]
    fn a_range_is_one_key_two_keys_a_prefix_or_open() {
        assert_eq!(of("a", None, false, false), (b"a".to_vec(), vec![]));
        assert_eq!(of("a", Some("c"), false, false), (b"a".to_vec(), b"c".to_vec()));
        assert_eq!(of("a", None, true, false), (b"a".to_vec(), b"b".to_vec()));
        assert_eq!(of("a", None, false, true), (b"a".to_vec(), vec![0]));
        assert_eq!(of("", None, true, false), (vec![0], vec![0]));
        assert_eq!(of("", None, false, true), (vec![0], vec![0]));
        assert!(range(&"a".into(), Some(&"b".into()), true, false).is_err());
    }
}
