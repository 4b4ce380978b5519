//! Shippers against the real binary, configured as `docs/shippers.md` says.

mod syslog;

use std::path::Path;

use anyhow::Context;

/// The snippet of `docs/shippers.md` that is marked as tested under this name.
fn snippet(name: &str) -> anyhow::Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/shippers.md");
    let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let marked = text.split(&format!("<!-- tested: {name} -->")).nth(1);
    let block = marked.and_then(|rest| rest.split("```").nth(1));
    let block = block.with_context(|| format!("{} has no snippet {name}", page.display()))?;
    // After the fence may stand the language.
    Ok(block.split_once('\n').map_or(block, |(_, content)| content).to_owned())
}
