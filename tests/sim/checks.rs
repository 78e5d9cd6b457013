//! What must hold after every step (I1-I8 as they can be seen), whenever the applier rests, and at the end.

use super::*;

/// The index from which the oldest segment holds entries, told by its name.
fn first_of_log(disk: &Disk) -> Option<u64> {
    let names = disk.names(Path::new("/data/member/wal"));
    let segments = names.iter().filter_map(|name| name.strip_suffix(".wal")?.split_once('-'));
    let (_, index) = segments.min()?;
    u64::from_str_radix(index, 16).ok()
}

impl World {
    pub(super) fn check_invariants(&mut self) -> Result<(), Stop> {
        let Some(member) = &self.member else { return Ok(()) };
        if self.disk.has_crashed() {
            return Err(Stop::Dead);
        }
        let flushed = match node::flushed(&*self.engine) {
            Ok(flushed) => flushed.index,
            Err(error) => return wrong(format!("the flushed index cannot be read: {error}")),
        };
        let (written, applied, synced, status) = (self.engine.index(), member.applier.applied().0, member.synced, member.status);
        if flushed > written || written > applied || applied > synced {
            return wrong(format!("I1: flushed {flushed} <= written {written} <= applied {applied} <= synced {synced}"));
        }
        if status.term > 0 && (applied > status.commit || status.commit > status.last) {
            return wrong(format!("I1: applied {applied} <= commit {} <= last {}", status.commit, status.last));
        }
        if let Some(first) = first_of_log(&self.disk).filter(|first| *first > flushed + 1) {
            return wrong(format!("I2: the log begins at {first}, flushed is {flushed}"));
        }
        let (revision, compacted) = (member.reader.revision(), member.reader.compact_revision());
        if compacted > revision || revision < self.published.0 || compacted < self.published.1 {
            return wrong(format!("I5: revision {revision}, compacted {compacted} after {:?}", self.published));
        }
        if revision > self.model.revision_at(written) {
            return wrong(format!("I6: revision {revision} is readable, index {written} is written"));
        }
        if member.deadlines.is_leader() && !(status.role == Role::Leader && status.reads_at_once) {
            return wrong("I7: there are deadlines and no leader that has committed");
        }
        self.published = (revision, compacted);
        self.compacted_seen = self.compacted_seen.max(compacted);
        Ok(())
    }

    /// The member stands where the model stands.
    pub(super) fn is_comparable(&self) -> bool {
        let member = self.member.as_ref();
        member.is_some_and(|member| member.phase == Phase::Idle && member.applier.applied().0 == self.model.index)
    }

    /// The whole state is the model's: keys, history, leases, and the hash as it was whenever it was taken (I3, I4).
    pub(super) fn check_state(&mut self) -> Result<(), Stop> {
        let (member, model) = (self.member.as_ref().expect("it lives"), &self.model);
        let reader = &member.reader;
        let (revision, compacted) = (reader.revision(), reader.compact_revision());
        if (revision, compacted) != (model.revision, model.compacted) {
            return wrong(format!("I3: {revision}, compacted {compacted}; the model is at {}, {}", model.revision, model.compacted));
        }
        let past = self.rng.random_range(compacted.max(1)..=revision);
        for at in [revision, past] {
            let (kvs, wanted) = (self.all_keys(at)?, model.at(at).into_values().collect::<Vec<_>>());
            if kvs != wanted {
                return wrong(format!("at {at} there is {kvs:?} and should be {wanted:?}"));
            }
        }
        self.check_history()?;
        if let Some((id, done)) = model.done.iter().find(|(_, done)| done.times > 1) {
            return wrong(format!("command {id} is {} times in the log, the last time at {}", done.times, done.index));
        }
        let leases: Vec<(i64, i64)> = member.leases.list().iter().map(|lease| (lease.id, lease.ttl)).collect();
        let wanted: Vec<(i64, i64)> = model.leases.iter().map(|(id, lease)| (*id, lease.ttl)).collect();
        if leases != wanted {
            return wrong(format!("the leases are {leases:?} and should be {wanted:?}"));
        }
        for (id, lease) in &model.leases {
            let keys = member.leases.keys(*id);
            if !keys.iter().eq(lease.keys.iter()) {
                return wrong(format!("lease {id} has {keys:?} and should have {:?}", lease.keys));
            }
        }
        self.check_hashes()
    }

    fn all_keys(&self, revision: i64) -> Result<Vec<KeyValue>, Stop> {
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        let request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
        let reader = &self.member.as_ref().expect("it lives").reader;
        let mut scan = reader.scan(&request).or_else(|error| wrong(format!("a read at {revision}: {error}")))?;
        loop {
            match scan.step(16).or_else(|error| wrong(format!("a read at {revision}: {error}")))? {
                ScanStep::Done(found) => return Ok(found.kvs.iter().map(|kv| KeyValue::decode(&kv[..]).expect("a record")).collect()),
                ScanStep::More => {}
                ScanStep::Read => scan.read().or_else(|error| wrong(format!("a read at {revision}: {error}")))?,
            }
        }
    }

    fn check_history(&self) -> Result<(), Stop> {
        let reader = &self.member.as_ref().expect("it lives").reader;
        let (from, last) = (reader.compact_revision().max(1), reader.revision());
        let history = match reader.history(from, last, usize::MAX, &|_| true) {
            Ok(history) => history.events,
            Err(error) => return wrong(format!("the history from {from} cannot be read: {error}")),
        };
        let found: Vec<(i64, &Bytes, bool)> = history.iter().map(|e| (e.revision.main, &e.key, e.is_delete)).collect();
        let wanted: Vec<(i64, &Bytes, bool)> =
            self.model.between(from, last).map(|change| (change.revision, &change.key, change.after.is_none())).collect();
        if found == wanted { Ok(()) } else { wrong(format!("the history from {from} is {found:?} and should be {wanted:?}")) }
    }

    fn check_hashes(&mut self) -> Result<(), Stop> {
        let reader = self.member.as_ref().expect("it lives").reader.clone();
        let (current, compacted) = (reader.revision(), reader.compact_revision());
        let known: Vec<i64> = self.hashes.keys().filter(|(_, c)| *c == compacted).map(|(revision, _)| *revision).collect();
        for revision in known.into_iter().rev().take(3).chain([current]) {
            let hash = match reader.hash_kv(revision) {
                Ok(hash) => hash.hash,
                Err(error) => return wrong(format!("the hash at {revision}: {error}")),
            };
            let before = *self.hashes.entry((revision, compacted)).or_insert(hash);
            if hash != before {
                return wrong(format!("I4: the hash at {revision}, compacted {compacted}, was {before:08x} and is {hash:08x}"));
            }
        }
        Ok(())
    }

    /// The last life is left alone, until it has done all that it was asked; then time passes until every lease has ended.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.set_mood(Mood::Good);
        self.disk.spare();
        self.note("the end begins");
        self.settle_all()?;
        if let Some((id, pending)) = self.pending.first_key_value() {
            return wrong(format!("{id} was never answered: {pending:?}"));
        }
        // The longest TTL, an election, and a second look at what was named and not revoked.
        for _ in 0..24 {
            self.pass(Duration::from_millis(500));
            self.settle_all()?;
        }
        if let Some((id, lease)) = self.model.leases.first_key_value() {
            return wrong(format!("nobody renews lease {id}, and it does not end: {lease:?}"));
        }
        self.restart_at_rest()
    }

    fn settle_all(&mut self) -> Result<(), Stop> {
        self.settle()?;
        if !self.is_open {
            return wrong("the member does not lead");
        }
        if self.watching.can_turn() {
            return wrong("the hub has work and does not do it");
        }
        self.watching.check_complete(&self.model)?;
        self.check_state()
    }

    /// One more time from what is on disk, with nothing lost but the power.
    fn restart_at_rest(&mut self) -> Result<(), Stop> {
        self.crash();
        self.has_holes = false;
        self.boot()?;
        self.settle_all()
    }
}
