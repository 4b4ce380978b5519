//! Decides an operation on one document: versions, conflicts, mapping, then log and writer.
//!
//! In: [`Write`]s of one index, in order. Out: a result for each. Never: a result that is not in the write-ahead
//! log (the caller waits for it to be on disk before it answers).

use std::sync::Arc;
use std::time::Instant;

use model::event::{Event, Limits, ParseError};

use super::build::{Built, build};
use super::document::{Content, Prepared};
use super::schema::fields;
use super::shard::{Pending, Shard, Writing};
use super::translog::{Operation, Translog};
pub(crate) use super::update::Update;
use crate::error::ApiError;

/// Longest id in bytes, as OpenSearch's.
pub(crate) const ID_BYTES_MAX: usize = 512;

/// An operation on one document.
#[derive(Clone, Debug)]
pub(crate) struct Write<'r> {
    pub(crate) action: Action<'r>,
    /// `None`: one is made.
    pub(crate) id: Option<&'r str>,
    pub(crate) condition: Condition,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Action<'r> {
    /// Put the document, whatever was there.
    Index(&'r [u8]),
    /// Put the document where there is none.
    Create(&'r [u8]),
    /// Lay a part over the stored document.
    Update(Box<Update>),
    Delete,
}

/// When to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// External version: greater than the stored one, which becomes the document's.
    Above(u64),
    /// External version: greater or equal.
    AboveOrEqual(u64),
    /// The stored document has this sequence number and primary term.
    IfSeqNo(u64, u64),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) index: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) version: u64,
    pub(crate) seq_no: u64,
    pub(crate) outcome: Outcome,
}

/// Kinds of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Updated,
    Deleted,
    /// Nothing to delete.
    NotFound,
    /// Nothing to change.
    Noop,
}

impl Outcome {
    /// OpenSearch's word and status.
    pub(crate) fn words(self) -> (&'static str, u16) {
        match self {
            Outcome::Created => ("created", 201),
            Outcome::Updated => ("updated", 200),
            Outcome::Deleted => ("deleted", 200),
            Outcome::NotFound => ("not_found", 404),
            Outcome::Noop => ("noop", 200),
        }
    }
}

/// Where operations go, and what is reused from one to the next.
pub(crate) struct WriteContext<'c> {
    pub(crate) log: &'c Translog,
    pub(crate) event: &'c mut Event,
    pub(crate) limits: Limits,
}

impl Shard {
    /// Does operations one after the other; none sees another's half.
    pub(crate) fn write(
        &self,
        context: &mut WriteContext<'_>,
        writes: &[Write<'_>],
    ) -> Result<Vec<Result<Written, ApiError>>, ApiError> {
        let mut writing = self.lock_to_write()?;
        self.ensure_writer(&mut writing)?;
        let mut results = Vec::with_capacity(writes.len());
        for write in writes {
            results.push(self.write_one(&mut writing, context, write).map_err(|e| e.on_index(&self.name)));
        }
        writing.last_write = Some(Instant::now());
        if Shard::is_full(&writing) {
            self.commit(&mut writing)?;
        }
        Ok(results)
    }

    fn write_one(
        &self,
        writing: &mut Writing,
        context: &mut WriteContext<'_>,
        write: &Write<'_>,
    ) -> Result<Written, ApiError> {
        let seq_no = writing.next_seq_no;
        let id: Arc<str> = match write.id {
            Some(id) => check_id(id)?.into(),
            None => format!("{:08x}{seq_no:012x}", self.number).into(),
        };
        let stored = self.stored(writing, &id)?;
        let version = next_version(&id, write, stored)?;
        let updated;
        let source = match &write.action {
            Action::Index(source) | Action::Create(source) => Some(*source),
            Action::Delete => None,
            Action::Update(update) => {
                let current = self.current(writing, &id)?;
                let Some(document) = update.apply(&id, current.as_ref().map(|c| &*c.source))? else {
                    let (version, seq_no) = current.map_or((0, 0), |c| (c.version, c.seq_no));
                    return Ok(Written {
                        index: self.name.clone(),
                        id,
                        version,
                        seq_no,
                        outcome: Outcome::Noop,
                    });
                };
                updated = document;
                Some(updated.as_slice())
            }
        };
        let content = match source {
            Some(source) => Some(self.content(writing, context, &id, source)?),
            None => None,
        };
        context.log.append(&Operation { index: self.number, seq_no, version, id: &id, source })?;
        writing.next_seq_no = seq_no.saturating_add(1);
        if let Some(content) = &content {
            model::metrics::metrics().index_ignored.inc_by(content.ignored.len() as u64);
        }
        let exists = stored.is_some_and(|s| s.alive);
        self.apply(writing, &id, version, seq_no, exists, source.zip(content))?;
        let outcome = match (&write.action, exists) {
            (Action::Delete, true) => Outcome::Deleted,
            (Action::Delete, false) => Outcome::NotFound,
            (_, true) => Outcome::Updated,
            (_, false) => Outcome::Created,
        };
        Ok(Written { index: self.name.clone(), id, version, seq_no, outcome })
    }

    /// Applies a stored operation again when the folder is opened.
    pub(crate) fn replay(&self, event: &mut Event, operation: &Operation<'_>) -> Result<(), ApiError> {
        let mut writing = self.lock_to_write()?;
        if operation.seq_no < writing.next_seq_no {
            return Ok(());
        }
        let id: Arc<str> = operation.id.into();
        // The limits were checked when it was taken; here the document must go in.
        let content = match operation.source {
            Some(source) => {
                event
                    .parse(source, &Limits::MAX)
                    .map_err(|e| ApiError::storage(format!("document [{id}]: {e}")))?;
                Some(self.build_growing(&mut writing, event, &id)?)
            }
            None => None,
        };
        writing.next_seq_no = operation.seq_no.saturating_add(1);
        let exists = self.stored(&writing, &id)?.is_some_and(|s| s.alive);
        self.apply(
            &mut writing,
            &id,
            operation.version,
            operation.seq_no,
            exists,
            operation.source.zip(content),
        )?;
        if Shard::is_full(&writing) {
            self.commit(&mut writing)?;
        }
        Ok(())
    }

    /// Content of a document that was indexed before.
    pub(super) fn rebuild(&self, id: &str, source: &[u8]) -> Result<Content, ApiError> {
        let mut event = Event::new();
        event.parse(source, &Limits::MAX).map_err(|e| ApiError::storage(format!("document [{id}]: {e}")))?;
        match build(&self.mapping(), &event, id)? {
            Built::Ready(content) => Ok(content),
            Built::Unmapped(_) => Err(ApiError::storage(format!("document [{id}] lost its mapping"))),
        }
    }

    fn content(
        &self,
        writing: &mut Writing,
        context: &mut WriteContext<'_>,
        id: &str,
        source: &[u8],
    ) -> Result<Content, ApiError> {
        let flags = context.event.parse(source, &context.limits).map_err(parse_error)?;
        if flags.duplicate_keys > 0 {
            return Err(ApiError::new(400, "mapper_parsing_exception", "failed to parse")
                .because("json_parse_exception", format!("{} duplicate fields", flags.duplicate_keys)));
        }
        self.build_growing(writing, context.event, id)
    }

    /// Builds; a mapping that lacks paths grows first.
    fn build_growing(&self, writing: &mut Writing, event: &Event, id: &str) -> Result<Content, ApiError> {
        // Values of one new field may disagree: the second round then refuses the document, so two are enough.
        let found = match build(&self.mapping(), event, id)? {
            Built::Ready(content) => return Ok(content),
            Built::Unmapped(found) => found,
        };
        let grown = self.mapping().with_discovered(&found, self.fields_max())?;
        match build(&grown, event, id)? {
            Built::Ready(content) => {
                self.set_mapping(grown);
                writing.mapping_grown = true;
                Ok(content)
            }
            Built::Unmapped(_) => Err(ApiError::storage("the mapping did not grow")),
        }
    }

    fn stored(&self, writing: &Writing, id: &str) -> Result<Option<Stored>, ApiError> {
        if let Some(pending) = writing.pending.get(id) {
            let alive = pending.source.is_some();
            return Ok(Some(Stored { version: pending.version, seq_no: pending.seq_no, alive }));
        }
        let found = self.find_committed(id)?;
        Ok(found.map(|found| Stored { version: found.version, seq_no: found.seq_no, alive: true }))
    }

    fn apply(
        &self,
        writing: &mut Writing,
        id: &Arc<str>,
        version: u64,
        seq_no: u64,
        exists: bool,
        document: Option<(&[u8], Content)>,
    ) -> Result<(), ApiError> {
        let (source, content) = match document {
            Some((source, content)) => (Some(Arc::<[u8]>::from(source)), content),
            None => (None, Content::default()),
        };
        // Pending first: a writer that fails below is replaced by one that gets all that is pending.
        let bytes = source.as_ref().map_or(0, |s| s.len()).saturating_add(id.len());
        writing.pending_bytes = writing.pending_bytes.saturating_add(bytes);
        writing.pending.insert(id.clone(), Pending { version, seq_no, source: source.clone() });
        writing.pending_since.get_or_insert_with(Instant::now);
        let Some(writer) = writing.writer.as_ref() else { return self.ensure_writer(writing) };
        if exists {
            writer.delete_term(fields().id_term(id));
        }
        if let Some(source) = source
            && let Err(error) =
                writer.add_document(Prepared { id: id.clone(), source, version, seq_no, content })
        {
            tracing::warn!(index = &*self.name, %error, "a writer of the search library failed; it is replaced");
            writing.writer = None;
            return self.ensure_writer(writing);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    version: u64,
    seq_no: u64,
    alive: bool,
}

fn check_id(id: &str) -> Result<&str, ApiError> {
    if id.is_empty() {
        return Err(ApiError::illegal("if _id is specified it must not be empty"));
    }
    if id.len() > ID_BYTES_MAX {
        return Err(ApiError::illegal(format!(
            "id is too long, must be no longer than 512 bytes but was: {}",
            id.len()
        )));
    }
    Ok(id)
}

fn next_version(id: &str, write: &Write<'_>, stored: Option<Stored>) -> Result<u64, ApiError> {
    let alive = stored.filter(|s| s.alive);
    if let (Action::Create(_), Some(found)) = (&write.action, alive) {
        return Err(conflict(id, &format!("document already exists (current version [{}])", found.version)));
    }
    match write.condition {
        Condition::Always => Ok(stored.map_or(1, |s| s.version.saturating_add(1))),
        Condition::Above(given) => match stored {
            Some(s) if given <= s.version => Err(conflict(
                id,
                &format!("current version [{}] is higher or equal to the one provided [{given}]", s.version),
            )),
            _ => Ok(given),
        },
        Condition::AboveOrEqual(given) => match stored {
            Some(s) if given < s.version => Err(conflict(
                id,
                &format!("current version [{}] is higher than the one provided [{given}]", s.version),
            )),
            _ => Ok(given),
        },
        Condition::IfSeqNo(seq_no, term) => match alive {
            Some(s) if s.seq_no == seq_no && term == 1 => Ok(s.version.saturating_add(1)),
            Some(s) => Err(conflict(
                id,
                &format!(
                    "required seqNo [{seq_no}], primary term [{term}]. current document has seqNo [{}] and primary term [1]",
                    s.seq_no
                ),
            )),
            None => Err(conflict(
                id,
                &format!("required seqNo [{seq_no}], primary term [{term}]. but no document was found"),
            )),
        },
    }
}

fn conflict(id: &str, reason: &str) -> ApiError {
    ApiError::new(409, "version_conflict_engine_exception", format!("[{id}]: version conflict, {reason}"))
}

fn parse_error(error: ParseError) -> ApiError {
    ApiError::new(400, "mapper_parsing_exception", "failed to parse")
        .because("json_parse_exception", error.to_string())
}
