//! large_strings: texts that people write into GitHub are cut to what a person reads.
//!
//! In: GitHub's events. Out: `summary` and three texts of `details`, at most 3,000 characters and a mark. Never:
//! other events; a long value of those is searched, or moved aside by the sink.

use std::sync::LazyLock;

use model::event::{Event, Path};

use super::details::cut;
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const LARGE_STRINGS: Builtin =
    Builtin { name: "large_strings", registration: &["githubeventsqs"], priority: 20, run };

/// Characters that are kept.
const CHARACTERS_MAX: usize = 3000;

static PATHS: LazyLock<[Path; 4]> =
    LazyLock::new(|| ["summary", "details.message", "details.cmdline", "details.pr_body"].map(Path::new));

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    let mut outcome = Outcome::Unchanged;
    for path in &*PATHS {
        if let Some(short) = event.str(path).and_then(|text| cut(text, CHARACTERS_MAX)) {
            let short = format!("{short} ...");
            event.set(path, &short)?;
            outcome = Outcome::Changed;
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::LARGE_STRINGS;
    use crate::builtin::testing::{check, check_unchanged};

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let long = "ä".repeat(3001);
        let short = format!("{} ...", "ä".repeat(3000));
        check(
            &LARGE_STRINGS,
            &format!(r#"{{"summary":"{long}","details":{{"pr_body":"{long}","other":"{long}"}}}}"#),
            &format!(r#"{{"summary":"{short}","details":{{"pr_body":"{short}","other":"{long}"}}}}"#),
        );
        check_unchanged(
            &LARGE_STRINGS,
            &format!(r#"{{"summary":"{}","details":{{"message":7}}}}"#, "a".repeat(3000)),
        );
    }
}
