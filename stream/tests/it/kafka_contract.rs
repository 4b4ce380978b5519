//! The contract over Kafka, by both group protocols where they matter.
//!
//! Not here: `readers_see_batches_whole` (a call of `produce` may be cut into
//! several batches; commits are whole, see `kafka_faults.rs`), and what needs
//! another clock: `old_records_expire_and_offsets_go_on`,
//! `a_topic_keeps_to_its_size`, `compaction_keeps_the_newest_of_each_key` (see
//! `kafka_cleaning.rs` for what the brokers do of it).

use model::config::GroupProtocol;

use crate::kafka_kit::Kafka;

macro_rules! contract {
    ($protocol:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(mut harness) = Kafka::start_with(stringify!($name), $protocol).await else { return };
                crate::contract::$name(&mut harness).await;
            }
        )*
    };
}

contract! { GroupProtocol::Auto;
    records_keep_their_order_and_all_their_parts,
    a_key_has_one_partition_and_no_key_goes_in_turn,
    fetches_keep_their_limits,
    a_record_too_large_takes_nothing_with_it,
    everything_is_there_after_a_restart,
    offsets_are_found_by_time,
}

mod classic {
    use super::*;

    contract! { GroupProtocol::Classic;
        outputs_and_offsets_take_effect_together,
        an_abort_reads_the_same_records_again,
        a_group_goes_on_where_it_has_committed,
        members_share_partitions_and_hand_them_over,
        a_replaced_owner_is_fenced,
        a_waiting_poll_is_woken_by_new_records,
        the_end_is_told_with_its_time,
        lag_is_the_end_less_what_is_committed,
    }
}

mod consumer {
    use super::*;

    contract! { GroupProtocol::Consumer;
        outputs_and_offsets_take_effect_together,
        an_abort_reads_the_same_records_again,
        a_group_goes_on_where_it_has_committed,
        members_share_partitions_and_hand_them_over,
        a_replaced_owner_is_fenced,
        a_waiting_poll_is_woken_by_new_records,
        the_end_is_told_with_its_time,
        lag_is_the_end_less_what_is_committed,
    }
}
