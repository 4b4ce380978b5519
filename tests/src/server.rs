//! The real `mozdef up` in a process of its own: started, asked, killed, started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `mozdef up`. Killed when dropped.
pub struct Server {
    /// Its process.
    child: Child,
    /// Address of the gateway, such as `http://127.0.0.1:40001`.
    pub gateway: String,
    /// Address of the index.
    pub index: String,
    /// Address of the admin listener.
    pub admin: String,
    /// For requests.
    pub http: reqwest::Client,
}

/// Path of the binary under test: beside this test, in the same build.
pub fn binary() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.ancestors().map(|folder| folder.join("mozdef")).find(|path| path.is_file());
    beside.context("the mozdef binary is not built; `make test` builds it first")
}

/// Runs a command of the binary to its end; gives exit code, standard output and standard error.
pub async fn command(arguments: &[&str], input: Option<&Path>) -> anyhow::Result<(i32, String, String)> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env_remove("MOZDEF_CONFIG").kill_on_drop(true);
    let input = match input {
        Some(file) => Stdio::from(std::fs::File::open(file)?),
        None => Stdio::null(),
    };
    let output = command.stdin(input).output().await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}

/// Writes a configuration on free ports of loopback.
pub fn write_config(folder: &Path, more: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join("mozdef.yaml");
    let data = folder.join("data");
    let text = format!(
        "log:\n  data: {}\nembedded:\n  listen: 127.0.0.1:0\nadmin:\n  listen: 127.0.0.1:0\ningest:\n  http:\n    listen: 127.0.0.1:0\n{more}",
        data.display()
    );
    std::fs::write(&file, text)?;
    Ok(file)
}

impl Server {
    /// Starts on a folder (again, if it was used before) and waits until it is ready.
    pub async fn start(folder: &Path, more_config: &str) -> anyhow::Result<Server> {
        let config = write_config(folder, more_config)?;
        Server::start_with(folder, &config).await
    }

    /// Starts with a configuration that is there already.
    pub async fn start_with(folder: &Path, config: &Path) -> anyhow::Result<Server> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("mozdef.log"))?;
        let mut child = Command::new(binary()?)
            .args(["--config", &config.display().to_string(), "up"])
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start mozdef")?;
        let out = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let (mut gateway, mut index, mut admin) = (String::new(), String::new(), String::new());
        let reading = async {
            while let Some(line) = lines.next_line().await? {
                let address = line.split_whitespace().nth(1).unwrap_or_default();
                match line.split_whitespace().next() {
                    Some("gateway") => address.trim_end_matches("/events").clone_into(&mut gateway),
                    Some("index") => address.clone_into(&mut index),
                    Some("admin") => address.trim_end_matches("/metrics").clone_into(&mut admin),
                    Some("ready") => return anyhow::Ok(()),
                    _ => {}
                }
            }
            bail!("mozdef ended before it was ready; see {}", folder.join("mozdef.log").display())
        };
        tokio::time::timeout(PATIENCE, reading).await.context("mozdef was not ready in time")??;
        Ok(Server {
            child,
            gateway,
            index,
            admin,
            http: reqwest::Client::builder().timeout(PATIENCE).build()?,
        })
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill mozdef")
    }

    /// SIGTERM; gives the exit code and how long it took.
    pub async fn terminate(mut self) -> anyhow::Result<(i32, Duration)> {
        let id = self.child.id().context("mozdef has ended")?;
        let started = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        anyhow::ensure!(sent.success(), "cannot send SIGTERM");
        let status =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.context("no end after SIGTERM")??;
        Ok((status.code().unwrap_or(-1), started.elapsed()))
    }

    /// Process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// GET as JSON.
    pub async fn get(&self, url: &str) -> anyhow::Result<Value> {
        let body = self.http.get(url).send().await?.bytes().await?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: {}", String::from_utf8_lossy(&body)))
    }

    /// POST to the gateway; gives status and body.
    pub async fn post(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> anyhow::Result<(u16, String)> {
        let url = format!("{}{path}", self.gateway);
        let response =
            self.http.post(url).header("content-type", media_type).body(body.into()).send().await?;
        let status = response.status().as_u16();
        Ok((status, String::from_utf8_lossy(&response.bytes().await?).into_owned()))
    }

    /// POST JSON to the index.
    pub async fn ask_index(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.index);
        let request = self.http.post(&url).header("content-type", "application/json").body(body.to_string());
        let body = request.send().await?.bytes().await?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: {}", String::from_utf8_lossy(&body)))
    }

    /// Every document of an index or alias, page by page, in order of a field whose values are (nearly) distinct:
    /// no page may end within equal values.
    pub async fn documents(&self, index: &str, order: &str) -> anyhow::Result<Vec<Value>> {
        const PAGE: usize = 10_000;
        let mut all = Vec::new();
        let mut after: Option<Value> = None;
        loop {
            let mut body =
                serde_json::json!({"size": PAGE, "query": {"match_all": {}}, "sort": [{order: "asc"}]});
            if let (Some(after), Some(object)) = (after.take(), body.as_object_mut()) {
                object.insert("search_after".to_owned(), after);
            }
            let path = format!("/{index}/_search?ignore_unavailable=true");
            let found = self.ask_index(&path, &body).await?;
            let hits = found.pointer("/hits/hits").and_then(Value::as_array).cloned();
            let hits = hits.with_context(|| format!("no hits in {found}"))?;
            after = hits.last().and_then(|hit| hit.get("sort").cloned());
            let done = hits.len() < PAGE;
            all.extend(hits);
            if done {
                return Ok(all);
            }
        }
    }

    /// Dead letters: (total, letters).
    pub async fn dead(&self) -> anyhow::Result<(u64, Vec<Value>)> {
        let found = self.get(&format!("{}/api/dead?size=10000", self.admin)).await?;
        let total = found.get("total").and_then(Value::as_u64).context("no total")?;
        Ok((total, found.get("letters").and_then(Value::as_array).cloned().unwrap_or_default()))
    }

    /// (in, out, dropped, dead) of a stage.
    pub async fn counts(&self, stage: &str) -> anyhow::Result<[u64; 4]> {
        let status = self.get(&format!("{}/api/status", self.admin)).await?;
        let number = |key: &str| status.pointer(&format!("/stages/{stage}/{key}")).and_then(Value::as_u64);
        let counts = [number("in"), number("out"), number("dropped"), number("dead")];
        let [Some(a), Some(b), Some(c), Some(d)] = counts else { bail!("no counts of {stage} in {status}") };
        Ok([a, b, c, d])
    }
}

/// Asks again and again until `condition` gives a value; the last refusal is the error.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
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
