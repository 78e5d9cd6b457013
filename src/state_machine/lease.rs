//! Grant, revoke and checkpoint of leases.

use crate::lease::Lessor;
use crate::membership::{Cluster, Version};
use crate::mvcc::Writer;
use crate::storage::Batch;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse,
};

use super::effects::{LeaseEffect, Outcome, header};

/// The cluster version from which checkpoints are stored (LSE-14).
const STORES_CHECKPOINTS: Version = Version::new(3, 6);

pub(super) fn grant(
    lessor: &mut Lessor,
    request: &LeaseGrantRequest,
    revision: i64,
    batch: &mut Batch,
    effects: &mut Vec<LeaseEffect>,
) -> Outcome<LeaseGrantResponse> {
    let ttl = lessor.grant(request.id, request.ttl, batch)?;
    effects.push(LeaseEffect::Granted { id: request.id, ttl });
    Ok(LeaseGrantResponse { header: header(revision), id: request.id, ttl, error: String::new() })
}

/// All keys go in one revision, in order (LSE-15, LSE-16, LSE-23).
pub(super) fn revoke(
    writer: &mut Writer,
    lessor: &mut Lessor,
    request: &LeaseRevokeRequest,
    batch: &mut Batch,
    effects: &mut Vec<LeaseEffect>,
) -> Outcome<LeaseRevokeResponse> {
    if !lessor.leases().exists(request.id) {
        return Err(Error::LeaseNotFound.into());
    }
    let mut txn = writer.begin(batch);
    for key in lessor.leases().keys(request.id) {
        txn.delete_range(&key, b"", false)?;
    }
    txn.end();
    lessor.revoke(request.id, batch)?;
    effects.push(LeaseEffect::Revoked { id: request.id });
    Ok(LeaseRevokeResponse { header: header(writer.revision()) })
}

pub(super) fn checkpoint(
    lessor: &mut Lessor,
    cluster: &Cluster,
    request: &LeaseCheckpointRequest,
    revision: i64,
    batch: &mut Batch,
    effects: &mut Vec<LeaseEffect>,
) -> LeaseCheckpointResponse {
    let is_stored = cluster.version().is_some_and(|version| version >= STORES_CHECKPOINTS);
    for checkpoint in &request.checkpoints {
        let (id, remaining) = (checkpoint.id, checkpoint.remaining_ttl);
        if lessor.checkpoint(id, remaining, is_stored, batch) {
            effects.push(LeaseEffect::Checkpointed { id, remaining });
        }
    }
    LeaseCheckpointResponse { header: header(revision) }
}
