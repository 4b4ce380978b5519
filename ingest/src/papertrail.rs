//! Events of Papertrail: its search API is asked from where the last search ended, forwards, page by page.
//!
//! In: answers of `events/search.json`. Out: raw records, one an event, with Papertrail's id as the client's id. Never: a
//! page that is passed before it is in the log.
//!
//! Papertrail gives ids in the order of arrival, but its index may show an event later than others with higher ids: every
//! search begins again at the place where the search of `overlap_s` ago ended, and passes over what it has seen. How far
//! it came is kept in `mozdef.control`. After a crash at most the overlap is fetched again; its events have the same ids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use model::config::PapertrailConfig;
use model::event::ParseError;
use model::headers;
use model::metrics::metrics;
use model::time::Timestamp;
use reqwest::Client;
use stream::record::Headers;
use stream::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::backoff::{Backoff, pause};
use crate::fetch::{self, FetchError};
use crate::intake::{Intake, IntakeError};
use crate::progress::Progress;
use crate::raw::{ClientId, Source};
use crate::slices;
use stream::secret::{self, SecretError};

/// Longest time for one search; Papertrail itself ends it after some five seconds.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer. Of a larger one, fewer events are asked for.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most ids of the overlap that are remembered; beyond it events are put again, under the same ids.
const SEEN_MAX: usize = 500_000;
/// Most places of the overlap that are remembered.
const PLACES_MAX: usize = 4096;

/// Why the puller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PapertrailError {
    /// The API token is not to be had.
    #[error("ingest.papertrail.{name}: {source}")]
    Token {
        /// The account's name.
        name: String,
        /// Why.
        source: SecretError,
    },
    /// No requests can be made.
    #[error("ingest.papertrail.{name}: {source}")]
    Client {
        /// The account's name.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The log takes nothing more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Checks what [`run`] would refuse to start with.
///
/// # Errors
/// [`PapertrailError::Token`] where a token is not to be had.
pub fn check(config: &BTreeMap<String, PapertrailConfig>) -> Result<(), PapertrailError> {
    config.iter().try_for_each(|(name, config)| token(name, config).map(|_| ()))
}

fn token(name: &str, config: &PapertrailConfig) -> Result<String, PapertrailError> {
    let read = secret::read("the API token", config.token_file.as_deref(), config.token_env.as_deref());
    // The configuration's check has seen that one of them is named.
    read.map(Option::unwrap_or_default)
        .map_err(|source| PapertrailError::Token { name: name.to_owned(), source })
}

/// Fetches from every account until shutdown.
///
/// # Errors
/// [`PapertrailError`] where a token is not to be had, or the log is broken.
pub async fn run(
    config: BTreeMap<String, PapertrailConfig>,
    intake: Intake,
    shutdown: Shutdown,
) -> Result<(), PapertrailError> {
    let mut tasks = JoinSet::new();
    for (name, config) in config {
        let token = token(&name, &config)?;
        let http = fetch::client(SEARCH_TIMEOUT)
            .map_err(|source| PapertrailError::Client { name: name.clone(), source })?;
        let puller = Puller::new(name, config, token, http, intake.clone());
        tasks.spawn(puller.run(shutdown.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap_or(Err(IntakeError::Stopped)) {
            Err(IntakeError::Stopped) if shutdown.is_set() => {}
            ended => ended?,
        }
    }
    Ok(())
}

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// At an event's id.
    Id(u64),
    /// At a time, in seconds since 1970, before any event is known.
    Second(i64),
}

impl From {
    fn note(self) -> String {
        match self {
            From::Id(id) => serde_json::json!({ "min_id": id.to_string() }).to_string(),
            From::Second(second) => serde_json::json!({ "min_time": second }).to_string(),
        }
    }

    fn of_note(note: &[u8]) -> Option<From> {
        let note: serde_json::Value = serde_json::from_slice(note).ok()?;
        let id = note.get("min_id").and_then(|id| id.as_str()?.parse().ok());
        id.map(From::Id).or_else(|| note.get("min_time")?.as_i64().map(From::Second))
    }
}

struct Puller {
    config: PapertrailConfig,
    token: String,
    http: Client,
    intake: Intake,
    source: Source,
    progress: Progress,
    name: String,
    /// Places that searches have reached, and when: the first is where the overlap begins. Never empty once it has begun.
    places: VecDeque<(Timestamp, From)>,
    /// Ids in the overlap that are in the log.
    seen: BTreeSet<u64>,
    page: u32,
}

/// What an answer says.
#[derive(Debug, Default)]
struct Answer {
    events: Vec<(Option<u64>, Bytes)>,
    /// Highest id that was looked at.
    reached: Option<u64>,
    /// There is more to fetch now.
    more: bool,
}

impl Puller {
    fn new(name: String, config: PapertrailConfig, token: String, http: Client, intake: Intake) -> Puller {
        let host = config.url.split("://").nth(1).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default().to_owned();
        let principal = Bytes::from(name.clone());
        let source = Source {
            input: headers::INPUT_PAPERTRAIL,
            principal: principal.clone(),
            peer: Bytes::from(host),
            more: Headers::new().with(headers::QUEUE, principal),
        };
        Puller {
            page: config.page,
            progress: Progress::of(headers::INPUT_PAPERTRAIL, &name),
            config,
            token,
            http,
            intake,
            source,
            name,
            places: VecDeque::new(),
            seen: BTreeSet::new(),
        }
    }

    async fn run(mut self, mut shutdown: Shutdown) -> Result<(), IntakeError> {
        let mut from = self.begin(&mut shutdown).await?;
        let mut backoff = Backoff::default();
        let up = metrics().input_up.with_label_values(&[headers::INPUT_PAPERTRAIL, &self.name]);
        while !shutdown.is_set() {
            let answer = tokio::select! {
                biased;
                () = shutdown.wait() => break,
                answer = self.search(from) => answer,
            };
            match answer {
                Ok(answer) => {
                    up.set(1);
                    backoff.reset();
                    let more = answer.more;
                    from = self.take(from, answer, &mut shutdown).await?;
                    let interval = Duration::from_secs(self.config.interval_s);
                    if !more && pause(interval, &mut shutdown).await.is_stopped() {
                        break;
                    }
                }
                Err(error) => {
                    up.set(0);
                    self.failed(&error);
                    if backoff.wait(error.after(), &mut shutdown).await.is_stopped() {
                        break;
                    }
                }
            }
        }
        up.set(0);
        Ok(())
    }

    /// Where the last run ended, or some time ago; then that is noted, so that a first run that finds nothing is not lost.
    async fn begin(&mut self, shutdown: &mut Shutdown) -> Result<From, IntakeError> {
        let note = self.progress.load(self.intake.log(), shutdown).await?;
        if let Some(from) = note.as_deref().and_then(From::of_note) {
            // What was shown late while nobody looked lies after it: it is looked at for as long as any other place.
            self.places.push_back((self.intake.now(), from));
            return Ok(from);
        }
        let before = i64::try_from(self.config.start_before_s).unwrap_or(i64::MAX);
        let from = From::Second((self.intake.now().millis() / 1000).saturating_sub(before));
        self.progress.save(&self.intake, from.note(), shutdown).await?;
        self.places.push_back((self.intake.now(), from));
        Ok(from)
    }

    fn failed(&mut self, error: &FetchError) {
        metrics().input_failures.with_label_values(&[headers::INPUT_PAPERTRAIL, error.kind()]).inc();
        match error {
            FetchError::TooLarge { .. } => {
                self.page = (self.page / 2).max(1);
                tracing::warn!(account = self.name, %error, page = self.page, "fewer events are asked for");
            }
            FetchError::Denied { .. } => {
                // It may have been renewed.
                match token(&self.name, &self.config) {
                    Ok(token) => self.token = token,
                    Err(error) => tracing::error!(account = self.name, %error, "no API token"),
                }
                tracing::error!(account = self.name, %error, "Papertrail does not take the API token; renew it");
            }
            FetchError::Later { .. } | FetchError::Refused { .. } => {
                tracing::warn!(account = self.name, %error, "Papertrail gave no events; trying again");
            }
        }
    }

    async fn search(&self, from: From) -> Result<Answer, FetchError> {
        let mut query: Vec<(&str, String)> =
            vec![("limit", self.page.to_string()), ("tail", "false".to_owned())];
        match from {
            From::Id(id) => query.push(("min_id", id.to_string())),
            From::Second(second) => query.push(("min_time", second.to_string())),
        }
        if !self.config.query.is_empty() {
            query.push(("q", self.config.query.clone()));
        }
        let base = self.config.url.trim_end_matches('/');
        let unusable = |why: String| FetchError::Refused { why };
        let url = reqwest::Url::parse_with_params(&format!("{base}/events/search.json"), query)
            .map_err(|error| unusable(format!("ingest.papertrail.{}.url: {error}", self.name)))?;
        let request = self.http.get(url).header("X-Papertrail-Token", &self.token);
        let body = fetch::ask(request, ANSWER_BYTES_MAX).await?;
        read(&body).map_err(|error| FetchError::Later {
            after: None,
            why: format!("its answer is not what its documentation says: {error}"),
        })
    }

    /// Puts what is new into the log, notes how far it came, and says where to go on.
    async fn take(
        &mut self,
        from: From,
        answer: Answer,
        shutdown: &mut Shutdown,
    ) -> Result<From, IntakeError> {
        let now = self.intake.now();
        let envelope = self.source.received(now);
        let mut records = Vec::new();
        let mut ids = Vec::new();
        for (id, bytes) in answer.events {
            if id.is_some_and(|id| self.seen.contains(&id)) {
                continue;
            }
            let client = id.map(|id| ClientId { id: Bytes::from(id.to_string()), item: None });
            records.push(envelope.event(bytes, client.as_ref()));
            ids.extend(id);
        }
        self.intake.put_until(records, shutdown).await?;
        if self.seen.len().saturating_add(ids.len()) > SEEN_MAX {
            self.seen.clear();
        }
        self.seen.extend(ids);
        let before = self.overlap_begin(from);
        if let Some(reached) = answer.reached {
            self.passed(now, reached);
        }
        let begin = self.overlap_begin(from);
        if before != begin {
            self.progress.save(&self.intake, begin.note(), shutdown).await?;
        }
        Ok(match answer.reached {
            // The place itself is looked at again; where it alone filled the page, the next one is asked for.
            Some(reached) if answer.more && from == From::Id(reached) => From::Id(reached.saturating_add(1)),
            Some(reached) if answer.more => From::Id(reached),
            _ => begin,
        })
    }

    fn overlap_begin(&self, from: From) -> From {
        self.places.front().map_or(from, |(_, place)| *place)
    }

    /// A place was reached: those from before the overlap are forgotten, but for the last of them.
    fn passed(&mut self, now: Timestamp, reached: u64) {
        let is_further = |(_, last): &(Timestamp, From)| match last {
            From::Id(last) => *last < reached,
            From::Second(_) => true,
        };
        if self.places.back().is_none_or(is_further) {
            self.places.push_back((now, From::Id(reached)));
        }
        let overlap = i64::try_from(self.config.overlap_s).unwrap_or(i64::MAX).saturating_mul(1000);
        let begin = now.plus_millis(overlap.saturating_neg());
        while self.places.get(1).is_some_and(|(at, _)| *at <= begin) || self.places.len() > PLACES_MAX {
            self.places.pop_front();
        }
        if let Some((_, From::Id(first))) = self.places.front() {
            self.seen = self.seen.split_off(first);
        }
    }
}

/// An answer, with its events as they stand in it.
fn read(body: &Bytes) -> Result<Answer, ParseError> {
    let mut answer = Answer::default();
    let (mut ended, mut limited) = (false, false);
    for (key, value) in slices::members(body)? {
        let text = body.get(value.clone()).unwrap_or_default();
        match key {
            b"events" => {
                for element in slices::elements(body, &value)? {
                    let event = body.slice(element);
                    answer.events.push((event_id(&event), event));
                }
            }
            b"max_id" => answer.reached = number(text),
            b"reached_end" => ended = text == b"true",
            b"reached_record_limit" | b"reached_time_limit" => limited |= text == b"true",
            _ => {}
        }
    }
    let highest = answer.events.iter().filter_map(|(id, _)| *id).max();
    answer.reached = answer.reached.max(highest);
    answer.more = limited && !ended;
    Ok(answer)
}

fn event_id(event: &[u8]) -> Option<u64> {
    let members = slices::members(event).ok()?;
    let (_, id) = members.into_iter().find(|(key, _)| *key == b"id")?;
    number(event.get(id)?)
}

/// A number, or digits in quotes: ids of 64 bits are text in JSON.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{From, read};

    #[test]
    fn answers_keep_their_events_byte_for_byte() {
        let body = br#"{"min_id":"7","max_id":"31181206313902080","reached_record_limit":true,
            "events":[ {"id" : "31171139124469760","message":"a\u00e9" }, {"id":31173655908196352}, {"message":"no id"}, 7 ]}"#;
        let answer = read(&Bytes::from_static(body)).unwrap();
        let events: Vec<(Option<u64>, &str)> =
            answer.events.iter().map(|(id, event)| (*id, std::str::from_utf8(event).unwrap())).collect();
        assert_eq!(
            events,
            [
                (Some(31_171_139_124_469_760), r#"{"id" : "31171139124469760","message":"a\u00e9" }"#),
                (Some(31_173_655_908_196_352), r#"{"id":31173655908196352}"#),
                (None, r#"{"message":"no id"}"#),
                (None, "7"),
            ]
        );
        assert_eq!((answer.reached, answer.more), (Some(31_181_206_313_902_080), true));
        let ended =
            read(&Bytes::from_static(br#"{"events":[],"reached_end":true,"reached_time_limit":true}"#))
                .unwrap();
        assert_eq!((ended.reached, ended.more), (None, false));
        assert!(read(&Bytes::from_static(b"<html>")).is_err());
    }

    #[test]
    fn notes_are_read_again() {
        for from in [From::Id(u64::MAX), From::Second(1_800_000_000)] {
            assert_eq!(From::of_note(from.note().as_bytes()), Some(from));
        }
        assert_eq!(From::of_note(b"{}"), None);
        assert_eq!(From::of_note(b"\xff"), None);
    }
}
