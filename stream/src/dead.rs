//! Dead letters: records of `mozdef.dead`, with the original bytes, and why.
//!
//! In: a record that cannot go on. Out: the record to append. Never: a letter larger than its topic takes.

use bytes::Bytes;
use model::error::Reason;
use model::headers;
use model::metrics::Stage;
use model::topic::Topic;

use crate::record::{Headers, NewRecord, Record};

/// Longest detail, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

/// Version of MozDef that gives the record up.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The letter of a record that was read: its key becomes the event id where one is known; an `origin` that it has stays.
pub fn letter(record: &Record, stage: Stage, reason: Reason, detail: &str) -> NewRecord {
    let mut headers = record.headers.clone();
    if headers.get(headers::ORIGIN).is_none() {
        headers.push(headers::ORIGIN, record.origin());
    }
    seal(record.key.clone(), record.value.clone(), headers, stage, reason, detail)
}

/// The letter of an output that is larger than its topic takes (`limit`). `letter_limit`: what `mozdef.dead` takes;
/// what does not fit there is cut off, and the detail says so.
pub fn too_large_letter(output: &NewRecord, stage: Stage, limit: usize, letter_limit: usize) -> NewRecord {
    let bytes = output.size();
    let topic = output.topic;
    let mut detail = format!("output of {bytes} bytes for {topic}, which takes {limit}");
    let mut value = output.value.clone();
    let mut headers = output.headers.clone();
    let room =
        letter_limit.saturating_sub(bytes.saturating_sub(value.len())).saturating_sub(2 * DETAIL_BYTES_MAX);
    if value.len() > room {
        detail.push_str(&format!("; cut to {room} bytes"));
        // A copy, so that the letter does not keep the whole alive.
        value = Bytes::copy_from_slice(value.get(..room).unwrap_or_default());
    }
    let mut key = output.key.clone();
    if key.len() > letter_limit / 4 || headers.iter().map(|(_, v)| v.len()).sum::<usize>() > letter_limit / 2
    {
        key = Bytes::new();
        headers = Headers::new();
    }
    seal(key, value, headers, stage, Reason::TooLarge, &detail)
}

fn seal(
    key: Bytes,
    value: Bytes,
    mut headers: Headers,
    stage: Stage,
    reason: Reason,
    detail: &str,
) -> NewRecord {
    let event_id = headers.get(headers::EVENT_ID).cloned().unwrap_or(key);
    if !event_id.is_empty() {
        headers.set(headers::EVENT_ID, event_id.clone());
    }
    headers.set(headers::STAGE, stage.as_str());
    headers.set(headers::REASON, reason.as_str());
    headers.set(headers::DETAIL, cut(detail).to_owned());
    headers.set(headers::VERSION, VERSION);
    NewRecord { topic: Topic::Dead, partition: None, key: event_id, value, headers }
}

/// The beginning of a text, whole characters only.
fn cut(text: &str) -> &str {
    let fits = |(at, c): &(usize, char)| at.saturating_add(c.len_utf8()) <= DETAIL_BYTES_MAX;
    let end =
        text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at.saturating_add(c.len_utf8()));
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::error::Reason;
    use model::metrics::Stage;
    use model::time::Timestamp;
    use model::topic::Topic;

    use super::{cut, letter, too_large_letter};
    use crate::record::{Headers, NewRecord, Record};

    fn record(headers: Headers) -> Record {
        let (key, value) = (Bytes::from("id1"), Bytes::from("{bad"));
        Record {
            topic: Topic::Events,
            partition: 1,
            offset: 9,
            appended: Timestamp::EPOCH,
            key,
            value,
            headers,
        }
    }

    #[test]
    fn a_letter_has_the_original_and_why() {
        let made = letter(
            &record(Headers::new().with("received", "5")),
            Stage::EventSink,
            Reason::IndexRefused,
            "no",
        );
        let header = |name| made.headers.get_str(name).unwrap_or_default().to_owned();
        assert_eq!((made.topic, &made.key[..], &made.value[..]), (Topic::Dead, &b"id1"[..], &b"{bad"[..]));
        assert_eq!(
            ["received", "event-id", "stage", "reason", "detail", "origin"].map(header),
            ["5", "id1", "event_sink", "index_refused", "no", "mozdef.events/1/9"]
        );
        assert!(!header("version").is_empty());
    }

    #[test]
    fn an_origin_and_an_event_id_that_are_known_stay() {
        let headers = Headers::new().with("origin", "mozdef.raw/0/4").with("event-id", "e");
        let made = letter(&record(headers), Stage::EventSink, Reason::Empty, "");
        assert_eq!(made.headers.get_str("origin"), Some("mozdef.raw/0/4"));
        assert_eq!((&made.key[..], made.headers.get_str("event-id")), (&b"e"[..], Some("e")));
    }

    #[test]
    fn a_letter_about_a_giant_always_fits() {
        for (key, value, header) in
            [(10, 50_000, 10), (50_000, 10, 10), (10, 10, 50_000), (30_000, 30_000, 30_000)]
        {
            let headers = Headers::new().with("h", vec![b'h'; header]);
            let (key, value) = (Bytes::from(vec![b'k'; key]), Bytes::from(vec![b'v'; value]));
            let giant = NewRecord { topic: Topic::Events, partition: None, key, value, headers };
            let made = too_large_letter(&giant, Stage::Normalizer, 8_000, 16_000);
            assert!(made.size() <= 16_000, "{}", made.size());
            assert!(made.headers.get_str("detail").unwrap().contains("which takes 8000"));
        }
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(1000)).len(), 1024);
        assert_eq!(cut(&format!("x{}", "é".repeat(1000))).len(), 1023);
        assert_eq!(cut("short"), "short");
    }
}
