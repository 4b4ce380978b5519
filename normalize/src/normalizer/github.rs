//! GitHub's webhooks, in the shape that the plugin `github_webhooks` knows from the original's queue.
//!
//! In: the body of a delivery, with the kind of event in the headers. Out: the event, before the plugins: tagged for the
//! plugin where it knows the kind, else with what every delivery tells. Never: a drop of kinds that are not known.

use model::event::{New, Path, Value};
use model::headers;

use super::{End, Normalizer, Raw};
use crate::builtin::github_fields::known;
use crate::dates::Reference;
use crate::key_mapping::Mapping;

impl Normalizer {
    pub(super) fn read_github(&mut self, raw: Raw<'_>, reference: Reference) -> Result<(), End> {
        let flags = self.input.parse(raw.value, &self.limits)?;
        self.settle(flags);
        let body = std::mem::take(&mut self.input);
        self.input.set_limits(&self.limits.for_normal_form());
        let header = |name| raw.headers.and_then(|headers| headers.get_str(name)).unwrap_or_default();
        let kind = header(headers::GITHUB_EVENT);
        self.map_input(raw, Mapping::EventTask, reference)?;
        let event = &mut self.event;
        event.set_member("tags", New::EmptyArray)?;
        let tags = Path::from_keys(["tags"]);
        if known(kind).is_some() {
            event.push(&tags, "githubeventsqs")?;
        } else {
            event.push(&tags, "github")?;
            event.push(&tags, "webhook")?;
            event.set_member("category", "github")?;
            event.set_member("eventsource", "githubeventsqs")?;
            event.set_member("source", kind)?;
            let action = body.member_str("action").unwrap_or_default();
            let summary = format!("github: {kind}: {action}");
            event.set_member("summary", summary.trim_end_matches([' ', ':']))?;
        }
        event.set_in("details", "event", kind)?;
        event.set_in("details", "request_id", header(headers::CLIENT_ID))?;
        event.set(&Path::from_keys(["details", "body"]), Value::Object(body.root()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::headers;
    use stream::record::Headers;

    use super::super::Format;
    use super::super::tests::{mapped, normalized};

    fn about(kind: &'static str) -> Headers {
        Headers::new().with(headers::GITHUB_EVENT, kind).with(headers::CLIENT_ID, "d-1")
    }

    #[test]
    fn the_plugin_finds_what_it_knows() {
        let body = br#"{"action":"created","repository":{"name":"r"},"sender":{"login":"u"}}"#;
        let got = normalized(body, Format::Github, &about("repository"));
        for part in [
            r#""category":"github""#,
            r#""source":"repository""#,
            r#""username":"u""#,
            r#""request_id":"d-1""#,
            "github: repository: created",
        ] {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }

    #[test]
    fn other_kinds_are_kept_as_they_are() {
        let got = mapped(br#"{"zen":"Keep it logically awesome."}"#, Format::Github, &about("ping"));
        for part in [
            r#""summary":"github: ping""#,
            r#""tags":["github","webhook"]"#,
            r#""body":{"zen":"Keep it logically awesome."}"#,
        ] {
            assert!(got.contains(part), "{got} lacks {part}");
        }
    }
}
