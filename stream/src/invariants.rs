//! The invariants of the log and its loops: numbered once, named by debug
//! assertions, tests and the simulator.
//!
//! In: a condition. Out: a failed debug assertion that names the invariant.
//! Never: a check in release builds.

/// One invariant.
#[derive(Debug)]
pub struct Invariant {
    /// Its number; never reused.
    pub id: &'static str,
    /// What always holds.
    pub text: &'static str,
}

macro_rules! table {
    ($($const:ident = $id:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $const: Invariant = Invariant { id: $id, text: $text };)*
        /// Every invariant.
        pub const TABLE: &[Invariant] = &[$($const),*];
    };
}

table! {
    DL_1 = "DL-1", "committed <= done prefix <= fetched, in every partition.";
    DL_2 = "DL-2", "A committed offset never passes unfinished work.";
    DL_3 = "DL-3", "A committed offset never goes back.";
    DL_4 = "DL-4", "At most one commit of a partition is under way.";
    DL_5 = "DL-5", "Nothing of a partition is committed after it was lost or released.";
    DL_6 = "DL-6", "After an abort all that was fetched and not committed is fetched again.";
    DL_7 = "DL-7", "Work handed out before an abort counts for nothing after it.";
    DL_8 = "DL-8", "A partition is released only when no work is under way and all that is done is committed.";
    DL_9 = "DL-9", "Nothing new is handed out of a partition that is being given up.";
    LG_1 = "LG-1", "A record is acknowledged only after it is durable.";
    LG_2 = "LG-2", "Outputs and offsets of one commit take effect together or not at all.";
    LG_3 = "LG-3", "Offsets of a partition grow by one with each record, in the order of acknowledgement.";
    LG_4 = "LG-4", "Nobody reads a record that is not durable.";
    LG_5 = "LG-5", "The commit of a member that does not own the partition any more has no effect.";
    LG_6 = "LG-6", "After a failed flush to disk nothing is acknowledged.";
    LG_7 = "LG-7", "Compaction never takes the newest record of a key, unless it is an old tombstone.";
    LG_8 = "LG-8", "An offset is never given twice, also when every record has expired.";
    LG_9 = "LG-9", "A partition has one owner in a group, and a new one only when the commits of the old one are over.";
    I1 = "I1", "An acknowledged event is in the index, or dead with a reason.";
    I2 = "I2", "What is stored is what was sent.";
    I3 = "I3", "An event, a match and a revision of an alert are there once, whatever is read again or sent again.";
    I4 = "I4", "Alerts are those of a naive computation in event time, each once.";
    I5 = "I5", "Once nothing fails any more a fresh event passes soon, and all that waited comes to rest.";
    I6 = "I6", "The committed offset of a stage never passes a record that is not finished.";
    I7 = "I7", "Memory, queues and disk stay within their bounds.";
    I8 = "I8", "No stage ends by itself, and for each stage in = out + dropped + dead at rest.";
}

/// Asserts an invariant in debug builds; the failure names it.
macro_rules! hold {
    ($invariant:expr, $condition:expr) => {
        debug_assert!($condition, "{}: {}", $invariant.id, $invariant.text)
    };
}
pub(crate) use hold;

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn ids_are_distinct_and_texts_are_sentences() {
        for (index, invariant) in TABLE.iter().enumerate() {
            assert!(invariant.text.ends_with('.'), "{}", invariant.id);
            assert!(TABLE.iter().skip(index + 1).all(|other| other.id != invariant.id), "{}", invariant.id);
        }
    }
}
