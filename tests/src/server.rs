//! The real `mozdef up`: started, asked, killed, started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::index::Index;
use crate::process::{PATIENCE, Process, binary, get_json};
use crate::servers::fresh_prefix;

/// Holds what begins a folder's names on the cluster.
const PREFIX_FILE: &str = "kafka-prefix";

/// A running `mozdef up`. Killed when dropped.
pub struct Server {
    process: Process,
    /// Address of the gateway, such as `http://127.0.0.1:40001`.
    pub gateway: String,
    /// The index.
    pub index: Index,
    /// Address of the admin listener.
    pub admin: String,
    /// For requests.
    pub http: reqwest::Client,
}

/// Runs a command of the binary to its end; gives exit code, standard output and standard error.
///
/// # Errors
/// The binary cannot be run.
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

/// Whether the tests run over Kafka.
pub fn over_kafka() -> bool {
    std::env::var("MOZDEF_TEST_LOG").is_ok_and(|log| log == "kafka")
}

/// Writes a configuration on free ports of loopback, over the log that `MOZDEF_TEST_LOG` names: `local` (also when it
/// is not set), or `kafka` at `MOZDEF_TEST_KAFKA`. A folder keeps its names on the cluster.
///
/// # Errors
/// It cannot be written, or there is no such log.
pub fn write_config(folder: &Path, more: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join("mozdef.yaml");
    let data = folder.join("data");
    let log = match std::env::var("MOZDEF_TEST_LOG").unwrap_or_default().as_str() {
        "" | "local" => String::new(),
        "kafka" => kafka_section(folder)?,
        other => bail!("MOZDEF_TEST_LOG is `{other}`, not local or kafka; both are one after the other"),
    };
    let text = format!(
        "log:\n  data: {}\n{log}embedded:\n  listen: 127.0.0.1:0\nadmin:\n  listen: 127.0.0.1:0\ningest:\n  http:\n    listen: 127.0.0.1:0\n{more}",
        data.display()
    );
    std::fs::write(&file, text)?;
    Ok(file)
}

fn kafka_section(folder: &Path) -> anyhow::Result<String> {
    let brokers = std::env::var("MOZDEF_TEST_KAFKA")
        .context("MOZDEF_TEST_LOG=kafka needs a broker: run the tests by `tests/servers/with kafka -- …`")?;
    let kept = folder.join(PREFIX_FILE);
    let prefix = match std::fs::read_to_string(&kept) {
        Ok(prefix) => prefix,
        Err(_) => {
            let prefix = fresh_prefix();
            std::fs::write(&kept, &prefix)?;
            prefix
        }
    };
    let topics = "topics: { partitions: 2, replication: 1 }";
    Ok(format!("  kafka:\n    brokers: [\"{brokers}\"]\n    prefix: \"{prefix}\"\n    {topics}\n"))
}

/// Makes the topics of a folder's configuration, once, where it is over Kafka.
async fn make_topics(folder: &Path, config: &Path) -> anyhow::Result<()> {
    let made = folder.join("topics-made");
    if !folder.join(PREFIX_FILE).exists() || made.exists() {
        return Ok(());
    }
    let (code, _, errors) =
        command(&["--config", &config.display().to_string(), "topics", "apply"], None).await?;
    ensure!(code == 0, "mozdef topics apply: {errors}");
    std::fs::write(made, "")?;
    Ok(())
}

impl Server {
    /// Starts on a folder (again, if it was used before) and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(folder: &Path, more_config: &str) -> anyhow::Result<Server> {
        let config = write_config(folder, more_config)?;
        Server::start_with(folder, &config).await
    }

    /// The same with environment variables.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_in(
        folder: &Path,
        more_config: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Server> {
        let config = write_config(folder, more_config)?;
        Server::launch(folder, &config, variables).await
    }

    /// Starts with a configuration that is there already.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_with(folder: &Path, config: &Path) -> anyhow::Result<Server> {
        Server::launch(folder, config, &[]).await
    }

    async fn launch(folder: &Path, config: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Server> {
        make_topics(folder, config).await?;
        let mut process = Process::spawn(config, "up", variables, &folder.join("mozdef.log"))?;
        process.ready().await?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Server {
            gateway: process.address("gateway"),
            index: Index::at(&process.address("index"), &http),
            admin: process.address("admin"),
            process,
            http,
        })
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// SIGTERM; gives the exit code and how long it took.
    ///
    /// # Errors
    /// It does not end.
    pub async fn terminate(self) -> anyhow::Result<(i32, Duration)> {
        self.process.terminate().await
    }

    /// What its output named: an address, with its path.
    pub fn said(&self, name: &str) -> String {
        self.process.address(name)
    }

    /// Process id.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// GET as JSON.
    ///
    /// # Errors
    /// No answer, or none of JSON.
    pub async fn get(&self, url: &str) -> anyhow::Result<Value> {
        get_json(&self.http, url).await
    }

    /// POST to the gateway; gives status and body.
    ///
    /// # Errors
    /// No answer.
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

    /// Dead letters: (total, letters).
    ///
    /// # Errors
    /// No answer, or one without a total.
    pub async fn dead(&self) -> anyhow::Result<(u64, Vec<Value>)> {
        let found = self.get(&format!("{}/api/dead?size=10000", self.admin)).await?;
        let total = found.get("total").and_then(Value::as_u64).context("no total")?;
        Ok((total, found.get("letters").and_then(Value::as_array).cloned().unwrap_or_default()))
    }

    /// (in, out, dropped, dead) of a stage.
    ///
    /// # Errors
    /// No answer, or no such stage.
    pub async fn counts(&self, stage: &str) -> anyhow::Result<[u64; 4]> {
        let status = self.get(&format!("{}/api/status", self.admin)).await?;
        let number = |key: &str| status.pointer(&format!("/stages/{stage}/{key}")).and_then(Value::as_u64);
        let counts = [number("in"), number("out"), number("dropped"), number("dead")];
        let [Some(a), Some(b), Some(c), Some(d)] = counts else { bail!("no counts of {stage} in {status}") };
        Ok([a, b, c, d])
    }
}
