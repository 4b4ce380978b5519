//! Consumer groups of one process: who owns which partition, and what is committed.
//!
//! In: members that join, poll, commit and leave. Out: what a member is told
//! next, and whether its commit may pass. Never: I/O; the committer makes
//! offsets durable and says so here.
//!
//! Partitions move in two steps, as with Kafka's cooperative protocol: the
//! owner is asked for them (`Revoked`), and gives them up with its next poll;
//! only then they are assigned anew, when no commit of the old owner is under
//! way (LG-9). An owner that does not poll within the session time loses them,
//! and its commits are fenced by the partition's epoch (LG-5).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::topic::Topic;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::invariants::{DL_3, LG_9, hold};

/// How long an owner may keep what it was asked to give up.
pub(super) const SESSION: Duration = Duration::from_secs(10);

/// One group on one topic.
#[derive(Debug)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
    /// Its topic.
    pub(super) topic: Topic,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last_member: u64,
    /// In the order they joined.
    members: Vec<u64>,
    slots: Vec<Slot>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
struct Slot {
    owner: Option<u64>,
    wanted: Option<u64>,
    /// Grows with each change of the owner.
    epoch: u64,
    /// Commits under way.
    committing: u32,
    committed: Option<u64>,
    /// Since when the owner is to give it up.
    asked: Option<Instant>,
}

/// A partition as it was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Its number.
    pub(super) partition: u32,
    /// Fences later owners' predecessors.
    pub(super) epoch: u64,
    /// Next offset to read, where something was committed.
    pub(super) committed: Option<u64>,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// New partitions.
    Assigned(Vec<Grant>),
    /// To be given up.
    Revoked(Vec<u32>),
    /// Gone.
    Lost(Vec<u32>),
    /// Nothing new.
    Nothing,
}

/// An offset to be committed by a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Partition.
    pub(super) partition: u32,
    /// Epoch under which the member owns it.
    pub(super) epoch: u64,
    /// Next offset to read.
    pub(super) next: u64,
}

impl Group {
    /// A group without members; `committed` by partition.
    pub(super) fn new(name: String, topic: Topic, committed: Vec<Option<u64>>) -> Group {
        let slots = committed.into_iter().map(|committed| Slot { committed, ..Slot::default() }).collect();
        let state = State { slots, ..State::default() };
        Group { name, topic, state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Hears of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Next offset to read, where something was committed.
    pub(super) fn committed(&self, partition: u32) -> Option<u64> {
        self.lock().slot(partition).and_then(|slot| slot.committed)
    }

    /// A new member.
    pub(super) fn join(&self, now: Instant) -> u64 {
        let mut state = self.lock();
        state.last_member = state.last_member.saturating_add(1);
        let member = state.last_member;
        state.members.push(member);
        state.rebalance(now);
        drop(state);
        self.tell();
        member
    }

    /// A member goes, with all its partitions.
    pub(super) fn leave(&self, member: u64, now: Instant) {
        let mut state = self.lock();
        state.members.retain(|m| *m != member);
        for slot in state.slots.iter_mut().filter(|slot| slot.owner == Some(member)) {
            slot.free();
        }
        state.rebalance(now);
        drop(state);
        self.tell();
    }

    /// A member has finished with partitions it was asked for.
    pub(super) fn release(&self, member: u64, partitions: &[u32], now: Instant) {
        let mut state = self.lock();
        for partition in partitions {
            if let Some(slot) = state.slot_mut(*partition).filter(|slot| slot.owner == Some(member)) {
                slot.free();
            }
        }
        state.rebalance(now);
        drop(state);
        self.tell();
    }

    /// What a member that holds `held` (partition, epoch) is to be told next.
    pub(super) fn next(&self, member: u64, held: &[(u32, u64)], now: Instant) -> Told {
        let mut state = self.lock();
        let took_away = state.expire(now);
        let is_ours = |(partition, epoch): &(u32, u64)| {
            state.slot(*partition).is_some_and(|slot| slot.owner == Some(member) && slot.epoch == *epoch)
        };
        let lost: Vec<u32> = held.iter().filter(|h| !is_ours(h)).map(|(partition, _)| *partition).collect();
        let told = if !lost.is_empty() {
            Told::Lost(lost)
        } else {
            let unwanted =
                |(p, _): &&(u32, u64)| state.slot(*p).is_some_and(|slot| slot.wanted != Some(member));
            let revoked: Vec<u32> = held.iter().filter(unwanted).map(|(partition, _)| *partition).collect();
            if revoked.is_empty() { state.grant(member) } else { Told::Revoked(revoked) }
        };
        drop(state);
        if took_away {
            self.tell();
        }
        told
    }

    /// Whether these commits may pass; if so, no partition changes its owner until [`Group::end_commit`].
    pub(super) fn begin_commit(&self, member: u64, claims: &[Claim]) -> bool {
        let mut state = self.lock();
        let owned = |claim: &Claim| {
            let slot = state.slot(claim.partition);
            slot.is_some_and(|slot| slot.owner == Some(member) && slot.epoch == claim.epoch)
        };
        if !claims.iter().all(owned) {
            return false;
        }
        for claim in claims {
            if let Some(slot) = state.slot_mut(claim.partition) {
                slot.committing = slot.committing.saturating_add(1);
            }
        }
        true
    }

    /// The commits are over; `taken`: they are durable.
    pub(super) fn end_commit(&self, claims: &[Claim], taken: bool) {
        let mut state = self.lock();
        let mut is_awaited = false;
        for claim in claims {
            if let Some(slot) = state.slot_mut(claim.partition) {
                slot.committing = slot.committing.saturating_sub(1);
                is_awaited |= slot.committing == 0 && slot.owner.is_none();
                if taken {
                    hold!(DL_3, slot.committed.is_none_or(|committed| committed <= claim.next));
                    slot.committed = Some(claim.next);
                }
            }
        }
        drop(state);
        if is_awaited {
            self.tell();
        }
    }
}

impl Slot {
    fn free(&mut self) {
        self.owner = None;
        self.asked = None;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

impl State {
    fn slot(&self, partition: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(partition).ok()?)
    }

    fn slot_mut(&mut self, partition: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(partition).ok()?)
    }

    /// Takes away what was asked for too long ago.
    fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        for slot in &mut self.slots {
            let overdue = slot.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= SESSION);
            if overdue && slot.committing == 0 && slot.owner != slot.wanted {
                slot.free();
                any = true;
            }
        }
        any
    }

    fn grant(&mut self, member: u64) -> Told {
        let mut grants = Vec::new();
        for (partition, slot) in (0_u32..).zip(&mut self.slots) {
            if slot.wanted == Some(member) && slot.owner.is_none() && slot.committing == 0 {
                hold!(LG_9, slot.owner.is_none());
                slot.owner = Some(member);
                slot.epoch = slot.epoch.wrapping_add(1);
                grants.push(Grant { partition, epoch: slot.epoch, committed: slot.committed });
            }
        }
        if grants.is_empty() { Told::Nothing } else { Told::Assigned(grants) }
    }

    /// Spreads the partitions evenly, and moves as few as possible.
    fn rebalance(&mut self, now: Instant) {
        let mut shares = self.shares();
        for slot in &mut self.slots {
            let keeper = slot.owner.or(slot.wanted);
            let share = shares.iter_mut().find(|(member, left)| Some(*member) == keeper && *left > 0);
            slot.wanted = share.map(|(member, left)| {
                *left = left.saturating_sub(1);
                *member
            });
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.wanted.is_none()) {
            if let Some((member, left)) = shares.iter_mut().find(|(_, left)| *left > 0) {
                *left = left.saturating_sub(1);
                slot.wanted = Some(*member);
            }
        }
        for slot in &mut self.slots {
            let moves = slot.owner.is_some() && slot.owner != slot.wanted;
            slot.asked = moves.then(|| slot.asked.unwrap_or(now));
        }
    }

    /// How many partitions each member is to have; those that hold most get one more where it does not divide.
    fn shares(&self) -> Vec<(u64, usize)> {
        let held =
            |member: u64| self.slots.iter().filter(|slot| slot.owner.or(slot.wanted) == Some(member)).count();
        let mut members = self.members.clone();
        members.sort_by_key(|member| std::cmp::Reverse(held(*member)));
        let each = self.slots.len().checked_div(members.len()).unwrap_or(0);
        let more = self.slots.len().checked_rem(members.len()).unwrap_or(0);
        (0..)
            .zip(members)
            .map(|(index, member)| (member, each.saturating_add(usize::from(index < more))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::topic::Topic;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::{Claim, Grant, Group, SESSION, Told};
    use crate::invariants::{LG_5, LG_9};

    fn group(partitions: usize) -> Group {
        Group::new("g".to_owned(), Topic::Raw, vec![None; partitions])
    }

    fn granted(told: Told) -> Vec<Grant> {
        match told {
            Told::Assigned(grants) => grants,
            other => panic!("expected a grant, got {other:?}"),
        }
    }

    #[test]
    fn an_owner_that_does_not_answer_loses_what_it_was_asked_for() {
        let (group, start) = (group(2), Instant::now());
        let silent = group.join(start);
        let held: Vec<(u32, u64)> =
            granted(group.next(silent, &[], start)).iter().map(|g| (g.partition, g.epoch)).collect();
        let new = group.join(start);
        assert_eq!(group.next(new, &[], start + SESSION / 2), Told::Nothing);
        let taken = granted(group.next(new, &[], start + SESSION));
        assert_eq!(taken.len(), 1);
        let p = taken[0].partition;
        // Its late commit is fenced, and it learns of the loss.
        let late = |p: u32| Claim { partition: p, epoch: held[p as usize].1, next: 5 };
        assert!(!group.begin_commit(silent, &[late(p)]), "{}", LG_5.text);
        assert!(group.begin_commit(silent, &[late(1 - p)]));
        assert_eq!(group.next(silent, &held, start + SESSION), Told::Lost(vec![p]));
    }

    #[test]
    fn a_partition_waits_for_the_commit_of_its_old_owner() {
        let (group, now) = (group(1), Instant::now());
        let old = group.join(now);
        let Grant { epoch, .. } = granted(group.next(old, &[], now))[0];
        let claims = [Claim { partition: 0, epoch, next: 7 }];
        assert!(group.begin_commit(old, &claims));
        group.leave(old, now);
        let new = group.join(now);
        assert_eq!(group.next(new, &[], now), Told::Nothing, "{}", LG_9.text);
        group.end_commit(&claims, true);
        assert_eq!(granted(group.next(new, &[], now))[0].committed, Some(7));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Join,
        Leave(usize),
        Poll(usize),
        Release(usize),
        BeginCommit(usize, u64),
        EndCommit,
        Wait(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            2 => Just(Act::Join),
            1 => any::<usize>().prop_map(Act::Leave),
            8 => any::<usize>().prop_map(Act::Poll),
            3 => any::<usize>().prop_map(Act::Release),
            3 => (any::<usize>(), 0..9_u64).prop_map(|(member, more)| Act::BeginCommit(member, more)),
            3 => Just(Act::EndCommit),
            1 => (0..12_u64).prop_map(Act::Wait),
        ]
    }

    /// What members believe.
    #[derive(Default)]
    struct Members {
        held: BTreeMap<u64, BTreeMap<u32, u64>>,
        leaving: BTreeMap<u64, Vec<u32>>,
    }

    impl Members {
        fn pick(&self, n: usize) -> Option<u64> {
            (!self.held.is_empty()).then(|| *self.held.keys().nth(n % self.held.len()).unwrap())
        }

        /// One poll, as the consumer does it.
        fn poll(&mut self, group: &Group, member: u64, now: Instant) {
            let held: Vec<(u32, u64)> = self.held[&member].iter().map(|(p, e)| (*p, *e)).collect();
            let own = self.held.get_mut(&member).unwrap();
            match group.next(member, &held, now) {
                Told::Assigned(grants) => own.extend(grants.iter().map(|g| (g.partition, g.epoch))),
                Told::Lost(gone) => own.retain(|p, _| !gone.contains(p)),
                Told::Revoked(going) => {
                    self.leaving.insert(member, going);
                }
                Told::Nothing => {}
            }
        }

        fn release(&mut self, group: &Group, member: u64, now: Instant) {
            let going = self.leaving.remove(&member).unwrap_or_default();
            self.held.get_mut(&member).unwrap().retain(|p, _| !going.contains(p));
            group.release(member, &going, now);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-5 and LG-9 over random histories; and in the end all is shared out evenly.
        #[test]
        fn partitions_have_one_owner_and_commits_only_come_from_it(
            partitions in 1..7_u32, acts in prop::collection::vec(act(), 1..120),
        ) {
            let group = group(partitions as usize);
            let mut now = Instant::now();
            let mut members = Members::default();
            let mut under_way: Vec<Vec<Claim>> = Vec::new();
            for act in acts {
                match act {
                    Act::Join if members.held.len() < 5 => {
                        members.held.insert(group.join(now), BTreeMap::new());
                    }
                    Act::Join => {}
                    Act::Leave(n) => if let Some(member) = members.pick(n) {
                        group.leave(member, now);
                        members.held.remove(&member);
                        members.leaving.remove(&member);
                    },
                    Act::Poll(n) => if let Some(member) = members.pick(n) {
                        if members.leaving.contains_key(&member) {
                            members.release(&group, member, now);
                        }
                        members.poll(&group, member, now);
                    },
                    Act::Release(n) => if let Some(member) = members.pick(n) {
                        members.release(&group, member, now);
                    },
                    Act::BeginCommit(n, more) => if let Some(member) = members.pick(n) {
                        let claim = |(p, e): (&u32, &u64)| Claim {
                            partition: *p, epoch: *e, next: group.committed(*p).unwrap_or(0) + more,
                        };
                        let claims: Vec<Claim> = members.held[&member].iter().map(claim).collect();
                        let newest = |c: &Claim| members.held.values().filter_map(|h| h.get(&c.partition)).all(|e| *e <= c.epoch);
                        if under_way.is_empty() && group.begin_commit(member, &claims) {
                            prop_assert!(claims.iter().all(newest), "{}", LG_5.text);
                            under_way.push(claims);
                        }
                    },
                    Act::EndCommit => if let Some(claims) = under_way.pop() {
                        group.end_commit(&claims, true);
                    },
                    Act::Wait(seconds) => now += std::time::Duration::from_secs(seconds),
                }
                let committing = under_way.iter().flatten();
                for claim in committing {
                    let later = members.held.values().filter_map(|h| h.get(&claim.partition)).any(|e| *e > claim.epoch);
                    prop_assert!(!later, "{}", LG_9.text);
                }
            }
            under_way.drain(..).for_each(|claims| group.end_commit(&claims, true));
            // Everybody polls a few times: each partition has one owner, and shares differ by one at most.
            for _ in 0..4 {
                for member in members.held.keys().copied().collect::<Vec<_>>() {
                    members.release(&group, member, now);
                    members.poll(&group, member, now);
                    members.release(&group, member, now);
                }
            }
            let shares: Vec<usize> = members.held.values().map(BTreeMap::len).collect();
            if let (Some(least), Some(most)) = (shares.iter().min(), shares.iter().max()) {
                prop_assert_eq!(shares.iter().sum::<usize>(), partitions as usize);
                prop_assert!(most - least <= 1, "{:?}", shares);
            }
        }
    }
}
