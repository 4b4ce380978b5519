//! The image: a Dockerfile that a linter likes, small, without root, and whose context holds what the build needs.

use std::path::Path;
use std::process::Command;

use chart::{project, tools};

fn instructions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(project("Dockerfile")).unwrap();
    let text = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(a, b)| (a.to_owned(), b.trim().to_owned()))
        .collect()
}

fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(other, _)| other == name).map(|(_, rest)| rest).collect()
}

#[test]
fn a_linter_finds_nothing() {
    if !tools::ready().unwrap() {
        return;
    }
    let file = project("Dockerfile").display().to_string();
    let said = tools::run("hadolint", &["--failure-threshold", "style", &file], "").unwrap();
    assert!(said.is_good && said.out.trim().is_empty(), "{}{}", said.out, said.err);
}

#[test]
fn the_last_stage_has_no_root_no_tools_and_no_secrets() {
    let (from, users, exposed) = (all("FROM"), all("USER"), all("EXPOSE"));
    assert!(from.len() >= 2, "{from:?}");
    for image in &from {
        let name = image.split(' ').find(|word| !word.starts_with("--")).unwrap();
        let tag = name.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{image} has no fixed tag");
    }
    let (user, group) = users.last().unwrap().split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    // The ports of the defaults, which the chart listens on too.
    let config = model::config::Config::default();
    let ports = [config.ingest.http.listen.port(), config.admin.listen.port()];
    assert_eq!(exposed.join(" "), ports.map(|port| port.to_string()).join(" "));
    let chart = std::fs::read_to_string(project("helm/mozdef/templates/_config.tpl")).unwrap();
    for (name, port) in ["gatewayPort", "adminPort"].iter().zip(ports) {
        assert!(chart.contains(&format!("\"mozdef.{name}\" -}}}}{port}{{{{-")), "{name} is not {port}");
    }
    let last = instructions();
    let last = last.iter().rposition(|(name, _)| name == "FROM").map(|at| &last[at..]).unwrap();
    assert!(last.iter().all(|(name, _)| name != "RUN"), "the last stage has no shell");
    for (name, rest) in instructions() {
        let text = rest.to_lowercase();
        assert!(!["password", "secret", "token"].iter().any(|word| text.contains(word)), "{name} {rest}");
        assert!(name != "ADD", "ADD fetches; use COPY");
    }
}

#[test]
fn the_toolchain_is_the_workspace_s() {
    let manifest = std::fs::read_to_string(project("Cargo.toml")).unwrap();
    let needed =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let builder = &all("FROM")[0];
    assert!(builder.contains(&format!("rust:{needed}-")), "{builder}: the workspace needs {needed}");
}

#[test]
fn the_chart_is_of_the_workspace_s_version() {
    let manifest = std::fs::read_to_string(project("Cargo.toml")).unwrap();
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    let chart = std::fs::read_to_string(project("helm/mozdef/Chart.yaml")).unwrap();
    for key in ["version", "appVersion"] {
        assert!(chart.lines().any(|line| line == format!("{key}: {version}")), "{key} is not {version}");
    }
}

/// The chart runs the image as the user that the image names.
#[test]
fn chart_and_image_agree_on_the_user() {
    let pods = std::fs::read_to_string(project("helm/mozdef/templates/_stage.tpl")).unwrap();
    let users = all("USER");
    let (user, group) = users.last().unwrap().split_once(':').unwrap();
    assert!(
        pods.contains(&format!("runAsUser: {user}\n")) && pods.contains(&format!("runAsGroup: {group}\n"))
    );
}

/// What `.dockerignore` leaves is a workspace that cargo can read, and nothing heavy or private.
#[test]
fn the_context_is_a_whole_workspace() {
    let ignored: Vec<String> = std::fs::read_to_string(project(".dockerignore"))
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(ignored.iter().all(|line| !line.contains(['*', '!', '?'])), "this test knows plain paths only");
    for name in [".git", "target", "mozdef-data", ".cache"] {
        assert!(ignored.iter().any(|line| line == name), "{name} is not ignored");
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&project("."), folder.path(), Path::new(""), &ignored);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for copied in all("COPY").iter().filter(|copy| !copy.contains("--from=")) {
        let source = copied.split(' ').next().unwrap();
        assert!(folder.path().join(source).exists(), "COPY {copied}: not in the context");
    }
}

fn copy(from: &Path, to: &Path, inner: &Path, ignored: &[String]) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let inner = inner.join(entry.file_name());
        if ignored.iter().any(|path| Path::new(path) == inner) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target, &inner, ignored);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
