//! One round of a bulk request: the answer decides for each document whether
//! it is settled, goes again as it is, or goes again changed.
//!
//! In: the documents of a request and its answer. Out: what becomes of each.
//! Never: I/O or time; never a document in two places, or in none.

use model::error::Reason;
use stream::delivery::Outcome;

use super::reply::{Judged, Whole, judge};
use super::unmapped::moved;
use crate::document::{Document, Write};
use crate::index::{Answer, IndexError};

/// How often the index may fail at one document before the document is given up: each failure counts
/// [`FAILURE_BESIDE_SUCCESS`] where the same request brought others in, else 1, for then it may be the index.
const FAILURES_MAX: u32 = 60;
const FAILURE_BESIDE_SUCCESS: u32 = 6;
/// Values of one document that may move; then its `details` move as a whole.
const MOVES_MAX: u32 = 8;

/// A document that is not settled.
#[derive(Debug)]
pub(super) struct Open {
    /// Its place among the outcomes.
    pub(super) slot: usize,
    pub(super) document: Document,
    failures: u32,
    moves: u32,
}

impl Open {
    pub(super) fn new(slot: usize, document: Document) -> Open {
        Open { slot, document, failures: 0, moves: 0 }
    }
}

/// Why to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It passes by itself.
    Busy(String),
    /// Somebody has to change something.
    Shut(String),
}

/// What a round gives.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) settled: Vec<(usize, Outcome)>,
    /// To be sent again.
    pub(super) again: Vec<Open>,
    /// To be compared with what is stored.
    pub(super) exists: Vec<Open>,
    /// To be sent again in two requests.
    pub(super) halves: Option<(Vec<Open>, Vec<Open>)>,
    /// Indices that are not there, though they were.
    pub(super) missing: Vec<String>,
    /// Documents that were changed to fit.
    pub(super) unmapped: u64,
    pub(super) wait: Option<Wait>,
}

/// Decides.
pub(super) fn decide(open: Vec<Open>, answer: Result<Answer, IndexError>) -> Round {
    let writes: Vec<Write> = open.iter().map(|open| open.document.write).collect();
    let mut round = Round::default();
    match judge(answer, &writes) {
        Whole::Items(items) => {
            let progress =
                items.iter().any(|item| matches!(item, Judged::Done | Judged::Exists | Judged::Newer));
            for (open, judged) in open.into_iter().zip(items) {
                round.item(open, judged, progress);
            }
        }
        Whole::Later(why) => round.all_again(open, Wait::Busy(why)),
        Whole::Shut(why) => round.all_again(open, Wait::Shut(why)),
        Whole::TooLarge => round.halve(open, "larger than the index takes (status 413)"),
        Whole::Refused(why) => round.halve(open, &why),
    }
    round
}

impl Round {
    fn item(&mut self, mut open: Open, judged: Judged, progress: bool) {
        match judged {
            Judged::Done | Judged::Newer => self.settled.push((open.slot, Outcome::Done)),
            Judged::Exists => self.exists.push(open),
            Judged::Later(why) => self.once_more(open, Wait::Busy(why)),
            Judged::Shut(why) => self.once_more(open, Wait::Shut(why)),
            Judged::NoIndex => {
                let index = open.document.index.clone();
                let why = format!("index {index} is not there");
                if !self.missing.contains(&index) {
                    self.missing.push(index);
                }
                self.once_more(open, Wait::Shut(why));
            }
            Judged::Failed(why) => {
                open.failures += if progress { FAILURE_BESIDE_SUCCESS } else { 1 };
                if open.failures >= FAILURES_MAX {
                    self.settled.push((open.slot, refused(why)));
                } else {
                    self.once_more(open, Wait::Busy(why));
                }
            }
            Judged::Misfit { path, reason } => self.misfit(open, path, reason),
            Judged::Refused(why) => self.settled.push((open.slot, refused(why))),
        }
    }

    fn misfit(&mut self, mut open: Open, path: Option<String>, reason: String) {
        open.moves += 1;
        let path = path.filter(|_| open.moves <= MOVES_MAX);
        let source = path.and_then(|path| moved(&open.document.source, &path));
        match source.or_else(|| moved(&open.document.source, "details")) {
            Some(source) => {
                open.document.source = source;
                self.unmapped += 1;
                self.again.push(open);
            }
            None => self.settled.push((open.slot, refused(reason))),
        }
    }

    fn once_more(&mut self, open: Open, wait: Wait) {
        self.again.push(open);
        self.wait_for(wait);
    }

    fn all_again(&mut self, open: Vec<Open>, wait: Wait) {
        self.again.extend(open);
        self.wait_for(wait);
    }

    /// What needs somebody is told before what passes.
    fn wait_for(&mut self, wait: Wait) {
        match (&self.wait, &wait) {
            (None, _) | (Some(Wait::Busy(_)), Wait::Shut(_)) => self.wait = Some(wait),
            (Some(_), _) => {}
        }
    }

    fn halve(&mut self, mut open: Vec<Open>, why: &str) {
        if open.len() > 1 {
            let second = open.split_off(open.len() / 2);
            self.halves = Some((open, second));
        } else {
            self.settled.extend(open.into_iter().map(|open| (open.slot, refused(why.to_owned()))));
        }
    }
}

fn refused(detail: String) -> Outcome {
    Outcome::Dead { reason: Reason::IndexRefused, detail }
}
