//! `details`: reading it, moving within it, and writing what a line parser found.
//!
//! In: an event in normal form. Out: values under `details`. Never: I/O.

use model::event::{EditError, Event, Object, Path, Value};

/// The object `details`.
pub(super) fn details(event: &Event) -> Option<Object<'_>> {
    event.member("details")?.as_object()
}

/// `details.<key>`; the key is taken literally, dots included.
pub(super) fn detail<'e>(event: &'e Event, key: &str) -> Option<Value<'e>> {
    details(event)?.get(key)
}

/// `details.<key>` that is a string.
pub(super) fn detail_str<'e>(event: &'e Event, key: &str) -> Option<&'e str> {
    detail(event, key)?.as_str()
}

/// `details.<key>` is there and not null.
pub(super) fn has_detail(event: &Event, key: &str) -> bool {
    detail(event, key).is_some_and(|value| !value.is_null())
}

/// The path of `details.<key>`; the key is taken literally.
pub(super) fn detail_path(key: &str) -> Path {
    Path::from_keys(["details", key])
}

/// Whether the event was written by this program, as `processname` or `details.program` says.
pub(super) fn is_program(event: &Event, names: &[&str]) -> bool {
    let named = |name: Option<&str>| name.is_some_and(|name| names.contains(&name));
    named(event.member_str("processname")) || named(detail_str(event, "program"))
}

/// The event's line, if one of these programs wrote it, without white space around it.
pub(super) fn line_of(event: &Event, programs: &[&str]) -> Option<String> {
    event.member_str("summary").filter(|_| is_program(event, programs)).map(|line| line.trim().to_owned())
}

/// A value that moves within `details`, from one name to another.
pub(super) struct Move {
    from: Path,
    to: Path,
}

impl Move {
    /// `details.<from>` to `details.<to>`; both literal.
    pub(super) fn new(from: &str, to: &str) -> Move {
        Move { from: detail_path(from), to: detail_path(to) }
    }

    /// `details.<object>.<from>` to `details.<to>`.
    pub(super) fn out_of(object: &str, from: &str, to: &str) -> Move {
        Move { from: Path::from_keys(["details", object, from]), to: detail_path(to) }
    }

    /// `details.<from>` to `details.<object>.<to>`.
    pub(super) fn into(object: &str, from: &str, to: &str) -> Move {
        Move { from: detail_path(from), to: Path::from_keys(["details", object, to]) }
    }

    /// Moves it. False when there is nothing to move.
    pub(super) fn apply(&self, event: &mut Event) -> Result<bool, EditError> {
        event.rename(&self.from, &self.to)
    }

    /// The path that is written.
    pub(super) fn to(&self) -> &Path {
        &self.to
    }
}

/// What a parser found in a line: names under `details`, each with text or null.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'l>(Vec<(&'static str, Option<&'l str>)>);

impl<'l> Fields<'l> {
    /// Nothing yet.
    pub(super) fn new() -> Fields<'l> {
        Fields(Vec::with_capacity(8))
    }

    /// With a text.
    pub(super) fn text(mut self, name: &'static str, text: &'l str) -> Fields<'l> {
        self.0.push((name, Some(text)));
        self
    }

    /// With a text where there is one.
    pub(super) fn some(self, name: &'static str, text: Option<&'l str>) -> Fields<'l> {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// With a text or, explicitly, null.
    pub(super) fn or_null(mut self, name: &'static str, text: Option<&'l str>) -> Fields<'l> {
        self.0.push((name, text));
        self
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a name.
    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<&'l str> {
        self.0.iter().find(|(key, _)| *key == name)?.1
    }

    /// Writes all under `details`.
    pub(super) fn write_to(&self, event: &mut Event) -> Result<(), EditError> {
        for &(name, text) in &self.0 {
            match text {
                Some(text) => event.set_in("details", name, text)?,
                None => event.set_in("details", name, model::event::New::Null)?,
            }
        }
        Ok(())
    }

    /// The same, and `details.success` where it is known.
    pub(super) fn write_with_success(
        &self,
        event: &mut Event,
        success: Option<bool>,
    ) -> Result<(), EditError> {
        self.write_to(event)?;
        success.map_or(Ok(()), |success| event.set_in("details", "success", success))
    }

    /// The same, as an alert of a monitor about a host.
    pub(super) fn write_as_alert_of(&self, event: &mut Event, host: &str) -> Result<(), EditError> {
        self.write_to(event)?;
        event.set_member("hostname", host)?;
        event.push(&Path::from_keys(["tags"]), "alert")
    }
}

/// The first `characters_max` characters of a text; `None` when it is not longer.
pub(super) fn cut(text: &str, characters_max: usize) -> Option<&str> {
    if text.len() <= characters_max {
        return None;
    }
    let (end, _) = text.char_indices().nth(characters_max)?;
    text.get(..end)
}

/// Cuts the string at a path to so many characters.
pub(super) fn cut_at(event: &mut Event, path: &Path, characters_max: usize) -> Result<bool, EditError> {
    let Some(short) = event.str(path).and_then(|text| cut(text, characters_max)).map(str::to_owned) else {
        return Ok(false);
    };
    event.set(path, &short)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::{Fields, Move, cut, detail_str, has_detail, is_program};

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(cut("abc", 3), None);
        assert_eq!(cut("abcd", 3), Some("abc"));
        assert_eq!(cut("äöü", 3), None);
        assert_eq!(cut("äöüß", 3), Some("äöü"));
        assert_eq!(cut("ä", 0), Some(""));
    }

    #[test]
    fn fields_and_moves_write_under_details() {
        let mut event =
            Event::from_json(r#"{"processname":"su","details":{"id.orig_h":"10.0.0.1","n":null}}"#).unwrap();
        assert!(Move::new("id.orig_h", "sourceipaddress").apply(&mut event).unwrap());
        assert!(!Move::new("id.orig_h", "sourceipaddress").apply(&mut event).unwrap());
        Fields::new().text("a", "1").or_null("b", None).some("c", None).write_to(&mut event).unwrap();
        assert_eq!(detail_str(&event, "sourceipaddress"), Some("10.0.0.1"));
        assert!(!has_detail(&event, "n") && !has_detail(&event, "b") && has_detail(&event, "a"));
        assert!(is_program(&event, &["su"]) && !is_program(&event, &["sudo"]));
    }
}
