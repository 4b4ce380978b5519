//! A consumer group: who owns which partition, what is committed, what is pending.
//!
//! In: members that join, are told, give up, leave or are expelled; offsets of
//! transactions. Out: what a member is told next. Never: time; the broker says
//! when a member is overdue.
//!
//! As in Kafka, an offset may be pending in a transaction after its member is
//! gone: a new owner waits until that is decided. Whether a member is known is
//! looked at when it adds its offsets to the transaction, not when the
//! transaction ends.

use std::collections::BTreeMap;

use super::shard::Transaction;
use crate::invariants::{DL_3, LG_9, hold};

/// A member's number. Never reused.
pub(super) type Member = u64;

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
    Lost(Vec<u32>),
    Nothing,
}

/// One partition.
#[derive(Clone, Debug, Default)]
struct Slot {
    owner: Option<Member>,
    wanted: Option<Member>,
    committed: Option<u64>,
    pending: BTreeMap<Transaction, u64>,
}

/// One group on one topic.
#[derive(Clone, Debug)]
pub(super) struct Group {
    last: Member,
    /// In the order they joined.
    members: Vec<Member>,
    slots: Vec<Slot>,
}

impl Group {
    pub(super) fn new(partitions: u32) -> Group {
        let slots = (0..partitions).map(|_| Slot::default()).collect();
        Group { last: 0, members: Vec::new(), slots }
    }

    pub(super) fn join(&mut self) -> Member {
        self.last = self.last.saturating_add(1);
        self.members.push(self.last);
        self.rebalance();
        self.last
    }

    pub(super) fn is_member(&self, member: Member) -> bool {
        self.members.contains(&member)
    }

    /// A member leaves, or is expelled; its partitions are free at once.
    pub(super) fn leave(&mut self, member: Member) {
        self.members.retain(|known| *known != member);
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == Some(member)) {
            slot.owner = None;
        }
        self.rebalance();
    }

    /// A member gives up what it was asked for.
    pub(super) fn release(&mut self, member: Member, partitions: &[u32]) {
        for (partition, slot) in (0_u32..).zip(&mut self.slots) {
            if slot.owner == Some(member) && partitions.contains(&partition) {
                slot.owner = None;
            }
        }
        self.rebalance();
    }

    /// Gives a partition to another member, as a coordinator may for reasons of its own. Whether it could.
    pub(super) fn move_partition(&mut self, partition: u32, choice: u64) -> bool {
        let Some(slot) = slot_mut(&mut self.slots, partition) else { return false };
        let others: Vec<Member> = self.members.iter().copied().filter(|m| slot.wanted != Some(*m)).collect();
        let index = choice.checked_rem(others.len() as u64).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| others.get(index)) {
            Some(other) => {
                slot.wanted = Some(*other);
                true
            }
            None => false,
        }
    }

    /// What a member that believes to hold these is to be told next.
    pub(super) fn next(&mut self, member: Member, held: &[u32]) -> Told {
        let slot = |partition: &u32| self.slots.get(usize::try_from(*partition).unwrap_or(usize::MAX));
        let is_lost = |partition: &&u32| slot(partition).is_none_or(|slot| slot.owner != Some(member));
        let lost: Vec<u32> = held.iter().filter(is_lost).copied().collect();
        if !lost.is_empty() {
            return Told::Lost(lost);
        }
        let is_unwanted = |partition: &&u32| slot(partition).is_some_and(|slot| slot.wanted != Some(member));
        let revoked: Vec<u32> = held.iter().filter(is_unwanted).copied().collect();
        if !revoked.is_empty() {
            return Told::Revoked(revoked);
        }
        let mut new = Vec::new();
        for (partition, slot) in (0_u32..).zip(&mut self.slots) {
            if slot.wanted == Some(member) && slot.owner.is_none() {
                hold!(LG_9, slot.owner.is_none());
                slot.owner = Some(member);
                new.push(partition);
            }
        }
        if new.is_empty() { Told::Nothing } else { Told::Assigned(new) }
    }

    /// Members that own what another is to have.
    pub(super) fn asked(&self) -> Vec<(u32, Member)> {
        let asked = |(partition, slot): (u32, &Slot)| {
            slot.owner.filter(|owner| Some(*owner) != slot.wanted).map(|owner| (partition, owner))
        };
        (0_u32..).zip(&self.slots).filter_map(asked).collect()
    }

    /// Next offset to read; `None` before the first commit.
    pub(super) fn committed(&self, partition: u32) -> Option<u64> {
        self.slots.get(usize::try_from(partition).ok()?)?.committed
    }

    /// Whether an offset is in a transaction that is not decided.
    pub(super) fn is_pending(&self, partition: u32) -> bool {
        let slot = usize::try_from(partition).ok().and_then(|index| self.slots.get(index));
        slot.is_some_and(|slot| !slot.pending.is_empty())
    }

    /// Offsets in a transaction.
    pub(super) fn add(&mut self, transaction: Transaction, offsets: &[(u32, u64)]) {
        for (partition, next) in offsets {
            if let Some(slot) = slot_mut(&mut self.slots, *partition) {
                slot.pending.insert(transaction, *next);
            }
        }
    }

    /// A transaction with offsets of this group is over. `honest`: offsets must not go back.
    pub(super) fn decide(&mut self, transaction: Transaction, commit: bool, honest: bool) {
        for slot in &mut self.slots {
            if let Some(next) = slot.pending.remove(&transaction).filter(|_| commit) {
                hold!(DL_3, !honest || slot.committed.is_none_or(|committed| committed <= next));
                slot.committed = Some(next);
            }
        }
    }

    /// Spreads the partitions evenly, and moves as few as possible.
    fn rebalance(&mut self) {
        let members = self.members.len().max(1);
        let least = self.slots.len().checked_div(members).unwrap_or(0);
        let mut more = self.slots.len().checked_rem(members).unwrap_or(0);
        let mut shares: BTreeMap<Member, usize> = self.members.iter().map(|member| (*member, 0)).collect();
        for slot in &mut self.slots {
            let keeper = slot.owner.or(slot.wanted);
            slot.wanted = None;
            let Some((member, share)) = keeper.and_then(|k| shares.get_mut(&k).map(|share| (k, share)))
            else {
                continue;
            };
            if *share < least || (*share == least && more > 0) {
                more = more.saturating_sub(usize::from(*share == least));
                *share = share.saturating_add(1);
                slot.wanted = Some(member);
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.wanted.is_none()) {
            let Some((member, share)) = shares.iter_mut().min_by_key(|(_, share)| **share) else { return };
            *share = share.saturating_add(1);
            slot.wanted = Some(*member);
        }
    }
}

fn slot_mut(slots: &mut [Slot], partition: u32) -> Option<&mut Slot> {
    slots.get_mut(usize::try_from(partition).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Group, Told};

    #[test]
    fn partitions_are_handed_over_in_two_steps() {
        let mut group = Group::new(4);
        let one = group.join();
        assert_eq!(group.next(one, &[]), Told::Assigned(vec![0, 1, 2, 3]));
        let two = group.join();
        assert_eq!(group.next(two, &[]), Told::Nothing);
        let Told::Revoked(going) = group.next(one, &[0, 1, 2, 3]) else { panic!("not revoked") };
        assert_eq!(going.len(), 2);
        assert!(group.asked().contains(&(going[0], one)));
        group.release(one, &going);
        assert_eq!(group.next(two, &[]), Told::Assigned(going.clone()));
        let three = group.join();
        assert_eq!(group.asked().len(), 1);
        group.leave(two);
        let Told::Assigned(got) = group.next(three, &[]) else { panic!("not assigned") };
        assert_eq!(got, going);
        assert_eq!(group.next(two, &going), Told::Lost(going));
        assert!(!group.is_member(two) && group.is_member(three));
    }

    #[test]
    fn a_pending_offset_is_told_until_it_is_decided() {
        let mut group = Group::new(1);
        group.add(7, &[(0, 5)]);
        assert!(group.is_pending(0) && group.committed(0).is_none());
        group.decide(7, true, true);
        group.add(8, &[(0, 9)]);
        group.decide(8, false, true);
        assert!(!group.is_pending(0));
        assert_eq!(group.committed(0), Some(5));
    }
}
