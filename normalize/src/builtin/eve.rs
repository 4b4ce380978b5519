//! What Suricata's EVE records become under `details`, whichever way they came.
//!
//! In: an event whose `details` is an EVE record. Out: the same with MozDef's names:
//! both ends, `suricata_alert`, counters and HTTP fields out of their objects. Never:
//! more than the first 4095 characters of payloads and bodies.

use std::sync::LazyLock;

use model::event::{EditError, Event, New, Path};

use super::details::{Move, cut_at, detail, detail_path, has_detail};
use super::python_text::push_plain;

/// Characters of a payload, packet or body that are kept.
const TEXT_CHARACTERS_MAX: usize = 4095;

/// Both ends, with what stands where there is none.
static ENDS: LazyLock<[(Move, New<'static>); 4]> = LazyLock::new(|| {
    [
        (Move::new("src_ip", "sourceipaddress"), New::Str("0.0.0.0")),
        (Move::new("dest_ip", "destinationipaddress"), New::Str("0.0.0.0")),
        (Move::new("src_port", "sourceport"), New::I64(0)),
        (Move::new("dest_port", "destinationport"), New::I64(0)),
    ]
});

static ALERT: LazyLock<Move> = LazyLock::new(|| Move::new("alert", "suricata_alert"));

static COUNTERS: LazyLock<[Move; 4]> = LazyLock::new(|| {
    [
        ("bytes_toserver", "originipbytes"),
        ("bytes_toclient", "responseipbytes"),
        ("pkts_toserver", "orig_pkts"),
        ("pkts_toclient", "resp_pkts"),
    ]
    .map(|(from, to)| Move::out_of("flow", from, to))
});

static HTTP: LazyLock<[Move; 7]> = LazyLock::new(|| {
    [
        ("hostname", "host"),
        ("http_method", "method"),
        ("http_user_agent", "user_agent"),
        ("status", "status_code"),
        ("url", "uri"),
        ("redirect", "redirect_dst"),
        ("length", "request_body_len"),
    ]
    .map(|(from, to)| Move::out_of("http", from, to))
});

static HTTP_BODIES: LazyLock<[Move; 4]> = LazyLock::new(|| {
    ["http_request_body", "http_request_body_printable", "http_response_body", "http_response_body_printable"]
        .map(|body| Move::out_of("http", body, body))
});

static PAYLOADS: LazyLock<[Path; 3]> =
    LazyLock::new(|| ["packet", "payload", "payload_printable"].map(detail_path));

static SERVICE: LazyLock<Move> = LazyLock::new(|| Move::new("app_proto", "service"));

static EMAIL: LazyLock<Path> = LazyLock::new(|| detail_path("email"));

/// Names both ends, and the alert so that it cannot be taken for one of ours.
pub(super) fn name_ends(event: &mut Event) -> Result<(), EditError> {
    for (end, default) in &*ENDS {
        end.apply(event)?;
        if event.get(end.to()).is_none_or(|value| value.is_null()) {
            event.set(end.to(), *default)?;
        }
    }
    ALERT.apply(event)?;
    Ok(())
}

/// Takes counters and HTTP fields out of their objects and bounds the long texts.
pub(super) fn flatten(event: &mut Event) -> Result<(), EditError> {
    if has_detail(event, "flow") {
        for counter in &*COUNTERS {
            counter.apply(event)?;
        }
    }
    if has_detail(event, "http") {
        for part in &*HTTP {
            part.apply(event)?;
        }
        for body in &*HTTP_BODIES {
            if body.apply(event)? {
                cut_at(event, body.to(), TEXT_CHARACTERS_MAX)?;
            }
        }
    }
    for payload in &*PAYLOADS {
        cut_at(event, payload, TEXT_CHARACTERS_MAX)?;
    }
    SERVICE.apply(event)?;
    if has_detail(event, "smtp") {
        event.remove(&EMAIL);
    }
    Ok(())
}

/// Counters that an alert always has, as MozDef's dashboards add them up.
pub(super) fn default_counters(event: &mut Event) -> Result<(), EditError> {
    for counter in &*COUNTERS {
        if event.get(counter.to()).is_none() {
            event.set(counter.to(), 0_i64)?;
        }
    }
    Ok(())
}

/// `10.0.0.1:5 -> 10.0.0.2:53`
pub(super) fn ends_text(event: &Event) -> String {
    let mut text = String::new();
    for (key, after) in [
        ("sourceipaddress", ":"),
        ("sourceport", " -> "),
        ("destinationipaddress", ":"),
        ("destinationport", ""),
    ] {
        if let Some(value) = detail(event, key) {
            push_plain(&mut text, value);
        }
        text.push_str(after);
    }
    text
}
