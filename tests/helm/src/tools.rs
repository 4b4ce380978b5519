//! The tools that judge the chart: found, or installed from the package registries, and run.
//!
//! In: a tool's name and arguments. Out: what it said. Never: a silent skip; where a registry does not answer, the
//! tests say so and fail unless `ALLOW_SKIP=1`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, bail, ensure};

/// What a tool said.
pub struct Said {
    /// Whether it ended with 0.
    pub is_good: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Whether the tools are there; says loudly where they are not.
///
/// # Errors
/// They cannot be had, and `ALLOW_SKIP` is not 1.
pub fn ready() -> anyhow::Result<bool> {
    static MISSING: LazyLock<Option<String>> =
        LazyLock::new(|| install().err().map(|error| format!("{error:#}")));
    let Some(missing) = MISSING.as_ref() else { return Ok(true) };
    let is_allowed = std::env::var_os("ALLOW_SKIP").is_some_and(|value| value == "1");
    ensure!(is_allowed, "SKIPPED (registry): {missing}");
    println!("SKIPPED (registry): {missing}");
    Ok(false)
}

fn install() -> anyhow::Result<()> {
    let output = Command::new(super::project("tests/setup/chart")).output().context("tests/setup/chart")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn bin() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/mozdef/tools/bin")
}

/// The `mozdef` binary of the same build.
///
/// # Errors
/// It is not built.
pub fn mozdef() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.ancestors().map(|folder| folder.join("mozdef")).find(|path| path.is_file());
    beside.context("the mozdef binary is not built; `make test` builds it first")
}

/// Runs a tool of the cache.
///
/// # Errors
/// It cannot be started.
pub fn run(tool: &str, arguments: &[&str], input: &str) -> anyhow::Result<Said> {
    run_program(&bin().join(tool), arguments, input)
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started.
pub fn run_program(program: &Path, arguments: &[&str], input: &str) -> anyhow::Result<Said> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("MOZDEF_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let Some(mut stdin) = child.stdin.take() else { bail!("no standard input") };
    let text = input.to_owned();
    // A thread, so that neither side waits for the other with a full pipe.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    // Whoever does not read its input to the end has closed it; what it says tells why.
    drop(writer.join());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { is_good: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
}
