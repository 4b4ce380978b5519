//! Events by a Lucene query.

use model::time::Timestamp;
use serde_json::{Value, json};
use sink::search::Searcher;

use super::Failure;

/// Finds events, newest first.
pub(super) async fn find(
    search: &Searcher,
    now: Timestamp,
    query: &str,
    (from, to): (Option<&str>, Option<&str>),
    size: u32,
) -> Result<Value, Failure> {
    let from = from.map(|text| instant(text, now, "from")).transpose()?;
    let to = to.map(|text| instant(text, now, "to")).transpose()?;
    let found =
        search.events(query, from, to, size).await.map_err(|error| Failure::Bad(error.to_string()))?;
    Ok(json!({"total": found.total, "hits": found.hits}))
}

/// When an event was received, if the index has it and says so.
pub(super) async fn received(search: &Searcher, id: &str) -> Option<Timestamp> {
    let hit = search.event(id).await.ok()??;
    Timestamp::parse_rfc3339(hit.source.get("receivedtimestamp")?.as_str()?)
}

/// An ISO time, `now`, or a time ago such as `15m`, `2h`, `7d`.
pub(crate) fn instant(text: &str, now: Timestamp, name: &str) -> Result<Timestamp, Failure> {
    let ago = |unit_ms: i64| {
        let digits = text.get(..text.len().saturating_sub(1))?;
        let count: i64 = digits.parse().ok().filter(|count| *count >= 0)?;
        Some(now.plus_millis(count.checked_mul(unit_ms)?.checked_neg()?))
    };
    let parsed = match text.as_bytes().last() {
        Some(b'w') if text == "now" => Some(now),
        Some(b's') => ago(1000),
        Some(b'm') => ago(60_000),
        Some(b'h') => ago(3_600_000),
        Some(b'd') => ago(86_400_000),
        _ => None,
    };
    let day = || Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
    parsed.or_else(|| Timestamp::parse_rfc3339(text)).or_else(day).ok_or_else(|| {
        Failure::Bad(format!(
            "{name}: {text} is no time; write 2026-01-31T12:00:00Z, 2026-01-31, or 15m, 2h, 7d for a time ago"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::instant;
    use model::time::Timestamp;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let now = Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap();
        let got = instant(text, now, "from").ok().map(|time| time.to_string());
        assert_eq!(got.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_iso_or_ago() {
        check("15m", Some("2026-03-01T11:45:00+00:00"));
        check("7d", Some("2026-02-22T12:00:00+00:00"));
        check("now", Some("2026-03-01T12:00:00+00:00"));
        check("2026-01-31", Some("2026-01-31T00:00:00+00:00"));
        check("2026-01-31T12:00:00Z", Some("2026-01-31T12:00:00+00:00"));
        for bad in ["", "m", "-5m", "99999999999999999999d", "yesterday", "é"] {
            check(bad, None);
        }
    }
}
