//! The state machine against a naive model: every offset has a flag, and the
//! prefix is counted anew each time.

use proptest::prelude::*;

use super::{Effect, Input, Partition, Phase, Span};
use crate::invariants::{DL_2, DL_3, DL_5, DL_6, DL_7, DL_8, DL_9};

/// One thing that a history does; numbers choose among what is possible.
#[derive(Clone, Debug)]
enum Act {
    Fetch(u64),
    Finish(usize),
    FinishTwice(usize),
    CommitDue,
    CommitTakes,
    CommitFails,
    Abort,
    Revoke,
    Lose,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..20_u64).prop_map(Act::Fetch),
        8 => any::<usize>().prop_map(Act::Finish),
        1 => any::<usize>().prop_map(Act::FinishTwice),
        4 => Just(Act::CommitDue),
        4 => Just(Act::CommitTakes),
        1 => Just(Act::CommitFails),
        1 => Just(Act::Abort),
        1 => Just(Act::Revoke),
        1 => Just(Act::Lose),
    ]
}

/// The naive model: a flag for each offset.
struct Model {
    committed: u64,
    fetched: u64,
    finished: Vec<bool>,
    working: Vec<Span>,
    /// Spans handed out before an abort, and spans already finished.
    stale: Vec<Span>,
    committing: Option<u64>,
    phase: Phase,
}

impl Model {
    fn prefix(&self) -> u64 {
        (self.committed..self.fetched).find(|o| !self.finished[*o as usize]).unwrap_or(self.fetched)
    }

    fn forget(&mut self) {
        self.finished[self.committed as usize..].fill(false);
        self.stale.append(&mut self.working);
        self.fetched = self.committed;
        self.committing = None;
    }

    fn input(&mut self, act: &Act) -> Option<Input> {
        let pick = |spans: &[Span], n: usize| (!spans.is_empty()).then(|| spans[n % spans.len()]);
        match act {
            Act::Fetch(n) => Some(Input::Fetched { next: self.fetched + n }),
            Act::Finish(n) => pick(&self.working, *n).map(Input::Done),
            Act::FinishTwice(n) => pick(&self.stale, *n).map(Input::Done),
            Act::CommitDue => Some(Input::CommitDue),
            Act::CommitTakes => self.committing.map(|next| Input::Committed { next }),
            Act::CommitFails => self.committing.map(|_| Input::CommitFailed),
            Act::Abort => Some(Input::Abort),
            Act::Revoke => Some(Input::Revoke),
            Act::Lose => Some(Input::Lost),
        }
    }

    /// What must be true of the effect, and how it changes the model.
    fn check(&mut self, input: Input, effect: Option<Effect>) {
        let over = matches!(self.phase, Phase::Lost | Phase::Released);
        assert!(!over || effect.is_none(), "{}", DL_5.text);
        if over {
            return;
        }
        match input {
            Input::Fetched { next } if self.phase == Phase::Consuming => {
                let Some(Effect::Work(span)) = effect else { panic!("nothing handed out") };
                assert_eq!((span.from, span.to), (self.fetched, next));
                self.working.push(span);
                self.fetched = next;
            }
            Input::Fetched { .. } => assert_eq!(effect, None, "{}", DL_9.text),
            Input::Done(span) => match self.working.iter().position(|s| *s == span) {
                Some(at) => {
                    self.stale.push(self.working.remove(at));
                    self.finished[span.from as usize..span.to as usize].fill(true);
                }
                None => assert_eq!(effect, None, "{}", DL_7.text),
            },
            Input::Committed { next } => {
                assert!(next >= self.committed, "{}", DL_3.text);
                self.committed = next;
                self.committing = None;
            }
            Input::CommitFailed => self.committing = None,
            Input::Abort => {
                self.forget();
                let expected = Effect::Rewind { to: self.committed };
                assert!(self.phase == Phase::Draining || effect == Some(expected), "{}", DL_6.text);
            }
            Input::Revoke => self.phase = Phase::Draining,
            Input::Lost => {
                self.forget();
                self.phase = Phase::Lost;
            }
            Input::CommitDue => {}
        }
        match effect {
            Some(Effect::Commit { next }) => {
                assert_eq!(next, self.prefix(), "{}", DL_2.text);
                assert!(self.committing.is_none() && next > self.committed);
                self.committing = Some(next);
            }
            Some(Effect::Release) => {
                assert!(self.working.is_empty() && self.committing.is_none(), "{}", DL_8.text);
                assert_eq!(self.prefix(), self.committed, "{}", DL_8.text);
                self.phase = Phase::Released;
            }
            Some(Effect::Work(_) | Effect::Rewind { .. }) | None => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// DL-1 to DL-9 over random histories.
    #[test]
    fn the_machine_agrees_with_a_flag_for_each_offset(start in 0..50_u64, acts in prop::collection::vec(act(), 1..80)) {
        let mut machine = Partition::new(start);
        let mut model = Model {
            committed: start, fetched: start, finished: vec![false; 4000],
            working: Vec::new(), stale: Vec::new(), committing: None, phase: Phase::Consuming,
        };
        for act in &acts {
            let Some(input) = model.input(act) else { continue };
            let effect = machine.step(input);
            model.check(input, effect);
            prop_assert_eq!(machine.committed(), model.committed);
            prop_assert_eq!(machine.phase(), model.phase);
            if matches!(model.phase, Phase::Consuming | Phase::Draining) {
                prop_assert_eq!(machine.done(), model.prefix());
                prop_assert_eq!(machine.fetched(), model.fetched);
            }
        }
        // Whatever happened, a machine that is still alive can always be drained.
        drain(&mut machine, &mut model);
    }
}

fn drain(machine: &mut Partition, model: &mut Model) {
    if matches!(model.phase, Phase::Lost | Phase::Released) {
        return;
    }
    let step = |machine: &mut Partition, model: &mut Model, input| {
        let effect = machine.step(input);
        model.check(input, effect);
    };
    step(machine, model, Input::Revoke);
    while let Some(span) = model.working.last().copied() {
        step(machine, model, Input::Done(span));
    }
    while let Some(next) = model.committing {
        step(machine, model, Input::Committed { next });
    }
    assert_eq!(machine.phase(), Phase::Released, "{}", DL_8.text);
}
