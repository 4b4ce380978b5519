//! The thread of a member: serves what the client has to tell, and watches the driver.
//!
//! In: events of librdkafka. Out: rebalances (`member.rs` does them), errors
//! for the driver. Never: a record.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use model::config::GroupProtocol;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;

use super::Core;
use super::failure::{code, is_fatal, of_topic, unavailable};
use super::member::{Member, Native};
use super::read::is_passing;
use super::settings::Protocol;
use crate::log::LogError;

/// How long a driver may stay away before its partitions go to others.
const ABSENCE: Duration = Duration::from_secs(120);
/// Longest time between two looks at whether all ends.
const BREATH: Duration = Duration::from_millis(200);

/// Which protocol a group is run by.
pub(super) fn protocol(core: &Core) -> Protocol {
    match core.config.group_protocol {
        GroupProtocol::Classic => Protocol::Classic,
        GroupProtocol::Consumer => Protocol::Consumer,
        GroupProtocol::Auto => {
            let is_classic = core.is_classic.load(Ordering::Relaxed);
            if is_classic { Protocol::Classic } else { Protocol::Consumer }
        }
    }
}

/// The thread of a member: serves events until the driver has dropped it.
pub(super) fn serve(core: &Core, member: &Member, native: &Native, protocol: Protocol) {
    loop {
        {
            let mut state = member.lock();
            if state.closing {
                return;
            }
            if state.is_dead {
                // Nothing more can come of this client; wait for the driver to drop it.
                let waited = member.changed.wait_timeout(state, BREATH);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            let is_away = state.visited.is_some_and(|visited| visited.elapsed() >= ABSENCE);
            if is_away && !state.is_absent {
                state.is_absent = true;
                drop(state);
                tracing::error!(
                    group = member.group,
                    seconds = ABSENCE.as_secs(),
                    "the driver stays away; its partitions go to others"
                );
                native.unsubscribe();
            } else if !is_away && state.is_absent {
                state.is_absent = false;
                drop(state);
                if let Err(error) = native.subscribe(&[&member.wire]) {
                    member.complain(unavailable("joining again", &error), true);
                }
            }
        }
        match native.poll(BREATH) {
            None => {}
            Some(Ok(message)) => {
                // Cannot happen: every partition has its own queue. If it does, it must not be skipped.
                let partition = message.partition();
                tracing::error!(group = member.group, partition, "a record came outside of its queue");
                member.complain(LogError::Unavailable("a record came outside of its queue".to_owned()), true);
            }
            Some(Err(error)) => trouble(core, member, &error, protocol),
        }
    }
}

/// An error of the client as a whole.
fn trouble(core: &Core, member: &Member, error: &KafkaError, protocol: Protocol) {
    let is_unsupported = matches!(code(error), Some(Code::UnsupportedVersion | Code::UnsupportedFeature));
    if protocol == Protocol::Consumer && is_unsupported {
        if core.config.group_protocol == GroupProtocol::Auto {
            tracing::info!(
                group = member.group,
                "the brokers do not have KIP-848: going on with the classic protocol"
            );
            core.is_classic.store(true, Ordering::Relaxed);
        }
        member.complain(unavailable("joining by group_protocol: consumer", error), true);
    } else if is_fatal(error) {
        tracing::error!(group = member.group, %error, "the client gives up; a new one is built");
        member.complain(unavailable("consuming", error), true);
    } else if is_passing(error) {
        tracing::debug!(group = member.group, %error, "passing trouble");
    } else {
        member.complain(of_topic(member.topic, "consuming", error), false);
    }
}

/// Looks at the ends of partitions that seem to have reached them.
pub(super) async fn look_at_ends(core: Arc<Core>, member: Weak<Member>) {
    loop {
        let Some(strong) = member.upgrade() else { return };
        strong.look.notified().await;
        let reached = strong.reached();
        if reached.is_empty() {
            continue;
        }
        // The time first: what is appended after it is not said to be there.
        let time = core.clock.now();
        match core.looker.ends(strong.topic, reached).await {
            Ok(ends) => strong.ended(&ends, time),
            Err(error) => tracing::debug!(group = strong.group, %error, "the ends are not known"),
        }
    }
}
