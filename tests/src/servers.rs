//! Real servers beside the tests: the one that `tests/servers/with` has started, and brokers of a test's own.
//!
//! In: `MOZDEF_TEST_KAFKA`, `MOZDEF_TEST_OPENSEARCH`, the scripts in `tests/servers`. Out: addresses, processes.
//! Never: a test that passes because its server is absent, where `MOZDEF_TEST_REQUIRE` names the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use model::time::Clock;

/// The address of a server that `tests/servers/with` has started, by its name (`kafka`, `opensearch`).
///
/// `None`, said loudly, when there is none.
///
/// # Panics
/// There is none, and `MOZDEF_TEST_REQUIRE` (names between commas) wants it.
#[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn needs(server: &str) -> Option<String> {
    let found = std::env::var(format!("MOZDEF_TEST_{}", server.to_uppercase())).ok();
    if let Some(address) = found.filter(|address| !address.is_empty()) {
        return Some(address);
    }
    let required = std::env::var("MOZDEF_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == server),
        "MOZDEF_TEST_REQUIRE names {server}, but there is none: run the tests by `tests/servers/with {server} -- …`"
    );
    eprintln!("SKIPPED (needs {})", if server == "kafka" { "Kafka" } else { server });
    None
}

/// A prefix of topics, groups and transactional ids that nobody else has.
pub fn fresh_prefix() -> String {
    format!("t{:x}-{:x}.", std::process::id(), Clock::System.now().micros())
}

/// What a broker of a test's own is started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaOptions {
    /// Listeners with SASL and TLS as well: `Kafka::said("scram")` and so on.
    pub secure: bool,
    /// An authorizer that refuses everybody but the clients of [`Kafka::bootstrap`].
    pub acl: bool,
}

/// A Kafka broker of a test's own. Killed when dropped; its folder stays.
pub struct Kafka(Own);

impl Kafka {
    /// Starts a broker on a folder (again, if it was used before: same port, same data) and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(folder: &Path, options: KafkaOptions) -> anyhow::Result<Kafka> {
        let mut arguments = Vec::new();
        arguments.extend(options.secure.then_some("--secure"));
        arguments.extend(options.acl.then_some("--acl"));
        Ok(Kafka(Own::start("kafka", folder, "bootstrap", &arguments).await?))
    }

    /// Address for clients without login, as `host:port`.
    pub fn bootstrap(&self) -> &str {
        self.said("bootstrap")
    }
}

impl std::ops::Deref for Kafka {
    type Target = Own;

    fn deref(&self) -> &Own {
        &self.0
    }
}

impl std::ops::DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut Own {
        &mut self.0
    }
}

/// A server of a test's own, by its script in `tests/servers`. Killed when dropped; its folder stays.
pub struct Own {
    script: &'static str,
    folder: PathBuf,
    /// Its first address.
    address: &'static str,
    said: BTreeMap<String, String>,
}

impl Own {
    /// Starts it on a folder and waits until it answers. `address` is the first name that it says.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(
        script: &'static str,
        folder: &Path,
        address: &'static str,
        arguments: &[&str],
    ) -> anyhow::Result<Own> {
        let mut own = Own { script, folder: folder.to_owned(), address, said: BTreeMap::new() };
        own.launch(arguments).await?;
        Ok(own)
    }

    /// Starts it again after [`Own::stop`] or [`Own::kill`]: same port, same data, same options.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.launch(&[]).await
    }

    async fn launch(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let line = script(self.script, "start", &self.folder, arguments).await?;
        self.said = line.split_whitespace().filter_map(|word| word.split_once('=')).map(owned).collect();
        self.said.get(self.address).with_context(|| format!("no address in {line:?}"))?;
        Ok(())
    }

    /// SIGTERM; returns when it has ended.
    ///
    /// # Errors
    /// The script fails.
    pub async fn stop(&self) -> anyhow::Result<()> {
        script(self.script, "stop", &self.folder, &[]).await.map(drop)
    }

    /// SIGKILL; returns when it has ended.
    ///
    /// # Errors
    /// The script fails.
    pub async fn kill(&self) -> anyhow::Result<()> {
        script(self.script, "kill", &self.folder, &[]).await.map(drop)
    }

    /// Runs an admin tool, such as `AclCommand` of Kafka or `list_queues` of RabbitMQ; gives its output.
    ///
    /// # Errors
    /// The tool fails.
    pub async fn tool(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec![name];
        all.extend(arguments);
        script(self.script, "tool", &self.folder, &all).await
    }

    /// What it said at its start: addresses, files, `pid`. Empty for what is unknown.
    pub fn said(&self, name: &str) -> &str {
        self.said.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Process id, for signals such as STOP and CONT.
    pub fn id(&self) -> Option<u32> {
        self.said("pid").parse().ok()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // A server that stays is found by its folder; there is nobody to tell.
        if command(self.script, "kill", &self.folder, &[]).stdin(Stdio::null()).output().is_err() {}
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn command(server: &str, action: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(server));
    command.arg(action).arg(folder).args(arguments);
    command
}

async fn script(server: &str, action: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::from(command(server, action, folder, arguments));
    let output = command.stdin(Stdio::null()).output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{server} {action}: {}", text(&output.stderr));
    Ok(text(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_keeps_its_topics_over_a_kill() {
        if needs("kafka").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut kafka = Kafka::start(folder.path(), KafkaOptions::default()).await.unwrap();
        let address = kafka.bootstrap().to_owned();
        kafka.tool("TopicCommand", &["--create", "--topic", "kept"]).await.unwrap();
        kafka.kill().await.unwrap();
        kafka.start_again().await.unwrap();
        assert_eq!(kafka.bootstrap(), address);
        assert_eq!(kafka.tool("TopicCommand", &["--list"]).await.unwrap().trim(), "kept");
        kafka.stop().await.unwrap();
        kafka.tool("TopicCommand", &["--list"]).await.unwrap_err();
    }
}
