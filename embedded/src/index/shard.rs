//! One OpenSearch index: the search library's index in a folder, and what came since its last commit.
//!
//! In: operations, decided one after the other under one lock. Out: results with versions; searchers; documents
//! in real time. Never: two documents with one id; a version that goes back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{
    DocAddress, DocSet, IndexReader, IndexWriter, ReloadPolicy, Searcher, TERMINATED, TantivyDocument,
};

use super::document::Prepared;
use super::schema::fields;
use super::{analyzer, files};
use crate::error::ApiError;
use crate::mapping::Mapping;

/// Bytes that a writer of the search library may hold; its smallest value.
pub(crate) const WRITER_BYTES_MIN: usize = 15_000_000;
/// Documents that wait for a commit, at most.
const PENDING_MAX: usize = 20_000;
/// Bytes of documents that wait for a commit, at most.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// An index that nobody used for so long gives back its open files; the next use opens them again.
const READER_IDLE: Duration = Duration::from_secs(300);

/// One index.
pub(crate) struct Shard {
    /// Its number in the catalog; never used again.
    pub(crate) number: u64,
    pub(crate) name: Arc<str>,
    folder: PathBuf,
    fields_max: usize,
    writer_bytes: usize,
    mapping: RwLock<Arc<Mapping>>,
    engine: Mutex<Option<Arc<Engine>>>,
    pub(super) writing: Mutex<Writing>,
}

/// The search library's index, open.
pub(crate) struct Engine {
    index: tantivy::Index,
    reader: IndexReader,
}

/// What stands between the last commit and now.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) writer: Option<IndexWriter<Prepared>>,
    pub(super) pending: foldhash::HashMap<Arc<str>, Pending>,
    pub(super) pending_bytes: usize,
    pub(super) next_seq_no: u64,
    committed: Option<u64>,
    /// The mapping has grown since its file was written.
    pub(super) mapping_grown: bool,
    /// When the oldest pending operation came.
    pub(super) pending_since: Option<Instant>,
    pub(super) last_write: Option<Instant>,
    last_search: Option<Instant>,
    /// The index was deleted.
    gone: bool,
}

impl Writing {
    /// Nobody wrote or searched for so long.
    fn unused_since(&self, time: Duration) -> bool {
        let idle = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() >= time);
        idle(self.last_write) && idle(self.last_search)
    }
}

/// The last operation on an id since the commit.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) version: u64,
    pub(super) seq_no: u64,
    /// `None`: deleted.
    pub(super) source: Option<Arc<[u8]>>,
}

/// A document as it stands now.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) version: u64,
    pub(crate) seq_no: u64,
    pub(crate) source: Arc<[u8]>,
    /// It is in a commit; else the write-ahead log has it, perhaps not yet on disk.
    pub(crate) committed: bool,
}

/// Version and place of a committed document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) version: u64,
    pub(super) seq_no: u64,
    address: DocAddress,
}

/// Everything that makes a shard.
pub(crate) struct ShardOptions {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) fields_max: usize,
    pub(crate) writer_bytes: usize,
    pub(crate) mapping: Mapping,
}

impl Shard {
    /// A shard whose folder is opened when it is first needed.
    pub(crate) fn new(options: ShardOptions) -> Shard {
        Shard {
            number: options.number,
            name: options.name.into(),
            folder: options.folder,
            fields_max: options.fields_max,
            writer_bytes: options.writer_bytes.max(WRITER_BYTES_MIN),
            mapping: RwLock::new(Arc::new(options.mapping)),
            engine: Mutex::new(None),
            writing: Mutex::new(Writing::default()),
        }
    }

    /// Makes the folder of a new index, durably.
    pub(crate) fn create(&self) -> Result<(), ApiError> {
        std::fs::create_dir_all(&self.folder)?;
        self.save_mapping(&self.mapping())?;
        self.engine()?;
        Ok(())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The mapping of this moment.
    pub(crate) fn mapping(&self) -> Arc<Mapping> {
        self.mapping.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Limit on the mapping's fields.
    pub(crate) fn fields_max(&self) -> usize {
        self.fields_max
    }

    pub(super) fn set_mapping(&self, mapping: Mapping) {
        *self.mapping.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mapping);
    }

    /// Merges a mapping body in, durably.
    pub(crate) fn put_mapping(&self, other: &Mapping) -> Result<(), ApiError> {
        // The lock keeps documents from growing the mapping meanwhile.
        let writing = self.lock();
        let merged = self.mapping().merged(other, self.fields_max).map_err(|e| e.on_index(&self.name))?;
        self.save_mapping(&merged)?;
        self.set_mapping(merged);
        drop(writing);
        Ok(())
    }

    fn save_mapping(&self, mapping: &Mapping) -> Result<(), ApiError> {
        files::replace(&self.folder.join("mapping.json"), mapping.to_json().to_string().as_bytes())?;
        Ok(())
    }

    /// The library's index, opened when needed.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, ApiError> {
        let mut slot = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = slot.as_ref() {
            return Ok(engine.clone());
        }
        let engine = Arc::new(Engine::open(&self.folder)?);
        *slot = Some(engine.clone());
        Ok(engine)
    }

    /// Locks the write side; the sequence numbers are read from the last commit first.
    pub(super) fn lock_to_write(&self) -> Result<MutexGuard<'_, Writing>, ApiError> {
        let mut writing = self.lock();
        if writing.gone {
            return Err(ApiError::index_not_found(&self.name));
        }
        if writing.committed.is_none() {
            let committed = self.engine()?.committed_seq_no()?;
            writing.committed = Some(committed);
            writing.next_seq_no = writing.next_seq_no.max(committed.saturating_add(1));
        }
        Ok(writing)
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Highest sequence number that a commit holds.
    pub(crate) fn committed_seq_no(&self) -> Result<u64, ApiError> {
        Ok(self.lock_to_write()?.committed.unwrap_or_default())
    }

    /// Makes all operations searchable and durable in the library's index. False when there were none.
    pub(crate) fn refresh(&self) -> Result<bool, ApiError> {
        let mut writing = self.lock_to_write()?;
        self.commit(&mut writing)
    }

    pub(super) fn commit(&self, writing: &mut Writing) -> Result<bool, ApiError> {
        if writing.pending.is_empty() {
            return Ok(false);
        }
        if writing.mapping_grown {
            self.save_mapping(&self.mapping())?;
            writing.mapping_grown = false;
        }
        self.ensure_writer(writing)?;
        let highest = writing.next_seq_no.saturating_sub(1);
        let Some(writer) = writing.writer.as_mut() else { return Ok(false) };
        let committed = writer.prepare_commit().and_then(|mut prepared| {
            prepared.set_payload(&highest.to_string());
            prepared.commit()
        });
        if let Err(error) = committed {
            // The writer is of no use after an error; the pending operations are given to the next one.
            writing.writer = None;
            return Err(error.into());
        }
        self.engine()?.reader.reload()?;
        writing.committed = Some(highest);
        writing.pending.clear();
        writing.pending_bytes = 0;
        writing.pending_since = None;
        Ok(true)
    }

    /// A searcher that sees everything acknowledged `refresh` ago.
    pub(crate) fn searcher(&self, refresh: Duration) -> Result<Searcher, ApiError> {
        let mut writing = self.lock_to_write()?;
        writing.last_search = Some(Instant::now());
        if writing.pending_since.is_some_and(|since| since.elapsed() >= refresh) {
            self.commit(&mut writing)?;
        }
        drop(writing);
        Ok(self.engine()?.reader.searcher())
    }

    /// Commits what has waited long enough; closes a writer that nobody uses. Called again and again.
    pub(crate) fn maintain(&self, refresh: Duration, idle: Duration) -> Result<(), ApiError> {
        let mut writing = self.lock();
        let searched = writing.last_search.is_some_and(|at| at.elapsed() < Duration::from_secs(30));
        // Nobody looks: commits are made rarely, which is cheaper; a search makes its own.
        let patience = if searched { refresh } else { refresh.max(Duration::from_secs(5)) };
        if writing.pending_since.is_some_and(|since| since.elapsed() >= patience) {
            self.commit(&mut writing)?;
        } else if writing.writer.is_some() && writing.last_write.is_none_or(|at| at.elapsed() >= idle) {
            self.close_writer(writing)?;
        } else if writing.writer.is_none() && writing.unused_since(READER_IDLE) {
            *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }

    /// Commits and gives the writer's memory and threads back.
    pub(crate) fn close(&self) -> Result<(), ApiError> {
        let mut writing = self.lock_to_write()?;
        self.commit(&mut writing)?;
        self.close_writer(writing)
    }

    /// Ends a deleted index: nothing is written any more.
    pub(crate) fn abandon(&self) {
        let mut writing = self.lock();
        writing.gone = true;
        writing.writer = None;
        writing.pending.clear();
        writing.pending_since = None;
    }

    /// When its writer was last used; `None` without a writer.
    pub(crate) fn writer_used(&self) -> Option<Instant> {
        let writing = self.lock();
        writing.writer.as_ref().and(writing.last_write)
    }

    fn close_writer(&self, mut writing: MutexGuard<'_, Writing>) -> Result<(), ApiError> {
        if let Some(writer) = writing.writer.take() {
            // Merges under way are finished, so that the next reader sees few segments.
            writer.wait_merging_threads()?;
            self.engine()?.reader.reload()?;
        }
        Ok(())
    }

    /// Opens a writer where there is none; it gets what a lost one had not committed.
    pub(super) fn ensure_writer(&self, writing: &mut Writing) -> Result<(), ApiError> {
        if writing.writer.is_some() {
            return Ok(());
        }
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(self.writer_bytes)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter<Prepared> = self.engine()?.index.writer_with_options(options)?;
        let mut lost: Vec<(&Arc<str>, &Pending)> = writing.pending.iter().collect();
        lost.sort_by_key(|(_, pending)| pending.seq_no);
        for (id, pending) in lost {
            writer.delete_term(fields().id_term(id));
            if let Some(source) = &pending.source {
                let content = self.rebuild(id, source)?;
                let document = Prepared {
                    id: id.clone(),
                    source: source.clone(),
                    version: pending.version,
                    seq_no: pending.seq_no,
                    content,
                };
                writer.add_document(document)?;
            }
        }
        writing.writer = Some(writer);
        Ok(())
    }

    /// So much waits for a commit that it should be made now.
    pub(super) fn is_full(writing: &Writing) -> bool {
        writing.pending.len() >= PENDING_MAX || writing.pending_bytes >= PENDING_BYTES_MAX
    }

    /// The document of an id, committed or not.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Current>, ApiError> {
        let writing = self.lock_to_write()?;
        self.current(&writing, id)
    }

    pub(super) fn current(&self, writing: &Writing, id: &str) -> Result<Option<Current>, ApiError> {
        if let Some(pending) = writing.pending.get(id) {
            return Ok(pending.source.as_ref().map(|source| Current {
                version: pending.version,
                seq_no: pending.seq_no,
                source: source.clone(),
                committed: false,
            }));
        }
        let searcher = self.engine()?.reader.searcher();
        let Some(found) = find(&searcher, id)? else { return Ok(None) };
        let document: TantivyDocument = searcher.doc(found.address)?;
        let source = document.get_first(fields().source).and_then(|v| v.as_bytes()).unwrap_or_default();
        Ok(Some(Current {
            version: found.version,
            seq_no: found.seq_no,
            source: source.into(),
            committed: true,
        }))
    }

    pub(super) fn find_committed(&self, id: &str) -> Result<Option<Committed>, ApiError> {
        find(&self.engine()?.reader.searcher(), id)
    }
}

fn find(searcher: &Searcher, id: &str) -> Result<Option<Committed>, ApiError> {
    let term = fields().id_term(id);
    for (ordinal, segment) in searcher.segment_readers().iter().enumerate() {
        let inverted = segment.inverted_index(fields().id)?;
        let Some(mut postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        let mut doc = postings.doc();
        while doc != TERMINATED {
            if !segment.is_deleted(doc) {
                let columns = segment.fast_fields();
                return Ok(Some(Committed {
                    version: columns.u64("_version")?.first(doc).unwrap_or(1),
                    seq_no: columns.u64("_seq_no")?.first(doc).unwrap_or_default(),
                    address: DocAddress::new(u32::try_from(ordinal).unwrap_or(u32::MAX), doc),
                }));
            }
            doc = postings.advance();
        }
    }
    Ok(None)
}

impl Engine {
    fn open(folder: &Path) -> Result<Engine, ApiError> {
        let directory = tantivy::directory::MmapDirectory::open(folder).map_err(ApiError::storage)?;
        let settings =
            tantivy::IndexSettings { docstore_compress_dedicated_thread: false, ..Default::default() };
        let index = tantivy::Index::builder()
            .schema(fields().schema.clone())
            .settings(settings)
            .open_or_create(directory)?;
        index.tokenizers().register(analyzer::NAME, analyzer::analyzer());
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(8)
            .try_into()?;
        Ok(Engine { index, reader })
    }

    fn committed_seq_no(&self) -> Result<u64, ApiError> {
        let payload = self.index.load_metas()?.payload;
        payload.map_or(Ok(0), |text| {
            text.parse().map_err(|_| ApiError::storage(format!("commit payload [{text}] is not a number")))
        })
    }
}
