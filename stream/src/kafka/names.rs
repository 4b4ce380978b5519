//! Names on the wire: the configured prefix in the place of `mozdef.`.
//!
//! In: topics. Out: their names on the cluster. Never: in ids, headers or metrics, which keep the logical names.

use model::config::KafkaConfig;
use model::topic::Topic;

/// The names of all topics on the cluster.
#[derive(Clone, Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of(config: &KafkaConfig) -> Names {
        Names(Topic::ALL.into_iter().map(|topic| config.topic_name(topic)).collect())
    }

    /// A topic's name on the cluster.
    pub(super) fn wire(&self, topic: Topic) -> &str {
        self.0.get(topic as usize).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use model::config::KafkaConfig;
    use model::topic::Topic;

    use super::Names;

    #[test]
    fn every_topic_has_its_own_name() {
        let config = KafkaConfig { prefix: "blue.".to_owned(), ..KafkaConfig::default() };
        let names = Names::of(&config);
        for topic in Topic::ALL {
            assert_eq!(names.wire(topic), topic.name().replace("mozdef.", "blue."));
        }
    }
}
