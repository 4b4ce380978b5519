//! The contract over the local log.

use crate::contract::contract;
use crate::kit::Local;

contract! { Local::start().await;
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
