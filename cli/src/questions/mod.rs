//! What people ask of MozDef: events, alerts, dead letters. One answer, whether a running process is asked
//! through its admin listener or a command looks for itself.
//!
//! In: a question, the log, the index. Out: JSON, or why not. Never: changes.

mod alerts;
pub(crate) mod events;
mod letters;
mod originals;
mod records;
mod topics;

use std::collections::HashMap;
use std::sync::OnceLock;

use model::time::Clock;
use serde_json::Value;
use sink::search::Searcher;
use stream::log::SharedLog;

/// Answers to show when nobody says how many.
const SIZE: u32 = 20;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Events by a Lucene query, newest first.
    Events {
        /// The query.
        query: String,
        /// Not before; a time, or a time ago.
        from: Option<String>,
        /// Not after; the same.
        to: Option<String>,
        /// Most events.
        size: u32,
    },
    /// The newest alerts.
    Alerts {
        /// Most alerts.
        size: u32,
    },
    /// Revisions of alerts after a place; waits for the first.
    AlertsAfter {
        /// A cursor of an earlier answer, `end` or `start`.
        after: String,
    },
    /// The newest dead letters.
    Letters {
        /// Most letters.
        size: u32,
    },
    /// One dead letter whole.
    Letter {
        /// Its event id.
        id: String,
    },
    /// What came in as an event, byte for byte.
    Original {
        /// The event's id.
        id: String,
    },
    /// What topics hold, and how far groups are.
    Topics,
}

/// What answers come from. Each is there once the process has it.
pub(crate) struct Sources {
    /// For alerts as they are raised, and dead letters.
    pub log: OnceLock<SharedLog>,
    /// For events and alerts that are indexed.
    pub search: OnceLock<Searcher>,
    /// The time.
    pub clock: Clock,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The question is wrong.
    Bad(String),
    /// There is no such thing.
    Missing(String),
    /// It cannot be looked at now.
    Unavailable(String),
}

impl Failure {
    fn unavailable(cause: impl std::fmt::Display) -> Failure {
        Failure::Unavailable(cause.to_string())
    }

    /// In words.
    pub(crate) fn into_text(self) -> String {
        match self {
            Failure::Bad(text) | Failure::Missing(text) | Failure::Unavailable(text) => text,
        }
    }
}

impl Question {
    /// Paths of all questions on the admin listener.
    pub(crate) const PATHS: [&'static str; 7] = [
        "/api/search",
        "/api/alerts",
        "/api/alerts/next",
        "/api/dead",
        "/api/dead/show",
        "/api/raw",
        "/api/topics",
    ];

    /// Path on the admin listener.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Question::Events { .. } => "/api/search",
            Question::Alerts { .. } => "/api/alerts",
            Question::AlertsAfter { .. } => "/api/alerts/next",
            Question::Letters { .. } => "/api/dead",
            Question::Letter { .. } => "/api/dead/show",
            Question::Original { .. } => "/api/raw",
            Question::Topics => "/api/topics",
        }
    }

    /// Parameters on the admin listener.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Question::Events { query, from, to, size } => {
                let mut all = vec![("query", query.clone()), ("size", size.to_string())];
                all.extend(from.clone().map(|from| ("from", from)));
                all.extend(to.clone().map(|to| ("to", to)));
                all
            }
            Question::Alerts { size } | Question::Letters { size } => vec![("size", size.to_string())],
            Question::AlertsAfter { after } => vec![("after", after.clone())],
            Question::Letter { id } | Question::Original { id } => vec![("id", id.clone())],
            Question::Topics => Vec::new(),
        }
    }

    /// The question of a request.
    pub(crate) fn of(path: &str, parameters: &HashMap<String, String>) -> Result<Question, Failure> {
        let text = |name: &str| parameters.get(name).cloned();
        Ok(match path {
            "/api/search" => Question::Events {
                query: text("query").unwrap_or_else(|| "*".to_owned()),
                from: text("from"),
                to: text("to"),
                size: size(parameters)?,
            },
            "/api/alerts" => Question::Alerts { size: size(parameters)? },
            "/api/alerts/next" => {
                Question::AlertsAfter { after: text("after").unwrap_or_else(|| "end".to_owned()) }
            }
            "/api/dead" => Question::Letters { size: size(parameters)? },
            "/api/dead/show" => Question::Letter { id: text("id").unwrap_or_default() },
            "/api/raw" => Question::Original { id: text("id").unwrap_or_default() },
            "/api/topics" => Question::Topics,
            other => return Err(Failure::Missing(format!("there is no {other}"))),
        })
    }
}

impl Sources {
    /// None yet.
    pub(crate) fn new(clock: Clock) -> Sources {
        Sources { log: OnceLock::new(), search: OnceLock::new(), clock }
    }

    /// Answers.
    pub(crate) async fn answer(&self, question: &Question) -> Result<Value, Failure> {
        match question {
            Question::Events { query, from, to, size } => {
                let range = (from.as_deref(), to.as_deref());
                events::find(self.search()?, self.clock.now(), query, range, *size).await
            }
            Question::Alerts { size } => alerts::list(self.search()?, *size).await,
            Question::AlertsAfter { after } => alerts::after(self.log()?, after).await,
            Question::Letters { size } => letters::list(self.log()?, *size).await,
            Question::Letter { id } => letters::show(self.log()?, id).await,
            Question::Original { id } => originals::get(self.log()?, self.search.get(), id).await,
            Question::Topics => topics::status(self.log()?).await,
        }
    }

    fn log(&self) -> Result<&SharedLog, Failure> {
        self.log.get().ok_or_else(|| Failure::unavailable("the log is not open yet"))
    }

    fn search(&self) -> Result<&Searcher, Failure> {
        let none = || {
            Failure::unavailable("this process knows no index; set sink.url, or ask one that runs the sink")
        };
        self.search.get().ok_or_else(none)
    }
}

/// The parameter `size`.
fn size(parameters: &HashMap<String, String>) -> Result<u32, Failure> {
    let Some(text) = parameters.get("size") else { return Ok(SIZE) };
    text.parse().map_err(|_| Failure::Bad(format!("size: {text} is no number from 0 to {}", u32::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Failure, Question};

    #[track_caller]
    fn check(question: &Question) {
        let parameters: HashMap<String, String> =
            question.parameters().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(Question::of(question.path(), &parameters).as_ref(), Ok(question));
        assert!(Question::PATHS.contains(&question.path()));
    }

    #[test]
    fn a_question_goes_through_the_admin_listener_unchanged() {
        let (from, to) = (Some("15m".to_owned()), None);
        check(&Question::Events { query: "a:b AND c".to_owned(), from, to, size: 7 });
        check(&Question::Alerts { size: 0 });
        check(&Question::AlertsAfter { after: "1,2".to_owned() });
        check(&Question::Letters { size: 9 });
        check(&Question::Letter { id: "x".to_owned() });
        check(&Question::Original { id: "y".to_owned() });
        check(&Question::Topics);
        let none = HashMap::new();
        assert_eq!(Question::of("/api/dead", &none), Ok(Question::Letters { size: 20 }));
        assert!(matches!(Question::of("/api/none", &none), Err(Failure::Missing(_))));
        let wrong = HashMap::from([("size".to_owned(), "-1".to_owned())]);
        assert!(matches!(Question::of("/api/dead", &wrong), Err(Failure::Bad(_))));
    }
}
