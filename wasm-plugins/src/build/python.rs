//! A plugin in MozDef's own shape, written in Python, becomes a component: CPython and all, by `componentize-py`.
//!
//! In: a file with a class `message`. Out: a component. `componentize-py` comes from PyPI into a virtual environment of
//! its own in the user's cache. Never: a change of the file, or of the machine's Python.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use super::{BuildError, file_error, tail};
use crate::contract::{WIT, WORLD};

/// The version of `componentize-py` that is used.
pub const COMPONENTIZE_PY: &str = "0.25.1";

const SHIM: &str = include_str!("../../python/mozdef_shim.py");
const HELPERS: &str = include_str!("../../python/mozdef_plugin.py");

/// What to do without Python.
const REMEDY_PYTHON: &str = "install Python 3.10 or later with venv (Debian: apt install python3-venv), \
    or name one in $MOZDEF_PYTHON";
/// What to do without PyPI.
const REMEDY_PYPI: &str = "let pip reach PyPI or a mirror (PIP_INDEX_URL, PIP_FIND_LINKS), or install it by hand into \
    the folder named here";

/// The component of a Python file. `cache`: where the tools are kept.
///
/// # Errors
/// See [`BuildError`].
pub fn python(source: &Path, version: &str, cache: &Path) -> Result<Vec<u8>, BuildError> {
    let name = source.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let text = std::fs::read_to_string(source).map_err(file_error(source))?;
    check(name, &text, version)?;
    let tool = tool(cache)?;
    let work = tempfile::tempdir().map_err(file_error(Path::new("a temporary folder")))?;
    let write = |file: &str, text: &str| {
        let path = work.path().join(file);
        std::fs::write(&path, text).map_err(file_error(&path))
    };
    let wit = work.path().join("wit");
    std::fs::create_dir(&wit).map_err(file_error(&wit))?;
    write("wit/plugin.wit", WIT)?;
    write("mozdef_shim.py", SHIM)?;
    write("mozdef_plugin.py", HELPERS)?;
    write("mozdef_target.py", &format!("MODULE = {name:?}\nNAME = {name:?}\nVERSION = {version:?}\n"))?;
    let out = work.path().join("plugin.wasm");
    let folder = match source.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Python leaves its byte code beside the source; nobody has asked for it.
    let byte_code = folder.join("__pycache__");
    let was_there = byte_code.exists();
    // The plugin's folder too, so that it may be of several files.
    let output = run(Command::new(&tool)
        .arg("-d")
        .arg(&wit)
        .args(["-w", WORLD, "componentize", "mozdef_shim", "-p"])
        .arg(work.path())
        .arg("-p")
        .arg(folder)
        .arg("-o")
        .arg(&out))
    .map_err(file_error(&tool))?;
    if !was_there && byte_code.exists() {
        std::fs::remove_dir_all(&byte_code).map_err(file_error(&byte_code))?;
    }
    if !output.status.success() {
        return Err(BuildError::Compile(tail(&output)));
    }
    std::fs::read(&out).map_err(file_error(&out))
}

/// Before minutes are spent: what the shim needs must be there.
fn check(name: &str, text: &str, version: &str) -> Result<(), BuildError> {
    let wrong = |what: String| Err(BuildError::Source(what));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong(format!(
            "the file's name is the plugin's, and must be a Python module's: {name:?} is not"
        ));
    }
    if ["mozdef_shim", "mozdef_plugin", "mozdef_target", "wit_world"].contains(&name) {
        return wrong(format!("{name} is the name of a module of MozDef's own; rename the file"));
    }
    if !text.lines().any(|line| line.starts_with("class message")) {
        return wrong("it has no class `message`, which a plugin of MozDef's shape has".to_owned());
    }
    if version.chars().any(char::is_control) {
        return wrong("the version has control characters".to_owned());
    }
    Ok(())
}

fn run(command: &mut Command) -> std::io::Result<Output> {
    // What the user has set for her own Python does not concern this one.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").output()
}

/// The installed tool; installs it at first.
fn tool(cache: &Path) -> Result<PathBuf, BuildError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = cache.join(format!("componentize-py-{COMPONENTIZE_PY}"));
    let (tool, done) = (folder.join("bin/componentize-py"), folder.join("installed"));
    if done.exists() {
        return Ok(tool);
    }
    let python = std::env::var_os("MOZDEF_PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let missing = |why: String| BuildError::Tool { tool: "Python", why, remedy: REMEDY_PYTHON };
    std::fs::create_dir_all(cache).map_err(file_error(cache))?;
    let made = run(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&folder))
        .map_err(|error| missing(format!("{}: {error}", python.display())))?;
    if !made.status.success() {
        return Err(missing(format!("{} -m venv: {}", python.display(), tail(&made))));
    }
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    let pip = folder.join("bin/pip");
    let installed =
        run(Command::new(&pip).args(["install", "--quiet", "--disable-pip-version-check", &package]))
            .map_err(file_error(&pip))?;
    if !installed.status.success() {
        let why = format!("pip install {package} into {}: {}", folder.display(), tail(&installed));
        return Err(BuildError::Tool { tool: "componentize-py", why, remedy: REMEDY_PYPI });
    }
    std::fs::write(&done, package).map_err(file_error(&done))?;
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::{BuildError, check, python};

    #[test]
    fn what_cannot_become_a_plugin_is_told_at_once() {
        let good = "import re\nclass message(object):\n    pass\n";
        assert!(check("my_plugin2", good, "1").is_ok());
        for (name, text) in
            [("my-plugin", good), ("2fast", good), ("", good), ("wit_world", good), ("p", "x = 1")]
        {
            assert!(matches!(check(name, text, "1"), Err(BuildError::Source(_))), "{name}");
        }
        let cache = tempfile::tempdir().unwrap();
        let absent = python(&cache.path().join("absent.py"), "1", cache.path());
        assert!(matches!(absent, Err(BuildError::File { .. })));
    }
}
