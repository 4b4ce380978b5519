//! One receiver of a queue: messages in, records into the log, then the messages are deleted.
//!
//! In: batches of at most ten messages. Out: durable records, deleted messages. Never: a message deleted before the log
//! has its events; one that others get while it is worked on here.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName as System,
};
use bytes::Bytes;
use model::config::SqsConfig;
use model::error::Reason;
use model::metrics::metrics;
use stream::log::LogError;
use stream::record::NewRecord;
use stream::shutdown::Shutdown;

use super::SQS;
use super::message::{Meaning, Message, Reader};
use super::notification::ObjectRef;
use super::object::{ObjectError, Objects};
use crate::intake::{Intake, IntakeError};

/// Most messages of one request: SQS gives no more.
const MESSAGES_MAX: i32 = 10;
/// Attempts to delete what was taken; what stays comes again under the same ids.
const DELETE_ATTEMPTS: u32 = 5;
const DELETE_PAUSE: Duration = Duration::from_millis(200);
/// Longest time for which a message that cannot be taken yet is put off, in seconds.
const PUT_OFF_SECONDS_MAX: u32 = 900;

/// Why a receiver stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// SQS gives no messages.
    #[error("queue {queue} gives no messages: {cause}")]
    Queue { queue: String, cause: String },
    /// The log takes nothing more.
    #[error(transparent)]
    Log(LogError),
}

/// What receivers of a queue share.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) config: SqsConfig,
    pub(super) url: String,
    pub(super) sqs: Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) reader: Reader,
    pub(super) intake: Intake,
}

/// A message in hand.
struct Handed {
    receipt: String,
    message: Message,
}

/// What becomes of a message.
enum Fate {
    /// The log has all of it.
    Taken,
    /// It stays in the queue for now, for this reason.
    Later(String),
}

/// Why work on messages ends early.
enum Stop {
    Shutdown,
    Log(LogError),
}

impl From<IntakeError> for Stop {
    fn from(error: IntakeError) -> Stop {
        match error {
            IntakeError::Stopped => Stop::Shutdown,
            IntakeError::Log(error) => Stop::Log(error),
        }
    }
}

impl Queue {
    /// Takes messages until shutdown, or until the queue gives none.
    pub(super) async fn receive(self: &Arc<Queue>, shutdown: &mut Shutdown) -> Result<(), ReceiveError> {
        loop {
            let handed = tokio::select! {
                biased;
                () = shutdown.wait() => return Ok(()),
                handed = self.next() => handed?,
            };
            metrics().input_up.with_label_values(&[SQS, self.name.as_str()]).set(1);
            if handed.is_empty() {
                continue;
            }
            match self.work(handed, shutdown).await {
                Ok(()) => {}
                Err(Stop::Shutdown) => return Ok(()),
                Err(Stop::Log(error)) => return Err(ReceiveError::Log(error)),
            }
        }
    }

    async fn next(&self) -> Result<Vec<Handed>, ReceiveError> {
        let request = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MESSAGES_MAX)
            .wait_time_seconds(seconds(self.config.wait_seconds))
            .visibility_timeout(seconds(self.config.visibility_seconds))
            .message_system_attribute_names(System::ApproximateReceiveCount)
            .message_system_attribute_names(System::MessageGroupId)
            .message_system_attribute_names(System::SentTimestamp)
            .message_attribute_names("All");
        let answer = request.send().await.map_err(|error| ReceiveError::Queue {
            queue: self.url.clone(),
            cause: DisplayErrorContext(&error).to_string(),
        })?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(handed).collect())
    }

    /// Works on a batch; meanwhile it stays hidden from others. On shutdown what is left is shown to them again.
    async fn work(self: &Arc<Queue>, handed: Vec<Handed>, shutdown: &mut Shutdown) -> Result<(), Stop> {
        let open = Arc::new(Open::new(&handed));
        let keeping = KeepHidden::start(self, open.clone());
        let outcome = self.work_on(&handed, &open, shutdown).await;
        drop(keeping);
        if outcome.is_err() {
            self.hide(open.receipts(), 0).await;
        }
        outcome
    }

    async fn work_on(&self, handed: &[Handed], open: &Open, shutdown: &mut Shutdown) -> Result<(), Stop> {
        // Events of several messages go into the log together; objects one by one.
        let (mut together, mut records) = (Vec::new(), Vec::new());
        let mut held_groups: HashSet<&str> = HashSet::new();
        for (number, each) in handed.iter().enumerate() {
            let group = each.message.group.as_deref();
            if group.is_some_and(|group| held_groups.contains(group)) {
                // One before it in its group must be taken first.
                continue;
            }
            let Some(objects) = self.plain(&each.message, &mut records) else {
                together.push(number);
                continue;
            };
            self.put(handed, &mut together, &mut records, open, shutdown).await?;
            match self.objects(&each.message, &objects, shutdown).await? {
                Fate::Taken => {
                    together.push(number);
                    self.put(handed, &mut together, &mut records, open, shutdown).await?;
                }
                Fate::Later(why) => {
                    self.put_off(number, each, &why, open).await;
                    held_groups.extend(group);
                }
            }
        }
        self.put(handed, &mut together, &mut records, open, shutdown).await
    }

    /// Appends the records of a message that needs nothing else; gives the objects of one that does.
    fn plain(&self, message: &Message, records: &mut Vec<NewRecord>) -> Option<Vec<ObjectRef>> {
        let at = self.intake.now();
        match self.reader.meaning(&message.body) {
            Meaning::Objects(objects) => return Some(objects),
            Meaning::Events(pieces) => self.reader.records(message, pieces, at, records),
            Meaning::Parts(parts) => self.reader.parts_of(message, parts, at, records),
            Meaning::Nothing(why) => {
                metrics().input_records.with_label_values(&[self.reader.input(), "nothing"]).inc();
                tracing::info!(
                    input = SQS,
                    source = self.name,
                    message_id = message.id,
                    why,
                    "a message without events"
                );
            }
            Meaning::Wrong(reason, detail) => {
                tracing::warn!(input = SQS, source = self.name, message_id = message.id, %reason, detail, "a message that is no event");
                records.push(self.reader.dead(message, reason, &detail, at));
            }
        }
        None
    }

    /// Makes records durable, then deletes the messages that they came from.
    async fn put(
        &self,
        handed: &[Handed],
        together: &mut Vec<usize>,
        records: &mut Vec<NewRecord>,
        open: &Open,
        shutdown: &mut Shutdown,
    ) -> Result<(), Stop> {
        if together.is_empty() {
            return Ok(());
        }
        self.intake.put_until(std::mem::take(records), shutdown).await?;
        let done: Vec<(usize, String)> = std::mem::take(together)
            .into_iter()
            .filter_map(|number| handed.get(number).map(|each| (number, each.receipt.clone())))
            .collect();
        open.close(&done);
        self.delete(done).await;
        Ok(())
    }

    /// The objects of a notification, one after the other; a dead letter for what will never be taken.
    async fn objects(
        &self,
        message: &Message,
        objects: &[ObjectRef],
        shutdown: &mut Shutdown,
    ) -> Result<Fate, Stop> {
        let (reader, intake) = (&self.reader, &self.intake);
        let taking = Objects { client: &self.s3, config: &self.config, reader, intake };
        for object in objects {
            let (reason, detail) = match taking.take(message, object, shutdown).await {
                Ok(events) => {
                    tracing::debug!(input = SQS, source = self.name, %object, events, "object taken");
                    continue;
                }
                Err(ObjectError::Stopped) => return Err(Stop::Shutdown),
                Err(ObjectError::Log(error)) => return Err(Stop::Log(error)),
                Err(ObjectError::Never(reason, detail)) => (reason, detail),
                Err(ObjectError::Later(detail)) if message.deliveries < self.config.deliveries_max => {
                    return Ok(Fate::Later(detail));
                }
                Err(ObjectError::Later(detail)) => {
                    let detail = format!("delivered {} times: {detail}", message.deliveries);
                    (Reason::TooManyAttempts, detail)
                }
            };
            tracing::warn!(input = SQS, source = self.name, message_id = message.id, %reason, detail, "an object cannot be taken");
            let dead = reader.dead(message, reason, &detail, intake.now());
            intake.put_until(vec![dead], shutdown).await?;
        }
        Ok(Fate::Taken)
    }

    /// Leaves a message in the queue, for longer each time.
    async fn put_off(&self, number: usize, each: &Handed, why: &str, open: &Open) {
        let (id, deliveries) = (&each.message.id, each.message.deliveries);
        metrics().input_failures.with_label_values(&[SQS, "object"]).inc();
        tracing::warn!(
            input = SQS,
            source = self.name,
            message_id = id,
            deliveries,
            why,
            "a message stays in its queue"
        );
        let receipt = vec![(number, each.receipt.clone())];
        open.close(&receipt);
        let doubled = 1_u32.checked_shl(deliveries.min(16)).unwrap_or(u32::MAX);
        let longest = PUT_OFF_SECONDS_MAX.max(self.config.visibility_seconds);
        self.hide(receipt, self.config.visibility_seconds.saturating_mul(doubled).min(longest)).await;
    }

    /// Deletes; answers are by message, and what failed is tried again.
    async fn delete(&self, mut left: Vec<(usize, String)>) {
        for attempt in 0..DELETE_ATTEMPTS {
            let entry = |(number, receipt): &(usize, String)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(receipt).build().ok()
            };
            let entries: Vec<_> = left.iter().filter_map(entry).collect();
            let request = self.sqs.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let why = match request.send().await {
                Ok(answer) if answer.failed().is_empty() => return,
                Ok(answer) => {
                    left.retain(|(number, _)| answer.failed().iter().any(|f| f.id() == number.to_string()));
                    answer.failed().iter().map(|f| f.code().to_owned()).collect::<Vec<_>>().join(", ")
                }
                Err(error) => DisplayErrorContext(&error).to_string(),
            };
            metrics().input_failures.with_label_values(&[SQS, "delete"]).inc();
            let messages = left.len();
            tracing::warn!(
                input = SQS,
                source = self.name,
                messages,
                why,
                "messages were not deleted; trying again"
            );
            tokio::time::sleep(DELETE_PAUSE.saturating_mul(1 << attempt)).await;
        }
        let messages = left.len();
        tracing::warn!(
            input = SQS,
            source = self.name,
            messages,
            "taken messages stay, and will be the same events again"
        );
    }

    /// Hides messages from others for so long from now; 0 shows them.
    async fn hide(&self, receipts: Vec<(usize, String)>, for_seconds: u32) {
        if receipts.is_empty() {
            return;
        }
        let entry = |(number, receipt): &(usize, String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(receipt).visibility_timeout(seconds(for_seconds)).build().ok()
        };
        let entries: Vec<_> = receipts.iter().filter_map(entry).collect();
        let request =
            self.sqs.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        // A failure is no loss: the message is seen again, and is the same event.
        match request.send().await {
            Ok(answer) if answer.failed().is_empty() => {}
            Ok(answer) => {
                tracing::debug!(source = self.name, failed = answer.failed().len(), "visibility not changed")
            }
            Err(error) => {
                let why = DisplayErrorContext(&error).to_string();
                tracing::warn!(input = SQS, source = self.name, why, "visibility of messages not changed");
            }
        }
    }
}

/// Messages that are not finished: number and receipt.
struct Open(Mutex<Vec<(usize, String)>>);

impl Open {
    fn new(handed: &[Handed]) -> Open {
        Open(Mutex::new(handed.iter().map(|each| each.receipt.clone()).enumerate().collect()))
    }

    fn close(&self, done: &[(usize, String)]) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(number, _)| !done.iter().any(|(closed, _)| closed == number));
    }

    fn receipts(&self) -> Vec<(usize, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Extends the time for which messages are hidden, until it is dropped.
struct KeepHidden(tokio::task::JoinHandle<()>);

impl KeepHidden {
    fn start(queue: &Arc<Queue>, open: Arc<Open>) -> KeepHidden {
        // Three times within the time that is there, so that one failure does no harm.
        let every = Duration::from_secs(u64::from(queue.config.visibility_seconds)) / 3;
        let queue = queue.clone();
        KeepHidden(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                queue.hide(open.receipts(), queue.config.visibility_seconds).await;
            }
        }))
    }
}

impl Drop for KeepHidden {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn seconds(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn handed(message: aws_sdk_sqs::types::Message) -> Handed {
    let system = message.attributes.unwrap_or_default();
    let own = message.message_attributes.unwrap_or_default().into_iter();
    let mut attributes: Vec<(String, String)> =
        own.filter_map(|(name, value)| Some((name, value.string_value?))).collect();
    attributes.sort_unstable();
    Handed {
        receipt: message.receipt_handle.unwrap_or_default(),
        message: Message {
            id: message.message_id.unwrap_or_default(),
            body: Bytes::from(message.body.unwrap_or_default()),
            deliveries: system
                .get(&System::ApproximateReceiveCount)
                .and_then(|count| count.parse().ok())
                .unwrap_or(1),
            group: system.get(&System::MessageGroupId).cloned(),
            sent: system.get(&System::SentTimestamp).cloned(),
            attributes,
        },
    }
}
