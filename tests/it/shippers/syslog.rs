//! rsyslog and syslog-ng of Debian's packages, and `mozdef send`, over TCP, TLS and UDP.
//!
//! Needs: `tests/servers/with shippers`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tests::process::eventually;
use tests::server::{Server, command};
use tests::servers::needs;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::snippet;

/// Messages over a stream: none may be missing.
const STREAM: usize = 3000;
/// Messages in datagrams: few, so that no kernel drops one.
const DATAGRAMS: usize = 100;

/// A running MozDef with a listener of each kind.
struct Site {
    folder: tempfile::TempDir,
    server: Server,
    ports: BTreeMap<&'static str, String>,
}

impl Site {
    async fn start() -> anyhow::Result<Site> {
        let folder = tempfile::tempdir()?;
        certificates(folder.path())?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let more = format!(
            "  syslog:\n    tcp: {{ listen: 127.0.0.1:0 }}\n    udp: {{ listen: 127.0.0.1:0, transport: udp }}\n    \
             tls: {{ listen: 127.0.0.1:0, transport: tls, tls: {{ certificate_file: {}, key_file: {}, client_ca_file: {} }} }}\n",
            path("server.pem"),
            path("server.key"),
            path("ca.pem")
        );
        let server = Server::start(folder.path(), &more).await?;
        let port = |name: &str| {
            let address = server.said(&format!("syslog-{name}"));
            address.rsplit(':').next().unwrap_or_default().to_owned()
        };
        let ports = BTreeMap::from(["tcp", "udp", "tls"].map(|name| (name, port(name))));
        Ok(Site { folder, server, ports })
    }

    /// A snippet with our addresses and files in it.
    fn snippet(&self, name: &str, transport: &str, own: &Path) -> anyhow::Result<String> {
        let port = self.ports.get(transport).context("no such listener")?;
        let mut text = snippet(name)?
            .replace("target=\"mozdef.example.org\"", "target=\"127.0.0.1\"")
            .replace("(\"mozdef.example.org\" port", "(\"127.0.0.1\" port")
            .replace("/etc/mozdef", &self.folder.path().display().to_string())
            .replace("/var/lib/syslog-ng", &own.display().to_string());
        for documented in ["5514", "6514", "514"] {
            text = text
                .replace(&format!("port=\"{documented}\""), &format!("port=\"{port}\""))
                .replace(&format!("port({documented})"), &format!("port({port})"));
        }
        Ok(text)
    }

    /// Waits until each line of this name is indexed once, with what the header said.
    async fn arrived(&self, name: &str, count: usize, principal: &str) -> anyhow::Result<()> {
        eventually(&format!("every line of {name} is there once"), || async {
            let fields = ["details.line", "details.eventsourceipaddress", "category"];
            let mut seen = BTreeMap::new();
            for document in self.server.index.documents("events*", "details.line", &fields).await? {
                let source = &document["_source"];
                let line = source["details"]["line"].as_str().unwrap_or_default();
                let Some(number) = line.strip_prefix(&format!("{name}-")) else { continue };
                ensure!(source["details"]["eventsourceipaddress"] == "127.0.0.1", "{source}");
                ensure!(source["category"] == "syslog", "{source}");
                *seen.entry(number.to_owned()).or_insert(0) += 1;
            }
            let right = (0..count).filter(|number| seen.get(&number.to_string()) == Some(&1)).count();
            ensure!(right == count && seen.len() == count, "{right} of {count} are there once");
            Ok(())
        })
        .await
        .with_context(|| format!("{name} by {principal}"))
    }
}

/// An authority, and certificates for server and client, by openssl.
fn certificates(folder: &Path) -> anyhow::Result<()> {
    let openssl = |arguments: &str| -> anyhow::Result<()> {
        let output = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .context("openssl cannot be run")?;
        ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem")?;
    std::fs::write(
        folder.join("names"),
        "subjectAltName=DNS:mozdef.example.org,DNS:localhost,IP:127.0.0.1\n",
    )?;
    for name in ["server", "client"] {
        let subject = if name == "server" { "mozdef.example.org" } else { "relay-7" };
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"
        ))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out {name}.pem"
        ))?;
    }
    Ok(())
}

/// A line that is found again by `details.line`.
fn line(name: &str, number: usize) -> String {
    format!("{{\"summary\":\"hello\",\"line\":\"{name}-{number}\"}}\n")
}

/// A folder of a shipper with its input; the file is written before it starts.
fn input(site: &Site, name: &str, count: usize) -> anyhow::Result<(PathBuf, PathBuf)> {
    let own = site.folder.path().join(name);
    std::fs::create_dir(&own)?;
    let file = own.join("in.log");
    let lines: String = (0..count).map(|number| line(name, number)).collect();
    std::fs::write(&file, lines)?;
    Ok((own, file))
}

fn run(root: &str, program: &str, arguments: &[String], own: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(own.join("log"))?;
    Command::new(format!("{root}/usr/sbin/{program}"))
        .args(arguments)
        .env("LD_LIBRARY_PATH", format!("{root}/libraries"))
        .current_dir(own)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))
}

fn rsyslog(site: &Site, root: &str, name: &str, transport: &str, count: usize) -> anyhow::Result<Child> {
    let (own, file) = input(site, name, count)?;
    let action = site.snippet(name, transport, &own)?;
    let config = format!(
        "global(workDirectory=\"{own}\")\nmodule(load=\"imfile\")\n\
         input(type=\"imfile\" File=\"{}\" Tag=\"app:\")\n{action}\n",
        file.display(),
        own = own.display()
    );
    std::fs::write(own.join("rsyslog.conf"), config)?;
    let path = |name: &str| own.join(name).display().to_string();
    let arguments = [
        "-n".to_owned(),
        "-f".to_owned(),
        path("rsyslog.conf"),
        "-i".to_owned(),
        path("pid"),
        format!("-M{root}/rsyslog-modules"),
    ];
    run(root, "rsyslogd", &arguments, &own)
}

fn syslog_ng(site: &Site, root: &str, name: &str, transport: &str, count: usize) -> anyhow::Result<Child> {
    let (own, file) = input(site, name, count)?;
    let destination = site.snippet(name, transport, &own)?;
    let config = format!(
        "@version: 3.38\nsource s_src {{ file(\"{}\" program-override(\"app\") flags(no-parse)); }};\n{destination}\n",
        file.display()
    );
    std::fs::write(own.join("syslog-ng.conf"), config)?;
    let path = |option: &str, name: &str| format!("--{option}={}", own.join(name).display());
    let arguments = [
        "--foreground".to_owned(),
        "--no-caps".to_owned(),
        format!("--module-path={root}/syslog-ng-modules"),
        path("cfgfile", "syslog-ng.conf"),
        path("persist-file", "persist"),
        path("pidfile", "pid"),
        path("control", "control"),
    ];
    run(root, "syslog-ng", &arguments, &own)
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_and_syslog_ng_lose_and_double_nothing() -> anyhow::Result<()> {
    let Some(root) = needs("shippers") else { return Ok(()) };
    let site = Site::start().await?;
    let root = root.as_str();
    let mut running = vec![
        rsyslog(&site, root, "rsyslog-tcp", "tcp", STREAM)?,
        rsyslog(&site, root, "rsyslog-tls", "tls", STREAM)?,
        syslog_ng(&site, root, "syslog-ng-tcp", "tcp", STREAM)?,
        syslog_ng(&site, root, "syslog-ng-tls", "tls", STREAM)?,
        syslog_ng(&site, root, "syslog-ng-network", "tcp", STREAM)?,
    ];
    for name in ["rsyslog-tcp", "rsyslog-tls", "syslog-ng-tcp", "syslog-ng-tls", "syslog-ng-network"] {
        let arrived = site.arrived(name, STREAM, "a stream").await;
        let log = std::fs::read_to_string(site.folder.path().join(name).join("log")).unwrap_or_default();
        arrived.with_context(|| format!("{name} said: {log}"))?;
    }
    running.push(rsyslog(&site, root, "rsyslog-udp", "udp", DATAGRAMS)?);
    running.push(syslog_ng(&site, root, "syslog-ng-udp", "udp", DATAGRAMS)?);
    for name in ["rsyslog-udp", "syslog-ng-udp"] {
        let arrived = site.arrived(name, DATAGRAMS, "datagrams").await;
        let log = std::fs::read_to_string(site.folder.path().join(name).join("log")).unwrap_or_default();
        arrived.with_context(|| format!("{name} said: {log}"))?;
    }
    let (dead, letters) = site.server.dead().await?;
    ensure!(dead == 0, "{dead} dead letters, such as {:?}", letters.first());
    for mut shipper in running {
        shipper.kill().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mozdef_send_speaks_syslog() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let (_, file) = input(&site, "sent-tcp", 2000)?;
    let (_, datagrams) = input(&site, "sent-udp", DATAGRAMS)?;
    let (_, encrypted) = input(&site, "sent-tls", 2000)?;
    let path = |name: &str| site.folder.path().join(name).display().to_string();
    for (scheme, transport, file) in
        [("syslog", "tcp", &file), ("syslog+udp", "udp", &datagrams), ("syslog+tls", "tls", &encrypted)]
    {
        let to = format!("{scheme}://127.0.0.1:{}", site.ports[transport]);
        let output = Command::new(tests::process::binary()?)
            .args(["send", "--to", &to, &file.display().to_string()])
            .env("MOZDEF_TLS_CA", path("ca.pem"))
            .env("MOZDEF_TLS_CERTIFICATE", path("client.pem"))
            .env("MOZDEF_TLS_KEY", path("client.key"))
            .output()
            .await?;
        ensure!(output.status.success(), "{to}: {}", String::from_utf8_lossy(&output.stderr));
    }
    site.arrived("sent-tcp", 2000, "mozdef send").await?;
    site.arrived("sent-udp", DATAGRAMS, "mozdef send").await?;
    site.arrived("sent-tls", 2000, "mozdef send").await?;
    let (code, _, errors) =
        command(&["send", "--to", "syslog://127.0.0.1:1", &file.display().to_string()], None).await?;
    ensure!(code == 1 && errors.contains("ingest.syslog"), "{code}: {errors}");
    Ok(())
}

/// Writes numbered lines until the connection breaks or the time is over; gives how many were handed to the kernel, and
/// the connection.
async fn write_lines(
    port: &str,
    stop: tokio::sync::oneshot::Receiver<()>,
) -> anyhow::Result<(usize, TcpStream)> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
    let (mut written, mut stop) = (0, stop);
    while stop.try_recv().is_err() {
        let lines: String =
            (written..written + 20).map(|number| format!("<13>{}", line("kill", number))).collect();
        if stream.write_all(lines.as_bytes()).await.is_err() {
            break;
        }
        written += 20;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok((written, stream))
}

/// Numbers of the lines that are indexed, in order; each is there once.
async fn numbers(server: &Server) -> anyhow::Result<Vec<usize>> {
    let mut found = Vec::new();
    for document in server.index.documents("events*", "details.line", &["details.line"]).await? {
        let line = document["_source"]["details"]["line"].as_str().unwrap_or_default();
        found.extend(line.strip_prefix("kill-").and_then(|number| number.parse::<usize>().ok()));
    }
    found.sort_unstable();
    let count = found.len();
    found.dedup();
    ensure!(found.len() == count, "{} lines are there twice", count - found.len());
    Ok(found)
}

/// The numbers, once everything that is in raw is in the index, and can be found there.
async fn settled(server: &Server) -> anyhow::Result<Vec<usize>> {
    let last = std::cell::Cell::new(None);
    eventually("all of raw is indexed", || async {
        let text = server.http.get(format!("{}/metrics", server.admin)).send().await?.text().await?;
        // Not of the correlator: it takes its time to say that it has read the clock's beats.
        let lag_of = |group| tests::site::sum_of(&text, "mozdef_lag_records", group);
        let lag = lag_of("group=\"mozdef-normalizer\"") + lag_of("group=\"mozdef-event-sink\"");
        ensure!(text.contains("mozdef_lag_records{") && lag == 0.0, "{lag} records of lag");
        // What the index has taken is found within its time of refresh.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let found = numbers(server).await?;
        let before = last.replace(Some(found.len()));
        ensure!(before == Some(found.len()), "{} lines are found, {before:?} before", found.len());
        Ok(found)
    })
    .await
}

const LISTENER: &str = "  syslog:\n    tcp: { listen: 127.0.0.1:0 }\n";

fn port_of(server: &Server) -> String {
    server.said("syslog-tcp").rsplit(':').next().unwrap_or_default().to_owned()
}

/// Syslog has no acknowledgements: after kill -9 what was in flight is lost, and nothing else, and nothing is doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_listener_loses_only_what_was_in_flight() -> anyhow::Result<()> {
    let seed = tests::random::seed()?;
    println!("seed {seed}");
    let mut random = tests::random::Random::new(seed);
    for _ in 0..tests::data::scaled(3) {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path(), LISTENER).await?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let port = port_of(&server);
        let writing = tokio::spawn(async move { write_lines(&port, stopped).await });
        tokio::time::sleep(Duration::from_millis(300 + random.below(900))).await;
        server.kill().await?;
        drop(stop);
        let (written, _stream) = writing.await??;
        let server = Server::start(folder.path(), LISTENER).await?;
        let found = settled(&server).await?;
        let prefix = found.iter().enumerate().all(|(place, number)| place == *number);
        ensure!(prefix, "lines in the middle are missing: {found:?}");
        // One batch, and the kernel's buffer of a sender that writes ten lines a millisecond.
        ensure!(written - found.len() <= 4000, "{} of {written} are in the index", found.len());
        println!("{written} written, {} in the index", found.len());
        server.kill().await?;
    }
    Ok(())
}

/// SIGTERM: what the kernel had taken before is in raw once.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_told_to_end_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), LISTENER).await?;
    let port = port_of(&server);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let writing = tokio::spawn(async move { write_lines(&port, stopped).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.send(()).map_err(|()| anyhow::anyhow!("the sender has ended"))?;
    let (written, _stream) = writing.await??;
    let (code, took) = server.terminate().await?;
    ensure!(code == 0 && took < Duration::from_secs(8), "it ended with {code} after {took:?}");
    let server = Server::start(folder.path(), LISTENER).await?;
    let found = settled(&server).await?;
    ensure!(found.len() == written, "{} of {written}", found.len());
    ensure!(found.last() == Some(&(written - 1)), "other lines than were written");
    server.kill().await
}
