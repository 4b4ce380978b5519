//! Rules over events: parse and evaluate, in events per CPU second.
//!
//! `cargo bench -p correlate --bench rules [-- EVENTS.jsonl RULES [PASSES]]`. Without arguments: SigmaHQ's rules over
//! the recorded CloudTrail and Windows events. Prints one line a case; the number of matches must not move.
//! `MOZDEF_BENCH_BY_RULE=1` prints the matches of each rule too, to be compared with other engines.

#![allow(clippy::print_stdout, reason = "a benchmark reports on the terminal")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "input of its own")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use correlate::load;
use correlate::ruleset::Scratch;
use model::event::{Event, Limits};

/// Events of a case, again and again until there are so many.
const EVENTS: usize = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [events, rules, rest @ ..] = arguments.as_slice() {
        let passes = rest.first().and_then(|p| p.parse().ok()).unwrap_or(1);
        let lines = read(Path::new(events));
        run(events, &lines, lines.len() * passes, Path::new(rules));
        return;
    }
    let recorded = std::env::var_os("MOZDEF_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let archive = recorded.join("sigma/sigma-rules.tar.gz");
    if !archive.is_file() {
        println!("SKIPPED: recorded data absent ({})", recorded.display());
        return;
    }
    let folder = std::env::temp_dir().join(format!("mozdef-bench-rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the rules");
    let done =
        Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&folder).status().expect("tar runs");
    assert!(done.success());
    let cloudtrail = cloudtrail(&read(&recorded.join("data/aws/invictus-cloudtrail-900.jsonl.gz")));
    let mut windows = Vec::new();
    let mut files: Vec<PathBuf> =
        recorded.join("data/otrf/windows").read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().for_each(|f| windows.extend(read(f)));
    run("CloudTrail, AWS rules", &cloudtrail, EVENTS, &folder.join("rules/cloud/aws"));
    run("CloudTrail, all rules", &cloudtrail, EVENTS, &folder.join("rules"));
    run("Windows, Windows rules", &windows, EVENTS, &folder.join("rules/windows"));
    run("Windows, all rules", &windows, EVENTS, &folder.join("rules"));
    std::fs::remove_dir_all(&folder).expect("the folder of the rules is removed");
}

/// Lines of a file, plain or gzip.
fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(flate2::read::GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader).split(b'\n').map_while(Result::ok).filter(|l| l.starts_with(b"{")).collect()
}

/// The normal form: what the record says is below `details`.
fn cloudtrail(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    lines
        .iter()
        .map(|line| {
            let record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).unwrap();
            let details: serde_json::Map<String, serde_json::Value> =
                record.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
            serde_json::json!({"source": "cloudtrail", "details": details}).to_string().into_bytes()
        })
        .collect()
}

fn run(name: &str, lines: &[Vec<u8>], events: usize, rules: &Path) {
    let loading = cpu_seconds();
    let loaded = load::paths(&[rules.to_owned()]);
    let loading = cpu_seconds() - loading;
    let (mut event, mut scratch, mut hits) = (Event::new(), Scratch::default(), Vec::new());
    let limits = Limits::default();
    let (mut bytes, mut refused, mut matches) = (0, 0, 0_usize);
    let mut fired = BTreeMap::<usize, usize>::new();
    let parsing = cpu_seconds();
    for line in lines.iter().cycle().take(events) {
        bytes += line.len();
        refused += usize::from(event.parse(line, &limits).is_err());
    }
    let parsing = cpu_seconds() - parsing;
    let started = cpu_seconds();
    for line in lines.iter().cycle().take(events) {
        if event.parse(line, &limits).is_ok() {
            loaded.set.evaluate(&event, &mut scratch, &mut hits);
            matches += hits.len();
            hits.iter().for_each(|h| *fired.entry(*h).or_default() += 1);
        }
    }
    let seconds = cpu_seconds() - started;
    println!(
        "{name}: {} rules loaded in {loading:.2} s; {events} events of {} B: {:.0} events/s ({:.0} parsed only), \
         {matches} matches of {} rules, {refused} refused",
        loaded.set.len(),
        bytes / events.max(1),
        events as f64 / seconds,
        events as f64 / parsing,
        fired.len()
    );
    if std::env::var_os("MOZDEF_BENCH_BY_RULE").is_some() {
        for (rule, count) in fired {
            println!(
                "{count}\t{}\t{}",
                loaded.set.detections[rule].info.id, loaded.set.detections[rule].info.title
            );
        }
    }
}
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("schedstat") / 1e9
}
