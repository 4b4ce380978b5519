//! What goes wrong, and how often.
//!
//! In: rates per thousand, times in milliseconds. Out: the plan that the
//! simulated log rolls its dice against. Never: a fault that a real cluster
//! cannot have, but for [`Broken`], which shows that faults are found.

/// How often each thing goes wrong, of a thousand times. All zero: a log that never fails and answers at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Longest time that one request takes, in milliseconds.
    pub latency_ms: u64,
    /// Longest time from the decision of a transaction to its marker in a partition, in milliseconds.
    pub marker_ms: u64,
    /// Joining a group fails.
    pub subscribe_fails: u32,
    /// A poll fails.
    pub poll_fails: u32,
    /// A poll or fetch brings fewer records than it could.
    pub short_reads: u32,
    /// A fetch, a look at offsets or a rewind fails.
    pub reads_fail: u32,
    /// A fetch brings nothing although there is something.
    pub empty_fetches: u32,
    /// A partition brings nothing more to its consumer, until there is a new consumer.
    pub parked: u32,
    /// Nothing of a produce happens, and it fails.
    pub produce_refused: u32,
    /// A part of a produce happens, and it fails.
    pub produce_cut: u32,
    /// All of a produce happens, later, and it fails.
    pub produce_late: u32,
    /// A record that has a client's id is appended twice, as by a producer that is not idempotent.
    pub duplicates: u32,
    /// A commit fails before anything was sent.
    pub commit_refused: u32,
    /// A commit fails half-way; the transaction is aborted, or left open until its time-out.
    pub commit_cut: u32,
    /// The word to commit is lost: outcome unknown, and nothing has happened.
    pub commit_lost: u32,
    /// The answer to a commit is lost: outcome unknown, and it has happened.
    pub commit_unknown: u32,
    /// A question about an outcome is not answered.
    pub settle_fails: u32,
    /// A commit takes very long.
    pub commit_slow: u32,
    /// A promise that is broken on purpose.
    pub broken: Option<Broken>,
}

/// A promise of the log that is broken on purpose, for tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Commits of members that are gone are taken (LG-5).
    Fencing,
    /// Outputs take effect, and now and then their offsets do not (LG-2).
    Offsets,
    /// Offsets take effect, and now and then their outputs do not (LG-2).
    Outputs,
    /// Readers see what is not decided, or aborted (LG-4).
    Isolation,
    /// A new owner begins at the offset that was committed before the pending one (LG-9).
    Pending,
    /// A commit of unknown outcome is told as failed.
    Outcome,
    /// A produce is acknowledged and forgotten (LG-1).
    Acknowledgement,
    /// Offsets are committed one further than asked (DL-2).
    Prefix,
}

impl Broken {
    /// Every promise that can be broken.
    pub const ALL: [Broken; 8] = [
        Broken::Fencing,
        Broken::Offsets,
        Broken::Outputs,
        Broken::Isolation,
        Broken::Pending,
        Broken::Outcome,
        Broken::Acknowledgement,
        Broken::Prefix,
    ];
}
