//! Bulk writing against an index that misbehaves by a script. Whatever it
//! does, in the end every document is there once, or is dead with a reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::config::SinkConfig;
use model::error::Reason;
use proptest::prelude::*;
use stream::delivery::Outcome;

use super::Bulk;
use crate::backoff::Backoff;
use crate::document::{Document, Repeat, Write};
use crate::fake_index::{FakeIndex, Step};
use crate::health::Health;
use crate::index::Index;
use crate::indices::Indices;

const DAY: &str = "events-20240610";

async fn bulk(fake: &FakeIndex) -> Bulk {
    let index = Index::new(&fake.url(), None, None).unwrap();
    Bulk {
        sink: "test",
        indices: Arc::new(Indices::new(index.clone(), SinkConfig::default())),
        index,
        backoff: Backoff::short(1),
        health: Arc::new(Health::default()),
        documents_max: 100,
        bytes_max: 1 << 20,
        midnight: super::Midnight::default(),
    }
}

fn document(id: &str, source: &str) -> Document {
    let source = Bytes::copy_from_slice(source.as_bytes());
    Document { index: DAY.to_owned(), id: id.to_owned(), write: Write::Create, repeat: Repeat::Never, source }
}

/// Ten events, `e0` to `e9`.
fn ten() -> Vec<Document> {
    (0..10)
        .map(|n| document(&format!("e{n}"), &format!("{{\"summary\":\"s{n}\",\"details\":{{\"n\":{n}}}}}")))
        .collect()
}

fn reasons(outcomes: &[Outcome]) -> Vec<Option<Reason>> {
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Done => None,
        Outcome::Dead { reason, .. } => Some(*reason),
    };
    outcomes.iter().map(reason).collect()
}

/// Runs a script over ten events; all must get in, each request as listed (ids without `e`).
#[track_caller]
fn check(script: Vec<Step>, requests: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fake = FakeIndex::start(script).await;
        let bulk = bulk(&fake).await;
        let outcomes = bulk.write(ten()).await;
        assert_eq!(reasons(&outcomes), vec![None; 10], "{outcomes:?}");
        let stored = fake.documents();
        let expected: BTreeMap<_, _> = ten().into_iter().map(|d| ((d.index, d.id), d.source)).collect();
        assert_eq!(stored, expected);
        let sent: Vec<String> = fake.requests().iter().map(|ids| ids.join("").replace('e', "")).collect();
        assert_eq!(sent, requests);
        assert_eq!(bulk.health.why(), None);
    });
}

const ALL: &str = "0123456789";

#[test]
fn a_good_index_takes_all_at_once() {
    check(vec![], &[ALL]);
}

#[test]
fn an_overloaded_index_gets_the_same_again() {
    check(
        vec![Step::Whole(429), Step::Whole(503), Step::Whole(500), Step::Whole(502)],
        &[ALL, ALL, ALL, ALL, ALL],
    );
}

#[test]
fn only_refused_items_are_sent_again() {
    let rejected = || Step::items(&["e3", "e7"], 429, "rejected_execution_exception", "queue is full");
    check(vec![rejected(), rejected()], &[ALL, "37", "37"]);
    let unavailable =
        Step::items(&["e0"], 503, "unavailable_shards_exception", "primary shard is not active");
    check(vec![unavailable], &[ALL, "0"]);
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    // The documents are stored, the answer is lost: sent again they exist, are compared, and are the same.
    check(vec![Step::StoreThenReset], &[ALL, ALL]);
    check(vec![Step::StoreThenTruncate], &[ALL, ALL]);
    check(vec![Step::StoreThenGarble], &[ALL, ALL]);
    check(vec![Step::Reset], &[ALL, ALL]);
}

#[test]
fn a_request_too_large_is_halved() {
    check(vec![Step::Whole(413), Step::Whole(413)], &[ALL, "01234", "01", "234", "56789"]);
}

#[test]
fn an_index_that_is_shut_is_waited_for() {
    check(vec![Step::Whole(403), Step::Whole(401), Step::Whole(404)], &[ALL, ALL, ALL, ALL]);
    let all: Vec<String> = (0..10).map(|n| format!("e{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let block =
        |status| Step::items(&all, status, "cluster_block_exception", "index read-only / allow delete (api)");
    check(vec![block(403), block(429), block(403)], &[ALL, ALL, ALL, ALL]);
}

#[test]
fn an_index_that_vanished_is_made_again() {
    check(vec![Step::items(&["e1", "e2"], 404, "index_not_found_exception", "no such index")], &[ALL, "12"]);
}

#[tokio::test]
async fn another_document_of_the_same_id_is_a_conflict() {
    let fake = FakeIndex::start(vec![]).await;
    let bulk = bulk(&fake).await;
    let same = r#"{ "summary" : "s1", "details": {"n": 1}}"#;
    assert_eq!(
        bulk.write(vec![document("e1", same), document("e2", "{\"other\":true}")]).await,
        [Outcome::Done, Outcome::Done]
    );
    let outcomes = bulk.write(ten()).await;
    let mut expected = vec![None; 10];
    expected[2] = Some(Reason::IdConflict);
    assert_eq!(reasons(&outcomes), expected);
    assert_eq!(fake.documents()[&(DAY.to_owned(), "e2".to_owned())], "{\"other\":true}");
}

#[tokio::test]
async fn a_value_that_does_not_fit_moves_and_the_document_gets_in() {
    let fake = FakeIndex::start(vec![]).await;
    let bulk = bulk(&fake).await;
    let odd = r#"{"summary":"s","details":{"sourceipaddress":"nonsense","n":1}}"#;
    let documents = vec![document("a", "{\"summary\":\"x\"}"), document("b", odd)];
    assert_eq!(bulk.write(documents.clone()).await, [Outcome::Done, Outcome::Done]);
    let stored: serde_json::Value =
        serde_json::from_slice(&fake.documents()[&(DAY.to_owned(), "b".to_owned())]).unwrap();
    assert_eq!(
        stored,
        serde_json::json!({
            "summary": "s", "details": {"n": 1},
            "mozdef": {"errors": ["unmapped: details.sourceipaddress does not fit the index"]},
            "unmapped": {"details": {"sourceipaddress": "\"nonsense\""}},
        })
    );
    assert_eq!(fake.requests(), [vec!["a", "b"], vec!["b"]]);
    // Sent once more, as after a crash, it conflicts first as it was, then is known as the same.
    assert_eq!(bulk.write(documents).await, [Outcome::Done, Outcome::Done]);
    assert_eq!(fake.documents().len(), 2);
}

#[tokio::test]
async fn what_is_refused_for_good_is_dead_after_one_try() {
    let limit = Step::items(
        &["e4"],
        400,
        "illegal_argument_exception",
        "Limit of total fields [1000] has been exceeded",
    );
    let fake = FakeIndex::start(vec![limit]).await;
    let outcomes = bulk(&fake).await.write(ten()).await;
    let Outcome::Dead { reason: Reason::IndexRefused, detail } = &outcomes[4] else { panic!("{outcomes:?}") };
    assert!(detail.contains("Limit of total fields"), "{detail}");
    assert_eq!((fake.requests().len(), fake.documents().len()), (1, 9));
}

#[tokio::test]
async fn a_single_document_larger_than_the_index_takes_is_dead() {
    let fake = FakeIndex::start(vec![Step::Whole(413), Step::Whole(413), Step::Whole(413)]).await;
    let outcomes = bulk(&fake).await.write(ten().split_off(7)).await;
    assert_eq!(reasons(&outcomes), [Some(Reason::IndexRefused), None, None]);
    let sent: Vec<String> = fake.requests().iter().map(|ids| ids.join("")).collect();
    assert_eq!(sent, ["e7e8e9", "e7", "e8e9", "e8", "e9"]);
}

#[tokio::test]
async fn an_index_failing_at_one_document_does_not_stop_the_others() {
    let fail = || Step::items(&["e5"], 500, "null_pointer_exception", "oops");
    let fake = FakeIndex::start((0..100).map(|_| fail()).collect()).await;
    let outcomes = bulk(&fake).await.write(ten()).await;
    assert_eq!(reasons(&outcomes)[5], Some(Reason::IndexRefused));
    assert_eq!(fake.documents().len(), 9);
    assert!(fake.requests().iter().skip(1).all(|ids| *ids == ["e5"]));
}

#[tokio::test]
async fn an_index_that_cannot_be_made_costs_only_its_own_documents() {
    let fake = FakeIndex::start(vec![]).await;
    let mut documents = ten();
    documents[3].index = "Bad Name-20240610".to_owned();
    let outcomes = bulk(&fake).await.write(documents).await;
    let mut expected = vec![None; 10];
    expected[3] = Some(Reason::IndexRefused);
    assert_eq!(reasons(&outcomes), expected);
}

#[tokio::test]
async fn the_newest_version_stays_whatever_the_order() {
    let fake = FakeIndex::start(vec![]).await;
    let bulk = bulk(&fake).await;
    let version = |version, same, text: &str| Document {
        write: Write::Replace { version, same },
        ..document("a", &format!("{{\"v\":\"{text}\"}}"))
    };
    for (version, expected) in [
        (version(2, false, "two"), "two"),
        (version(1, false, "one"), "two"),
        (version(2, false, "again"), "two"),
        (version(3, false, "three"), "three"),
        (version(3, true, "over"), "over"),
    ] {
        assert_eq!(bulk.write(vec![version]).await, [Outcome::Done]);
        assert_eq!(fake.documents()[&(DAY.to_owned(), "a".to_owned())], format!("{{\"v\":\"{expected}\"}}"));
    }
}

#[tokio::test]
async fn documents_are_cut_into_requests_of_the_configured_size() {
    let fake = FakeIndex::start(vec![]).await;
    let by_count = Bulk { documents_max: 4, ..bulk(&fake).await };
    by_count.write(ten()).await;
    assert_eq!(fake.requests().iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    let fake = FakeIndex::start(vec![]).await;
    let by_bytes = Bulk { bytes_max: 150, ..bulk(&fake).await };
    by_bytes.write(ten()).await;
    assert!(fake.requests().iter().all(|ids| ids.len() == 1), "{:?}", fake.requests());
}

#[tokio::test]
async fn trouble_is_told_while_it_lasts_and_templates_come_first() {
    let fake = FakeIndex::start(vec![]).await;
    let bulk = Arc::new(bulk(&fake).await);
    fake.shut(true);
    let writing = tokio::spawn({
        let bulk = bulk.clone();
        async move { bulk.write(ten()).await }
    });
    while bulk.health.why().is_none() {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(bulk.health.why().unwrap().contains("403"), "{:?}", bulk.health.why());
    fake.shut(false);
    assert_eq!(reasons(&writing.await.unwrap()), vec![None; 10]);
    assert_eq!(bulk.health.why(), None);
    let setup = fake.setup();
    assert_eq!(
        setup[..2],
        ["PUT /_index_template/mozdef-events".to_owned(), format!("PUT /{DAY}")],
        "{setup:?}"
    );
}

fn a_step() -> impl Strategy<Value = Step> {
    let some_ids = prop::collection::vec(0..10_u8, 1..10);
    prop_oneof![
        prop::sample::select(vec![408, 413, 429, 500, 502, 503, 504, 401, 403, 404]).prop_map(Step::Whole),
        Just(Step::StoreThenReset),
        Just(Step::StoreThenTruncate),
        Just(Step::StoreThenGarble),
        Just(Step::Reset),
        (some_ids, prop::sample::select(vec![404, 408, 429, 500, 503, 403])).prop_map(|(ids, status)| {
            let ids: Vec<String> = ids.iter().map(|n| format!("e{n}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Step::items(&ids, status, "scripted_exception", "scripted")
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    /// Whatever the index does for a while, and however often a batch is delivered again: every document is there
    /// once and as it was, or is dead because the index called it too large when it came alone.
    #[test]
    fn after_any_script_every_document_is_there_once(script in prop::collection::vec(a_step(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = FakeIndex::start(script).await;
            let bulk = bulk(&fake).await;
            // The first delivery is dropped where it waits or reads, as in a crash.
            let crashed = tokio::time::timeout(std::time::Duration::from_millis(5), bulk.write(ten())).await;
            prop_assert!(crashed.is_err() || crashed.is_ok_and(|outcomes| outcomes.len() == 10));
            let outcomes = bulk.write(ten()).await;
            let stored = fake.documents();
            prop_assert!(stored.len() <= 10);
            for (document, outcome) in ten().into_iter().zip(outcomes) {
                match (outcome, stored.get(&(document.index, document.id))) {
                    (Outcome::Done, found) => prop_assert_eq!(found, Some(&document.source)),
                    (Outcome::Dead { reason, detail }, _) => {
                        prop_assert!(reason == Reason::IndexRefused && detail.contains("413"), "{}", detail);
                    }
                }
            }
            Ok(())
        })?;
    }
}

/// An event of the last hour of a day, and what its client sends again after midnight.
fn across_midnight(id: &str, source: &str) -> (Document, Document) {
    let first = Document { repeat: Repeat::Next, ..document(id, source) };
    let repeat = Repeat::Before(DAY.to_owned());
    (first, Document { index: "events-20240611".to_owned(), repeat, ..document(id, source) })
}

#[tokio::test]
async fn an_event_sent_again_after_midnight_is_one() {
    let fake = FakeIndex::start(Vec::new()).await;
    let bulk = bulk(&fake).await;
    let (first, again) = across_midnight("a", r#"{"summary":"s"}"#);
    let (_, fresh) = across_midnight("b", r#"{"summary":"t"}"#);
    // Within one request, and later; what was not there before goes to its own day.
    for documents in [vec![again.clone(), first], vec![again, fresh]] {
        let count = documents.len();
        assert_eq!(reasons(&bulk.write(documents).await), vec![None; count]);
    }
    let stored: Vec<_> = fake.documents().into_keys().collect();
    let expected =
        [(DAY, "a"), ("events-20240611", "b")].map(|(index, id)| (index.to_owned(), id.to_owned()));
    assert_eq!(stored, expected);
    let (_, other) = across_midnight("a", r#"{"summary":"other"}"#);
    assert_eq!(reasons(&bulk.write(vec![other]).await), [Some(Reason::IdConflict)]);
}

#[tokio::test]
async fn a_repetition_waits_for_the_first_that_is_still_being_written() {
    let fake = FakeIndex::start(vec![Step::Whole(503), Step::Whole(503)]).await;
    let bulk = bulk(&fake).await;
    let (first, again) = across_midnight("a", r#"{"summary":"s"}"#);
    let (one, two) = tokio::join!(bulk.write(vec![first]), bulk.write(vec![again]));
    assert_eq!(reasons(&[one, two].concat()), [None, None]);
    assert_eq!(fake.documents().len(), 1);
}
