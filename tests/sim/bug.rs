//! The mistakes that the checks must notice: each alters the glue around the product, or what lies below it, and nothing in it.

/// See each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// An append is reported as persisted when it is written.
    AcknowledgeBeforeSync,
    /// A sync of the disk does nothing.
    SyncDoesNothing,
    /// A sync of a directory does nothing.
    DirSyncDoesNothing,
    /// The consistent index goes to the engine with the batch after its own.
    IndexABatchLate,
    /// The consistent index goes to the engine a batch before the rows it is for.
    IndexABatchEarly,
    /// A batch is written in two halves.
    SplitBatch,
    /// The log is told of a flush that did not happen.
    FlushIsClaimed,
    /// The log is told the applied index instead of the flushed one.
    PurgeByApplied,
    /// A batch that did not find space is taken for written.
    FullEngineLosesBatch,
    /// An append that did not find space is taken for written.
    FullLogLosesAppend,
    /// Half a batch is visible before it is written.
    PublishBeforeWrite,
    /// The engine takes a batch only when the next one comes: replies and events leave before theirs is written.
    WriteBehind,
    /// Replies leave before their revision is readable.
    ReplyBeforePublish,
    /// Hubs hear of events after their revision is readable.
    OfferAfterPublish,
    /// A batch that does not fit into a hub's inbox is dropped.
    SlowWatcherLosesBatch,
    /// The events of a batch are given twice.
    EventsTwice,
    /// The history scan of a watcher that catches up skips a revision.
    CatchUpSkips,
    /// Progress overtakes the events that wait in the same stream.
    ProgressOvertakes,
    /// A watcher goes on after a restart one revision too late.
    ResumeTooLate,
    /// The row of a revoked lease stays.
    RevokedLeaseReturns,
    /// A keepalive is answered and moves no deadline.
    KeepaliveIsForgotten,
    /// Deadlines are taken over as if some of their time had passed.
    ShortDeadlines,
    /// Deadlines are not taken over after a restart.
    NoDeadlines,
    /// Deadlines outlive the leadership of their member.
    DeadlinesAreKept,
    /// After a restart the last entry is applied a second time.
    AppliedTwice,
    /// A command is proposed twice.
    ProposedTwice,
    /// The row of the scheduled compaction is not written.
    CompactionIsForgotten,
    /// Reads are answered while a restarted member has not led yet.
    ReadBeforeLeading,
    /// Reads do not wait for what watchers were told of already.
    ReadBeforePublish,
    /// A sweep removes a record that the compaction spares.
    SweepBeyond,
}

impl Bug {
    pub const ALL: [Bug; 30] = [
        Bug::AcknowledgeBeforeSync,
        Bug::SyncDoesNothing,
        Bug::DirSyncDoesNothing,
        Bug::IndexABatchLate,
        Bug::IndexABatchEarly,
        Bug::SplitBatch,
        Bug::FlushIsClaimed,
        Bug::PurgeByApplied,
        Bug::FullEngineLosesBatch,
        Bug::FullLogLosesAppend,
        Bug::PublishBeforeWrite,
        Bug::WriteBehind,
        Bug::ReplyBeforePublish,
        Bug::OfferAfterPublish,
        Bug::SlowWatcherLosesBatch,
        Bug::EventsTwice,
        Bug::CatchUpSkips,
        Bug::ProgressOvertakes,
        Bug::ResumeTooLate,
        Bug::RevokedLeaseReturns,
        Bug::KeepaliveIsForgotten,
        Bug::ShortDeadlines,
        Bug::NoDeadlines,
        Bug::DeadlinesAreKept,
        Bug::AppliedTwice,
        Bug::ProposedTwice,
        Bug::CompactionIsForgotten,
        Bug::ReadBeforeLeading,
        Bug::ReadBeforePublish,
        Bug::SweepBeyond,
    ];
}
