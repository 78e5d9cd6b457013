//! The operations that both servers are asked for.

use etcd::wire::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, DowngradeRequest, PutRequest, RangeRequest, TxnRequest, WatchCreateRequest,
};

/// A lease by the id that the client chose, or by its number among those whose id the server chose.
///
/// Generated ids differ between servers, so such a lease is never attached to a key: it would enter values, compares and hashes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LeaseRef {
    Chosen(i64),
    Generated(usize),
}

#[derive(Clone, Debug)]
pub enum Op {
    Range(RangeRequest),
    RangeStream(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    /// Maintenance.Hash is left out: it covers member rows, the conf state and the file itself, which differ between two
    /// clusters by right (HSH-1).
    HashKv(i64),
    Grant(LeaseRef, i64),
    Revoke(LeaseRef),
    TimeToLive(LeaseRef, bool),
    KeepAlive(Vec<LeaseRef>),
    Leases,
    Members {
        linearizable: bool,
    },
    MemberAdd(Vec<String>),
    /// By id; 0 stands for the member itself, as it does in the two below.
    MemberRemove(u64),
    MemberUpdate(u64, Vec<String>),
    MemberPromote(u64),
    MoveLeader(u64),
    Status,
    Alarm(AlarmRequest),
    Downgrade(DowngradeRequest),
    OpenStream(usize),
    CloseStream(usize),
    Watch(usize, WatchCreateRequest),
    Cancel(usize, i64),
    /// All watchers that can be level become level, and what they saw is compared.
    Sync,
}

impl Op {
    /// True if the operation changes nothing that a later one could see.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Op::Range(_)
                | Op::RangeStream(_)
                | Op::HashKv(_)
                | Op::TimeToLive(..)
                | Op::KeepAlive(_)
                | Op::Leases
                | Op::Members { .. }
                | Op::Status
        )
    }
}

/// A text short enough to read, whatever the sizes of values in it.
pub fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let cut = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}... ({} bytes)", &text[..cut], text.len())
}
