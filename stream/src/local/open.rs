//! Opening of the local log: lock, format, engine, and what is known of each partition.
//!
//! In: the options. Out: a running log. Never: a folder that is half made; a mark
//! lies beside a new engine until it is whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use model::time::Timestamp;
use model::topic::Topic;
use tokio::sync::mpsc::unbounded_channel;

use super::group::Group;
use super::shard::Shard;
use super::shared::{Core, Parts, Retention};
use super::slots::Slots;
use super::space::{Probe, Space};
use super::store::Store;
use super::{LocalLog, LocalOptions, OpenError, Threads, block, committer, lock, upkeep};
use crate::log::Extent;

/// Version of everything that lies in the folder.
const FORMAT: &str = "1";

/// Makes errors that name the folder.
struct Failing<'a>(&'a Path);

impl Failing<'_> {
    fn io(&self, error: &std::io::Error) -> OpenError {
        OpenError::NotWritable { folder: self.0.display().to_string(), cause: error.to_string() }
    }

    fn corrupt(&self, cause: impl ToString) -> OpenError {
        OpenError::Corrupt { folder: self.0.display().to_string(), cause: cause.to_string() }
    }

    fn engine(&self, error: fjall::Error) -> OpenError {
        match error {
            fjall::Error::Io(error) => self.io(&error),
            fjall::Error::Locked => {
                OpenError::InUse { folder: self.0.display().to_string(), holder: String::new() }
            }
            other => self.corrupt(other),
        }
    }
}

/// Opens the log and starts its threads.
pub(super) fn open_blocking(options: &LocalOptions, probe: Probe) -> Result<LocalLog, OpenError> {
    let folder = options.folder.as_path();
    let failing = Failing(folder);
    let lock = lock::lock(folder)?;
    check_format(folder)?;
    let store = find_or_make(folder, options.partitions)?;
    let id = check_identity(&store, folder, options.partitions)?;
    let shards = Slots::try_new(options.partitions, |topic, partition| {
        find(&store, topic, partition).map_err(|cause| failing.corrupt(cause))
    })?;
    let groups = groups(&store, options.partitions).map_err(|error| failing.engine(error))?;
    let (queue, requests) = unbounded_channel();
    let hours_ms = options.retention_hours.saturating_mul(3_600_000);
    let mib = options.retention_mib.checked_div(u64::from(options.partitions)).unwrap_or(0);
    let core = Arc::new(Core::new(Parts {
        folder: folder.to_owned(),
        id,
        partitions: options.partitions,
        clock: options.clock.clone(),
        shards,
        groups,
        space: Space::new(folder, options.min_free_mib.saturating_mul(1 << 20), probe),
        retention: Retention {
            age_ms: i64::try_from(hours_ms).unwrap_or(i64::MAX),
            bytes_max: mib.saturating_mul(1 << 20),
        },
        store,
        queue,
        lock,
    }));
    let threads = start(&core, requests).map_err(|error| failing.io(&error))?;
    Ok(LocalLog { core, threads: std::sync::Mutex::new(Some(threads)) })
}

fn start(
    core: &Arc<Core>,
    requests: tokio::sync::mpsc::UnboundedReceiver<committer::Request>,
) -> std::io::Result<Threads> {
    let (stop_upkeep, stopped) = std::sync::mpsc::channel();
    let for_committer = Arc::clone(core);
    let committer = std::thread::Builder::new()
        .name("log-commit".to_owned())
        .spawn(move || committer::run(&for_committer, requests, &for_committer.clock))?;
    let for_upkeep = Arc::clone(core);
    let upkeep = std::thread::Builder::new()
        .name("log-upkeep".to_owned())
        .spawn(move || upkeep::run(&for_upkeep, &stopped))?;
    Ok(Threads { committer, upkeep, stop_upkeep })
}

fn check_format(folder: &Path) -> Result<(), OpenError> {
    let failing = Failing(folder);
    match std::fs::read_to_string(folder.join("format")) {
        Ok(text) if text.trim() == FORMAT => Ok(()),
        Ok(text) => {
            let cause = format!("its format is {:?}, this version reads {FORMAT}", text.trim());
            Err(failing.corrupt(cause))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failing.io(&error)),
    }
}

/// Opens the engine; makes it where there is none, or where making it was cut short.
fn find_or_make(folder: &Path, partitions: u32) -> Result<Store, OpenError> {
    let failing = Failing(folder);
    let io = |error: std::io::Error| failing.io(&error);
    let place = folder.join("store");
    let mark = folder.join("store.unfinished");
    let is_unfinished = mark.try_exists().map_err(io)?;
    let exists = place.try_exists().map_err(io)?;
    if exists && !is_unfinished {
        return Store::open(&place, partitions).map_err(|error| failing.engine(error));
    }
    File::create(&mark).and_then(|mark| mark.sync_all()).map_err(io)?;
    sync_folder(folder).map_err(io)?;
    if exists {
        // Nothing was ever acknowledged in it.
        std::fs::remove_dir_all(&place).map_err(io)?;
    }
    let store = Store::open(&place, partitions).map_err(|error| failing.engine(error))?;
    let mut batch = store.batch();
    batch.put_identity(&new_id().map_err(io)?, partitions);
    batch.commit_durably().map_err(|error| failing.engine(error))?;
    let mut format = File::create(folder.join("format")).map_err(io)?;
    writeln!(format, "{FORMAT}").and_then(|()| format.sync_all()).map_err(io)?;
    sync_folder(folder).map_err(io)?;
    std::fs::remove_file(&mark).map_err(io)?;
    sync_folder(folder).map_err(io)?;
    Ok(store)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// 32 random hex digits.
fn new_id() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The log's id; partitions may have grown.
fn check_identity(store: &Store, folder: &Path, configured: u32) -> Result<String, OpenError> {
    let failing = Failing(folder);
    let id = store.log_id().map_err(|error| failing.engine(error))?;
    let id = id.ok_or_else(|| failing.corrupt("the log has no id"))?;
    let existing = store.existing_partitions().map_err(|error| failing.engine(error))?;
    let existing = existing.ok_or_else(|| failing.corrupt("the number of partitions is missing"))?;
    if existing > configured {
        return Err(OpenError::Shrinks { folder: folder.display().to_string(), existing, configured });
    }
    if existing < configured {
        tracing::info!(existing, configured, "the log's partitions grow");
        let mut batch = store.batch();
        batch.put_identity(&id, configured);
        batch.commit_durably().map_err(|error| failing.engine(error))?;
    }
    Ok(id)
}

/// What lies in a partition.
fn find(store: &Store, topic: Topic, partition: u32) -> Result<Shard, String> {
    let place = |error: &dyn std::fmt::Display| format!("{topic}/{partition}: {error}");
    let floor = store.floor(topic, partition).map_err(|error| place(&error))?;
    let last = store.last_block(topic, partition).map_err(|error| place(&error))?;
    let mut end = floor.end;
    let mut last_time = Timestamp::MIN;
    if let Some(last) = last {
        end = end.max(block::end(&last, topic, partition).map_err(|error| place(&error))?);
        last_time = block::head(&last).map_err(|error| place(&error))?.time;
    }
    let miles = store.miles(topic, partition).map_err(|error| place(&error))?;
    let mut bytes = 0_u64;
    if let Some(mile) = miles.last() {
        bytes = mile.bytes;
        let from = mile.offset;
        let visited = store.blocks(topic, partition, from, |block| {
            bytes = bytes.saturating_add(block.len() as u64);
            true
        });
        visited.map_err(|error| place(&error))?;
    }
    Ok(Shard::new(Extent::decided(floor.start, end), bytes, last_time, miles))
}

type Groups = HashMap<(String, Topic), Arc<Group>>;

fn groups(store: &Store, partitions: u32) -> fjall::Result<Groups> {
    let mut offsets: HashMap<(String, Topic), Vec<Option<u64>>> = HashMap::new();
    for (group, topic, partition, next) in store.group_offsets()? {
        let row = offsets.entry((group, topic)).or_insert_with(|| (0..partitions).map(|_| None).collect());
        let slot = usize::try_from(partition).ok().and_then(|partition| row.get_mut(partition));
        if let Some(slot) = slot {
            *slot = Some(next);
        }
    }
    let make = |((name, topic), row): ((String, Topic), Vec<Option<u64>>)| {
        let group = Arc::new(Group::new(name.clone(), topic, row));
        ((name, topic), group)
    };
    Ok(offsets.into_iter().map(make).collect())
}
