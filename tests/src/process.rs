//! The binary under test in a process of its own: started, signalled, killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::Instant;

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Path of the binary under test: `MOZDEF_TEST_BINARY`, else beside this test, in the same build.
///
/// # Errors
/// It is not built.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MOZDEF_TEST_BINARY") {
        return Ok(path.into());
    }
    let this = std::env::current_exe()?;
    let beside = this.ancestors().map(|folder| folder.join("mozdef")).find(|path| path.is_file());
    beside.context("the mozdef binary is not built; `make test` builds it first")
}

/// A running command of `mozdef`. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    addresses: BTreeMap<String, String>,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its configuration; standard error is appended to `log`.
    ///
    /// # Errors
    /// The process cannot be made.
    pub fn spawn(
        config: &Path,
        command: &str,
        variables: &[(&str, &str)],
        log: &Path,
    ) -> anyhow::Result<Process> {
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(binary()?)
            .args(["--config", &config.display().to_string(), command])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start mozdef {command}"))?;
        let out = child.stdout.take().context("no standard output")?;
        Ok(Process {
            name: command.to_owned(),
            child,
            lines: BufReader::new(out).lines(),
            addresses: BTreeMap::new(),
            log: log.to_owned(),
        })
    }

    /// Reads its output until it says `ready`; other lines are names with an address.
    ///
    /// # Errors
    /// It ends before, or takes longer than [`PATIENCE`].
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.read_until("ready").await
    }

    /// Reads its output until the line of this name has come.
    ///
    /// # Errors
    /// As [`Process::ready`].
    pub async fn read_until(&mut self, wanted: &str) -> anyhow::Result<()> {
        let reading = async {
            while let Some(line) = self.lines.next_line().await? {
                let mut words = line.split_whitespace();
                let name = words.next().unwrap_or_default().to_owned();
                let is_wanted = name == wanted;
                self.addresses.insert(name, words.next().unwrap_or_default().to_owned());
                if is_wanted {
                    return anyhow::Ok(());
                }
            }
            bail!("mozdef {} ended before it said {wanted}; see {}", self.name, self.log.display())
        };
        let said = tokio::time::timeout(PATIENCE, reading).await;
        said.with_context(|| format!("mozdef {} was not {wanted} in time", self.name))?
    }

    /// The address that its output named, without a path: `http://127.0.0.1:40001`.
    pub fn address(&self, name: &str) -> String {
        let address = self.addresses.get(name).map(String::as_str).unwrap_or_default();
        let host = address.find("://").and_then(|at| address.get(at + 3..)).unwrap_or(address);
        let length = host.find('/').map_or(address.len(), |path| address.len() - host.len() + path);
        address.get(..length).unwrap_or(address).to_owned()
    }

    /// Process id; `None` when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Where its standard error goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal by name, such as `STOP`.
    ///
    /// # Errors
    /// It has ended.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.child.id().with_context(|| format!("mozdef {} has ended", self.name))?;
        send_signal(id, signal).await
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill mozdef {}", self.name))
    }

    /// SIGTERM; gives the exit code and how long it took.
    ///
    /// # Errors
    /// It had ended before, or does not end.
    pub async fn terminate(mut self) -> anyhow::Result<(i32, Duration)> {
        let started = Instant::now();
        self.signal("TERM").await?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.with_context(|| format!("mozdef {} did not end after SIGTERM", self.name))??;
        Ok((status.code().unwrap_or(-1), started.elapsed()))
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// There is no such process.
pub async fn send_signal(id: u32, signal: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().await?;
    anyhow::ensure!(sent.success(), "cannot send SIG{signal} to {id}");
    Ok(())
}

/// A number of kB in `/proc/<id>/status`, such as `VmRSS`; 0 when the process has ended.
pub fn memory_kb(id: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let row = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    row.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// CPU seconds of a process, at 100 ticks a second as Linux has it.
pub fn cpu_seconds(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| after_name.get(index).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// GET as JSON.
///
/// # Errors
/// No answer, or none of JSON.
pub async fn get_json(http: &reqwest::Client, url: &str) -> anyhow::Result<Value> {
    let body = http.get(url).send().await?.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{url}: {}", String::from_utf8_lossy(&body)))
}

/// Asks again and again until `condition` gives a value; the last refusal is the error.
///
/// # Errors
/// The condition is not met within [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    within(PATIENCE, what, condition).await
}

/// [`eventually`], with another patience.
///
/// # Errors
/// The condition is not met in time.
pub async fn within<T, F>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("gave up waiting: {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
