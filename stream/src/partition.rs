//! The pure state machine of one consumed partition. (Skeleton.)
