//! Reads files into batches that one request can carry.
//!
//! In: files, or standard input. Out: batches of whole lines (syslog, JSON
//! lines) or whole values (JSON that spans lines, arrays). Never: a file held
//! in memory, but for JSON that is not one value a line, and for moved times.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use bytes::Bytes;
use model::event::{Limits, scan_value};
use model::time::Timestamp;

use crate::arguments::Format;
use crate::samples;

/// Most events of one batch.
const EVENTS_MAX: u64 = 500;
/// Size at which a batch is full.
const BYTES_FULL: usize = 1 << 20;
/// Largest file that must be held in memory, after decompression.
const WHOLE_FILE_MAX: u64 = 1 << 30;
/// Longest line. The gateway refuses much shorter ones, with a reason.
const LINE_MAX: u64 = 15 << 20;

/// What a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// JSON values.
    Json,
    /// Syslog lines.
    Syslog,
}

/// What one request carries.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// What it holds.
    pub kind: Kind,
    /// Lines, each ended by a line feed.
    pub body: Bytes,
    /// How many events; blank lines do not count.
    pub count: u64,
    /// File it came from.
    pub file: String,
    /// Line (or value) of the file where it begins, from 1.
    pub first_line: u64,
    /// Bytes of all files that were read when it was made.
    pub read_to: u64,
}

/// What to read, and how.
pub(crate) struct Settings {
    /// Files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// How lines are read.
    pub format: Format,
    /// Move times so that the newest of each file is this.
    pub move_to: Option<Timestamp>,
}

/// Size of all files on disk.
pub(crate) fn total_bytes(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|data| data.len()).sum()
}

/// Reads every file and hands batches on; ends early when `take` says false.
pub(crate) fn read_all(settings: &Settings, take: &dyn Fn(Batch) -> bool) -> anyhow::Result<()> {
    let read = Arc::new(AtomicU64::new(0));
    for file in &settings.files {
        let mut input = BufReader::with_capacity(1 << 18, open(file, &read)?);
        let name = file.display().to_string();
        let start = input.fill_buf().with_context(|| format!("cannot read {name}"))?;
        let kind = kind_of(settings.format, start);
        let mut batcher = Batcher::new(kind, name.clone(), read.clone(), take);
        let one_a_line = kind == Kind::Syslog || is_json_lines(start);
        let taken = match settings.move_to {
            None if one_a_line => batcher.lines(&mut input),
            None => batcher.values(&whole(&mut input)?),
            Some(now) => {
                let text = String::from_utf8_lossy(&whole(&mut input)?).into_owned();
                let moved = samples::move_to_now(&text, now);
                if one_a_line {
                    batcher.lines(&mut moved.as_bytes())
                } else {
                    batcher.values(moved.as_bytes())
                }
            }
        };
        if !taken.with_context(|| format!("cannot read {name}"))? {
            return Ok(());
        }
    }
    Ok(())
}

fn open(file: &Path, read: &Arc<AtomicU64>) -> anyhow::Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let counted = Counting { inner: opened, read: read.clone() };
    Ok(match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(counted)),
        Some("zst") => Box::new(
            zstd::stream::read::Decoder::new(counted)
                .with_context(|| format!("cannot read {}", file.display()))?,
        ),
        _ => Box::new(counted),
    })
}

struct Counting<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn kind_of(format: Format, start: &[u8]) -> Kind {
    match format {
        Format::Json => Kind::Json,
        Format::Syslog => Kind::Syslog,
        Format::Auto => match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Kind::Json,
            _ => Kind::Syslog,
        },
    }
}

/// Whether the first line is a whole object, as in JSON lines.
fn is_json_lines(start: &[u8]) -> bool {
    let line =
        start.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    if !line.trim_ascii_start().starts_with(b"{") {
        return false;
    }
    // A first line longer than the buffer is taken for one object.
    line.len() == start.len() || matches!(scan_value(line, 0, &Limits::default()), Ok(Some(_)))
}

fn whole(input: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(WHOLE_FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > WHOLE_FILE_MAX {
        bail!("the file is over 1 GiB and not one JSON value a line; split it, or write one value a line");
    }
    Ok(bytes)
}

struct Batcher<'t> {
    kind: Kind,
    file: String,
    read: Arc<AtomicU64>,
    take: &'t dyn Fn(Batch) -> bool,
    body: Vec<u8>,
    count: u64,
    line: u64,
    first_line: u64,
}

impl<'t> Batcher<'t> {
    fn new(kind: Kind, file: String, read: Arc<AtomicU64>, take: &'t dyn Fn(Batch) -> bool) -> Batcher<'t> {
        Batcher { kind, file, read, take, body: Vec::new(), count: 0, line: 0, first_line: 1 }
    }

    fn lines(&mut self, input: &mut dyn BufRead) -> anyhow::Result<bool> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = input.take(LINE_MAX).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(self.flush());
            }
            self.line += 1;
            if length as u64 == LINE_MAX && !line.ends_with(b"\n") {
                bail!("line {} is over {} MiB", self.line, LINE_MAX >> 20);
            }
            if !line.trim_ascii().is_empty() && !self.add(line.strip_suffix(b"\n").unwrap_or(&line)) {
                return Ok(false);
            }
        }
    }

    /// Values one after another, or the elements of arrays.
    fn values(&mut self, input: &[u8]) -> anyhow::Result<bool> {
        let limits = Limits { bytes_max: LINE_MAX as usize, depth_max: 512, fields_max: 1_000_000 };
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let separators =
                rest.iter().take_while(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'[' | b']'));
            at += separators.count();
            let Some(range) = scan_value(input, at, &limits).map_err(|error| anyhow::anyhow!("{error}"))?
            else {
                return Ok(self.flush());
            };
            self.line += 1;
            at = range.end;
            // Line feeds can stand only between tokens: a space is the same.
            let value: Vec<u8> = input
                .get(range)
                .unwrap_or_default()
                .iter()
                .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b })
                .collect();
            if !self.add(&value) {
                return Ok(false);
            }
        }
    }

    fn add(&mut self, line: &[u8]) -> bool {
        if self.count > 0
            && (self.count >= EVENTS_MAX || self.body.len() + line.len() >= BYTES_FULL)
            && !self.flush()
        {
            return false;
        }
        if self.count == 0 {
            self.first_line = self.line;
        }
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.count += 1;
        true
    }

    fn flush(&mut self) -> bool {
        if self.count == 0 {
            return true;
        }
        let batch = Batch {
            kind: self.kind,
            body: Bytes::from(std::mem::take(&mut self.body)),
            count: std::mem::take(&mut self.count),
            file: self.file.clone(),
            first_line: self.first_line,
            read_to: self.read.load(Ordering::Relaxed),
        };
        (self.take)(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;

    use super::{Batch, Kind, Settings, read_all};
    use crate::arguments::Format;

    fn batches(name: &str, content: &[u8]) -> anyhow::Result<Vec<Batch>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(name);
        std::fs::File::create(&file)?.write_all(content)?;
        let settings = Settings { files: vec![file], format: Format::Auto, move_to: None };
        let taken = RefCell::new(Vec::new());
        read_all(&settings, &|batch| {
            taken.borrow_mut().push(batch);
            true
        })?;
        Ok(taken.into_inner())
    }

    #[track_caller]
    fn check(content: &str, kind: Kind, body: &str) {
        let got = batches("x.log", content.as_bytes()).unwrap();
        assert_eq!(got.len(), 1, "{content}");
        assert_eq!((got[0].kind, std::str::from_utf8(&got[0].body).unwrap()), (kind, body));
    }

    #[test]
    fn formats_are_told_by_their_first_character() {
        check("Oct 1 a\n\nOct 2 b", Kind::Syslog, "Oct 1 a\nOct 2 b\n");
        check("{\"a\":1}\n{\"b\":2}\n", Kind::Json, "{\"a\":1}\n{\"b\":2}\n");
        check("[{\"a\":1},\n{\"b\":2}]", Kind::Json, "{\"a\":1}\n{\"b\":2}\n");
        check("{\n \"a\": 1\n}\n{\n \"b\": 2\n}", Kind::Json, "{  \"a\": 1 }\n{  \"b\": 2 }\n");
    }

    #[test]
    fn long_files_are_cut_into_batches_that_name_their_first_line() {
        let lines: String = (0..1200).map(|n| format!("line {n}\n")).collect();
        let got = batches("x.log", lines.as_bytes()).unwrap();
        assert_eq!(
            got.iter().map(|b| (b.first_line, b.count)).collect::<Vec<_>>(),
            [(1, 500), (501, 500), (1001, 200)]
        );
    }

    #[test]
    fn gzip_is_read_and_a_broken_one_is_an_error() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"one\ntwo\n").unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(&batches("x.gz", &packed).unwrap()[0].body[..], b"one\ntwo\n");
        assert!(batches("x.gz", &packed[..packed.len() - 9]).is_err());
    }
}
