//! The contract over the simulated log, with its faults off.

use async_trait::async_trait;
use model::time::{Clock, Timestamp};
use stream::log::SharedLog;
use stream::simulated::Cluster;

use crate::contract::contract;
use crate::kit::{Harness, RETENTION_HOURS, RETENTION_MIB};

/// Brokers, and one process.
struct Simulated {
    cluster: Cluster,
    clock: Clock,
    log: SharedLog,
}

impl Simulated {
    fn start() -> Simulated {
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let cluster = Cluster::start(1, 2, clock.clone());
        let (log, _process) = cluster.client("tested", clock.clone());
        Simulated { cluster, clock, log }
    }
}

#[async_trait]
impl Harness for Simulated {
    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    async fn restart(&mut self) {
        self.log = self.cluster.client("restarted", self.clock.clone()).0;
    }

    fn pass(&self, millis: i64) {
        self.clock.set(self.clock.now().plus_millis(millis));
    }

    async fn upkeep(&self) {
        let bytes_max = usize::try_from(RETENTION_MIB << 20).unwrap() / 2;
        self.cluster.upkeep(RETENTION_HOURS * 3_600_000, bytes_max);
    }
}

contract! { Simulated::start();
    records_keep_their_order_and_all_their_parts,
    a_key_has_one_partition_and_no_key_goes_in_turn,
    fetches_keep_their_limits,
    a_record_too_large_takes_nothing_with_it,
    outputs_and_offsets_take_effect_together,
    readers_see_batches_whole,
    an_abort_reads_the_same_records_again,
    a_group_goes_on_where_it_has_committed,
    members_share_partitions_and_hand_them_over,
    a_replaced_owner_is_fenced,
    a_waiting_poll_is_woken_by_new_records,
    the_end_is_told_with_its_time,
    everything_is_there_after_a_restart,
    lag_is_the_end_less_what_is_committed,
    offsets_are_found_by_time,
    old_records_expire_and_offsets_go_on,
    a_topic_keeps_to_its_size,
    compaction_keeps_the_newest_of_each_key,
}
