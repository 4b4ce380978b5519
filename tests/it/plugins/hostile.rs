//! Plugins that do what they must not: each is ended within its bounds, its events go on by the configured policy,
//! and nobody else notices.

use std::time::{Duration, Instant};

use model::config::{PluginLimits, PluginsConfig};
use model::metrics::metrics;
use plugins::contract::Change;
use plugins::{Cause, Failure, Instance, LoadError, Standing};
use tests::guests::{Guest, UNCHANGED, items};

const DEADLINE_MS: u64 = 200;

fn config() -> PluginsConfig {
    PluginsConfig { deadline_ms: DEADLINE_MS, memory_mib: 8, failures_max: 3, ..PluginsConfig::default() }
}

fn instance(guest: &Guest<'_>) -> Instance {
    Instance::new(guest.load(&config()).unwrap())
}

/// The cause of the failure on one event, and how long that took at best: the machine has other things to do too.
fn failure(guest: &Guest<'_>) -> (Cause, Duration) {
    let mut instance = instance(guest);
    let mut best = Duration::MAX;
    let mut causes = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        match instance.process(&items(&["{}"])).pop() {
            Some(Err(Failure::Call { cause, .. })) => causes.push(cause),
            other => panic!("{}: {other:?}", guest.name),
        }
        best = best.min(start.elapsed());
    }
    assert_eq!(instance.plugin().standing(), Standing::Quarantined, "{}", guest.name);
    let start = Instant::now();
    assert_eq!(instance.process(&items(&["{}"; 100])), vec![Err(Failure::Quarantined); 100]);
    assert!(start.elapsed() < Duration::from_millis(DEADLINE_MS), "nobody asks it any more");
    assert!(causes.iter().all(|cause| *cause == causes[0]), "{}: {causes:?}", guest.name);
    (causes[0], best)
}

#[track_caller]
fn ends_early(guest: &Guest<'_>, expected: Cause) {
    let (cause, took) = failure(guest);
    assert_eq!(cause, expected, "{}", guest.name);
    assert!(took < Duration::from_millis(2 * DEADLINE_MS), "{} took {took:?}", guest.name);
}

#[test]
fn an_endless_loop_is_interrupted() {
    ends_early(&Guest::new("endless", "(loop $again (br $again)) (unreachable)"), Cause::Timeout);
}

#[test]
fn memory_stays_within_its_limit() {
    let hungry = "(loop $more (if (i32.ne (i32.const -1) (memory.grow (i32.const 16))) (then
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1))
        (br $more)))) (unreachable)";
    ends_early(&Guest::new("hungry", hungry), Cause::Memory);
    // 4 GiB at once.
    let greedy =
        "(if (i32.eq (i32.const -1) (memory.grow (i32.const 65534))) (then (unreachable))) (i32.const 128)";
    ends_early(&Guest::new("greedy", greedy), Cause::Memory);
    // One that is content with what it gets stays, and has no more than its limit.
    let content = "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
        (call $answers (local.get $count))";
    let mut instance = instance(&Guest::new("content", content));
    assert!(instance.process(&items(&["{}"]))[0].is_ok());
    assert!(instance.memory_bytes() > 7 << 20 && instance.memory_bytes() <= 8 << 20);
}

#[test]
fn recursion_without_an_end_is_a_trap() {
    let more = "(func $deep (param i64 i64 i64) (result i64) (i64.add (i64.const 1)
        (call $deep (i64.add (local.get 0) (i64.const 1)) (local.get 0) (local.get 1))))";
    let process = "(drop (call $deep (i64.const 0) (i64.const 0) (i64.const 0))) (i32.const 128)";
    ends_early(&Guest { more, ..Guest::new("deep", process) }, Cause::Trap);
}

#[test]
fn output_is_bounded() {
    let giant = "(call $texts (local.get $count) (i32.const 2) (i32.const 0) (i32.const 1073741824))";
    ends_early(&Guest::new("giant", giant), Cause::Output);
    let endless_list = "(drop (call $answers (local.get $count)))
        (i32.store (i32.const 132) (i32.const 2147483647)) (i32.const 128)";
    ends_early(&Guest::new("list", endless_list), Cause::Output);
    // The same 64 KiB for each of 1,000 events is 62 MiB on our side.
    let aliased = "(call $texts (local.get $count) (i32.const 2) (i32.const 65536) (i32.const 65536))";
    let mut instance = Instance::new(
        Guest::new("aliased", aliased)
            .load(&PluginsConfig { batch_max: 1024, failures_max: 100, ..config() })
            .unwrap(),
    );
    let answers = instance.process(&items(&["{}"; 1000]));
    assert_eq!(answers.len(), 1000);
    assert_eq!(instance.plugin().standing(), Standing::Suspect { failures: 1 }, "the batch was too much");
    assert!(answers.iter().all(Result::is_ok), "one by one they fit");
}

#[test]
fn what_is_no_text_or_no_answer_is_refused() {
    let more = r#"(data (i32.const 40) "\ff\fe\fd")"#;
    let process = "(call $texts (local.get $count) (i32.const 2) (i32.const 40) (i32.const 3))";
    ends_early(&Guest { more, ..Guest::new("latin", process) }, Cause::Output);
    ends_early(&Guest::new("few", "(call $answers (i32.const 0))"), Cause::Output);
    ends_early(
        &Guest::new("many", "(call $answers (i32.add (local.get $count) (i32.const 1)))"),
        Cause::Output,
    );
    let no_such_case = "(call $texts (local.get $count) (i32.const 99) (i32.const 0) (i32.const 0))";
    ends_early(&Guest::new("nocase", no_such_case), Cause::Output);
}

#[test]
fn a_flood_of_log_lines_is_cut() {
    let process = "(local $left i32) (local.set $left (i32.const 20000))
        (loop $again
          (call $log (i32.const 3) (i32.const 16) (i32.const 5))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))
        (call $answers (local.get $count))";
    let mut instance = Instance::new(
        Guest::new("flood", process).load(&PluginsConfig { deadline_ms: 10_000, ..config() }).unwrap(),
    );
    assert!(instance.process(&items(&["{}"]))[0].is_ok());
    let lost = metrics().plugin_log_lost.with_label_values(&["flood"]).get();
    assert!((19_000..20_000).contains(&lost), "{lost}");
    // A line of 1 GB is more than may pass.
    let long = "(call $log (i32.const 3) (i32.const 0) (i32.const 1073741824)) (i32.const 128)";
    ends_early(&Guest::new("longline", long), Cause::Output);
}

#[test]
fn one_that_is_a_hundred_times_too_slow_is_quarantined() {
    // About a millisecond and more for each event, where there should be ten microseconds.
    let slow = "(local $left i32) (local.set $left (i32.mul (local.get $count) (i32.const 8000000)))
        (loop $again (local.set $left (i32.sub (local.get $left) (i32.const 1))) (br_if $again (local.get $left)))
        (call $answers (local.get $count))";
    let mut instance = instance(&Guest::new("slow", slow));
    let documents = ["{}"; 128];
    let start = Instant::now();
    let mut batches = 0;
    while instance.plugin().standing() != Standing::Quarantined {
        instance.process(&items(&documents));
        batches += 1;
        assert!(batches <= 3, "each batch is a failure");
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn one_bad_event_does_not_take_its_batch_with_it() {
    // It traps on documents of three bytes.
    let process = "(local $left i32) (local.set $left (local.get $count))
        (loop $again
          (if (i32.eq (i32.load offset=4 (local.get $list)) (i32.const 3)) (then (unreachable)))
          (local.set $list (i32.add (local.get $list) (i32.const 40)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))
        (call $answers (local.get $count))";
    let mut instance = instance(&Guest::new("picky", process));
    let mut documents = ["{}"; 100];
    documents[40] = "{ }";
    let answers = instance.process(&items(&documents));
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(verdict) => assert!(number != 40 && verdict.change == Change::Unchanged),
            Err(failure) => {
                assert!(number == 40 && matches!(failure, Failure::Call { cause: Cause::Trap, .. }))
            }
        }
    }
    assert_eq!(instance.plugin().standing(), Standing::Suspect { failures: 2 });
}

#[test]
fn nothing_of_an_instance_is_in_the_next() {
    // It writes the number of calls so far over its own text, and traps at the third.
    let more = r#"(global $calls (mut i32) (i32.const 48))"#;
    let process = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 44) (global.get $calls))
        (if (i32.eq (global.get $calls) (i32.const 51)) (then (unreachable)))
        (call $texts (local.get $count) (i32.const 2) (i32.const 44) (i32.const 1))";
    let mut instance = instance(&Guest { more, ..Guest::new("counter", process) });
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(match instance.process(&items(&["{}"])).pop() {
            Some(Ok(verdict)) => verdict.change,
            Some(Err(_)) => Change::Dropped,
            None => panic!("no answer"),
        });
    }
    let text = |text: &str| Change::Replaced(text.to_owned());
    assert_eq!(seen, [text("1"), text("2"), Change::Dropped, text("1"), text("2")]);
}

#[test]
fn a_plugin_that_cannot_say_what_it_is_does_not_load() {
    let refused = |guest: &Guest<'_>| guest.load(&config()).err().unwrap();
    let endless = Guest { describe: "(loop $again (br $again))", ..Guest::new("endless", UNCHANGED) };
    let start = Instant::now();
    assert!(matches!(refused(&endless), LoadError::Describe(_)));
    assert!(start.elapsed() < Duration::from_secs(8));
    let trap = Guest { describe: "(unreachable)", ..Guest::new("trap", UNCHANGED) };
    assert!(matches!(refused(&trap), LoadError::Describe(_)));
    assert!(matches!(refused(&Guest::new("a b", UNCHANGED)), LoadError::Description(_)));
}

#[test]
fn limits_of_one_plugin_are_its_own() {
    let mut config = config();
    let own = PluginLimits { deadline_ms: Some(30), memory_mib: Some(1), batch_max: Some(2), on_error: None };
    config.limits.insert("small".to_owned(), own);
    let small = Guest::new("small", UNCHANGED).load(&config).unwrap();
    let large = Guest::new("large", UNCHANGED).load(&config).unwrap();
    assert_eq!((small.limits.deadline, small.limits.batch_max), (Duration::from_millis(30), 2));
    assert_eq!((small.limits.memory_bytes, large.limits.memory_bytes), (1 << 20, 8 << 20));
    assert_eq!(large.limits.deadline, Duration::from_millis(DEADLINE_MS));
}
