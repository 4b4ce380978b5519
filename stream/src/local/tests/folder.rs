//! The folder: locks, formats, partitions, files given back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use model::topic::Topic;

use super::{all, open, options, record};
use crate::local::{LocalOptions, OpenError, open as open_public};
use crate::log::{Extent, Log, LogError};

#[tokio::test]
async fn a_folder_in_use_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(options(folder.path())).await;
    let refused = open_public(options(folder.path())).await.err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("(pid {})", std::process::id())), "{refused}");
    first.close().await;
    // The folder is free although a handle is still there.
    open(options(folder.path())).await;
    assert!(matches!(first.extent(Topic::Raw, 0).await, Err(LogError::Unavailable(_))));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let refused = open_public(options(&file.join("data"))).await.err().unwrap();
    assert!(matches!(refused, OpenError::NotWritable { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(file.to_str().unwrap()) && text.contains("--data"), "{text}");
}

#[tokio::test]
async fn partitions_grow_and_never_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    let id = log.id().to_owned();
    log.produce(vec![record(Topic::Raw, 1, "", "old")]).await.unwrap();
    log.close().await;
    let log = open(LocalOptions { partitions: 5, ..options(folder.path()) }).await;
    assert_eq!((log.id(), log.partitions(Topic::Raw)), (id.as_str(), 5));
    log.produce(vec![record(Topic::Raw, 4, "", "new")]).await.unwrap();
    assert_eq!(all(&log, Topic::Raw, 1).await[0].value, "old");
    log.close().await;
    let refused = open_public(options(folder.path())).await.err().unwrap();
    assert!(matches!(refused, OpenError::Shrinks { existing: 5, configured: 2, .. }), "{refused}");
    let log = open(LocalOptions { partitions: 5, ..options(folder.path()) }).await;
    assert_eq!(all(&log, Topic::Raw, 4).await[0].value, "new");
}

#[tokio::test]
async fn two_logs_have_two_ids() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (open(options(one.path())).await, open(options(two.path())).await);
    assert_ne!(one.id(), two.id());
    assert_eq!(one.id().len(), 32);
}

#[tokio::test]
async fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(options(folder.path())).await.close().await;
    std::fs::write(folder.path().join("format"), "2\n").unwrap();
    let refused = open_public(options(folder.path())).await.err().unwrap();
    assert!(
        matches!(refused, OpenError::Corrupt { .. }) && refused.to_string().contains("\"2\""),
        "{refused}"
    );
    std::fs::write(folder.path().join("format"), "1\n").unwrap();
    open(options(folder.path())).await;
}

/// A crash while the log is made for the first time leaves the mark and any part of the rest.
#[tokio::test]
async fn a_log_that_was_never_whole_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.unfinished"), "").unwrap();
    std::fs::create_dir_all(folder.path().join("store/keyspaces/7")).unwrap();
    std::fs::write(folder.path().join("store/0.jnl"), "half a journal").unwrap();
    let log = open(options(folder.path())).await;
    log.produce(vec![record(Topic::Raw, 0, "", "x")]).await.unwrap();
    log.close().await;
    assert!(!folder.path().join("store.unfinished").exists());
    assert_eq!(all(&*open(options(folder.path())).await, Topic::Raw, 0).await.len(), 1);
}

/// Bytes that a folder really takes on the disk.
fn on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { on_disk(&entry.path()) } else { metadata.blocks() * 512 }
        })
        .sum()
}

/// Retention gives the space back while the log is open.
#[tokio::test]
async fn expired_records_leave_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(options(folder.path())).await;
    let mut most = 0;
    for _ in 0..60 {
        for _ in 0..4 {
            log.produce((0..1000).map(|i| record(Topic::Raw, i % 2, "", vec![b'x'; 1000])).collect())
                .await
                .unwrap();
        }
        log.upkeep().await.unwrap();
        most = most.max(log.bytes(Topic::Raw));
    }
    // 240 MB went through; 8 MiB are kept, in files of 4 to 8 MiB for each partition.
    assert!(most <= 40 << 20, "{most}");
    // The same and one journal, as soon as the engine's threads have caught up.
    let settled = async {
        while on_disk(folder.path()) > 110 << 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("the space to come back");
    let Extent { start, end, .. } = log.extent(Topic::Raw, 0).await.unwrap();
    assert!(end == 120_000 && (end - start) * 1000 <= 4 << 20, "{start}..{end}");
}
