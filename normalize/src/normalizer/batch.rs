//! Many events at once: those that wait for the same WebAssembly plugin are put to it together.
//!
//! In: raw events. Out: what became of each, in any order, by number. Never: more events or bytes waiting than the
//! bound; then the plugins are asked before the next event is read.

use model::event::Event;

use super::{End, Normalized, Normalizer, Raw, Step};
use crate::chain::tally::Tally;
use crate::chain::{Answer, Passage, item};
use crate::marks::Marks;
use crate::plugin::Metadata;

/// Most events that wait for plugins.
const WAITING_MAX: usize = 256;
/// Most bytes that they came as.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// An event that waits for a plugin, with all that the normalizer knew of it.
struct Parked {
    index: usize,
    /// The plugin's number.
    number: usize,
    event: Event,
    passage: Passage,
    marks: Marks,
    failures: Vec<String>,
    metadata: Metadata,
}

/// Hears of each event's end: its number, what it is, and the counts that go on.
type Done<'d> = &'d mut dyn FnMut(usize, Normalized<'_>, &mut Tally);

/// The events of one call.
struct Batch<'b> {
    raws: &'b [Raw<'b>],
    parked: Vec<Parked>,
    /// Bytes of those that wait.
    bytes: usize,
}

impl Normalizer {
    /// Normalises many events, and counts them in `tally`. Each is told to `done`, once.
    pub fn normalize_all(&mut self, raws: &[Raw<'_>], tally: &mut Tally, done: Done<'_>) {
        let mut batch = Batch { raws, parked: Vec::new(), bytes: 0 };
        for (index, raw) in raws.iter().enumerate() {
            let step = self.begin(*raw, tally);
            self.carry(&mut batch, index, step, tally, done);
            if batch.parked.len() >= WAITING_MAX || batch.bytes >= WAITING_BYTES_MAX {
                self.ask_all(&mut batch, tally, done);
            }
        }
        self.ask_all(&mut batch, tally, done);
    }

    /// Carries the event in hand to its end, or to the next plugin that is to be asked.
    fn carry(
        &mut self,
        batch: &mut Batch<'_>,
        index: usize,
        step: Result<Step, End>,
        tally: &mut Tally,
        done: Done<'_>,
    ) {
        let Some(raw) = batch.raws.get(index).copied() else { return };
        let end = match step.and_then(|step| self.advance(step, raw, tally)) {
            Ok(Some(number)) => {
                batch.bytes = batch.bytes.saturating_add(raw.value.len());
                batch.parked.push(self.park(index, number));
                return;
            }
            Ok(None) => self.complete(raw),
            Err(end) => Err(end),
        };
        // What is told borrows the normalizer, and so does the count.
        let normalized = self.ended(end, tally);
        done(index, normalized, tally);
    }

    /// Asks plugins, in their order, until nobody waits.
    fn ask_all(&mut self, batch: &mut Batch<'_>, tally: &mut Tally, done: Done<'_>) {
        batch.bytes = 0;
        while let Some(number) = batch.parked.iter().map(|parked| parked.number).min() {
            let all = std::mem::take(&mut batch.parked);
            let (asked, others): (Vec<Parked>, Vec<Parked>) =
                all.into_iter().partition(|parked| parked.number == number);
            batch.parked = others;
            let documents: Vec<String> = asked.iter().map(|parked| parked.event.to_json()).collect();
            let received = |index: usize| batch.raws.get(index).map_or(0, |raw| raw.received.millis());
            let items: Vec<_> = asked
                .iter()
                .zip(&documents)
                .map(|(parked, document)| item(document, received(parked.index), &parked.metadata))
                .collect();
            let mut answers = self.chain.ask(number, &items).into_iter();
            for parked in asked {
                let Some(raw) = batch.raws.get(parked.index).copied() else { continue };
                let index = parked.index;
                self.unpark(parked);
                let step = self.answered(number, answers.next().unwrap_or(Answer::Unchanged), raw, tally);
                self.carry(batch, index, step, tally, done);
            }
        }
    }

    fn park(&mut self, index: usize, number: usize) -> Parked {
        let mut passage = Passage::default();
        self.chain.exchange(&mut passage);
        Parked {
            index,
            number,
            event: std::mem::replace(&mut self.event, self.spare.pop().unwrap_or_default()),
            passage,
            marks: std::mem::take(&mut self.marks),
            failures: std::mem::take(&mut self.failures),
            metadata: std::mem::take(&mut self.metadata),
        }
    }

    fn unpark(&mut self, mut parked: Parked) {
        self.chain.exchange(&mut parked.passage);
        let spare = std::mem::replace(&mut self.event, parked.event);
        if self.spare.len() < WAITING_MAX {
            self.spare.push(spare);
        }
        self.marks = parked.marks;
        self.failures = parked.failures;
        self.metadata = parked.metadata;
    }
}
