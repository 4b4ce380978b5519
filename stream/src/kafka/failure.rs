//! What errors of librdkafka mean for us.
//!
//! In: an error, and what was tried. Out: [`LogError`]. Never: a secret.

use model::topic::Topic;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::log::LogError;

/// What an operation without effect comes to: try again; the text says what a person can do.
pub(super) fn unavailable(what: &str, error: &KafkaError) -> LogError {
    LogError::Unavailable(explain(what, error))
}

/// The same about a topic.
pub(super) fn of_topic(topic: Topic, what: &str, error: &KafkaError) -> LogError {
    unavailable(&format!("{what} {topic}"), error)
}

fn explain(what: &str, error: &KafkaError) -> String {
    let remedy = match code(error) {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownTopicId) => {
            "; the topic is not there: run `mozdef topics apply`"
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => "; the brokers' access rules do not allow it: grant it to our user",
        _ if is_login(error) => LOGIN,
        Some(Code::MessageSizeTooLarge) => "; the topic takes less than that: raise its max.message.bytes",
        _ => "",
    };
    format!("{what}: {error}{remedy}")
}

/// What to do about a login that is refused.
pub(super) const LOGIN: &str = "; the brokers refuse our login: check log.kafka.sasl and log.kafka.tls";

/// Whether our login is refused.
pub(super) fn is_login(error: &KafkaError) -> bool {
    matches!(code(error), Some(Code::SaslAuthenticationFailed | Code::Authentication | Code::SSL))
}

/// The code of an error, if it has one.
pub(super) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    }
}

/// Whether the group says that we are not who we were: the partitions have another owner, or will have.
pub(super) fn is_stale_member(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
                | Code::FencedMemberEpoch
                | Code::StaleMemberEpoch
        )
    )
}

/// Whether another producer has our transactional id.
pub(super) fn is_fenced_producer(error: &KafkaError) -> bool {
    matches!(code(error), Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
}

/// Whether the client can never work again and must be built anew.
pub(super) fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_fatal(),
        KafkaError::MessageConsumptionFatal(_) => true,
        other => other.rdkafka_error_code() == Some(Code::Fatal),
    }
}
