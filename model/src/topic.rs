//! The topics of the log: names, what a record's key and value are, and how
//! a topic is cleaned.
//!
//! In: nothing. Out: the one list of topics. Never: partitions or retention,
//! which are configuration.

use std::fmt;

/// A topic of the log. The set is closed: stages talk in no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The original bytes as they came; what the gateway knows is in headers.
    Raw,
    /// Normal form, JSON, keyed by event id; partition = the raw record's. Also heartbeats.
    Events,
    /// Matches of windowed rules, keyed by rule and group. Also watermarks.
    Matches,
    /// Window state (changelog), keyed by rule and group.
    Windows,
    /// Alerts with their revision, keyed by alert id.
    Alerts,
    /// Events older than their window allows, and why.
    Late,
    /// What a stage could not take: original bytes, reason and origin in headers.
    Dead,
    /// Rules, plugins, watch lists and suppressions in force.
    Control,
}

/// How old records of a topic go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// By age and size.
    Time,
    /// Only the newest record of each key stays.
    Compact,
    /// Both: the newest of each key, until it is too old.
    CompactTime,
}

impl Topic {
    /// Every topic, in the order of an event's way.
    pub const ALL: [Topic; 8] = [
        Topic::Raw,
        Topic::Events,
        Topic::Matches,
        Topic::Windows,
        Topic::Alerts,
        Topic::Late,
        Topic::Dead,
        Topic::Control,
    ];

    /// The topic's full name.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Raw => "mozdef.raw",
            Topic::Events => "mozdef.events",
            Topic::Matches => "mozdef.matches",
            Topic::Windows => "mozdef.windows",
            Topic::Alerts => "mozdef.alerts",
            Topic::Late => "mozdef.late",
            Topic::Dead => "mozdef.dead",
            Topic::Control => "mozdef.control",
        }
    }

    /// The topic of a full name, or of the name without `mozdef.`.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|t| t.name() == name || t.name().strip_prefix("mozdef.") == Some(name))
    }

    /// How the topic is cleaned.
    pub const fn cleanup(self) -> Cleanup {
        match self {
            Topic::Windows | Topic::Control => Cleanup::Compact,
            Topic::Alerts => Cleanup::CompactTime,
            Topic::Raw | Topic::Events | Topic::Matches | Topic::Late | Topic::Dead => Cleanup::Time,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Topic;

    #[test]
    fn every_topic_is_found_by_both_its_names() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_name(topic.name()), Some(topic));
            let short = topic.name().strip_prefix("mozdef.").unwrap();
            assert_eq!(Topic::from_name(short), Some(topic));
        }
        assert_eq!(Topic::from_name("mozdef.other"), None);
    }
}
