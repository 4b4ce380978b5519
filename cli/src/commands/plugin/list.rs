//! `mozdef plugin list`: the plugins of a folder, and how they fare.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use model::config::Config;
use plugins::tables::NoTables;
use plugins::{Cache, Loader, Store, digest_of};
use serde_json::{Value, json};

use super::arguments::List;
use super::{short, store};
use crate::output;

/// Longest wait for a running MozDef.
const WAIT: Duration = Duration::from_secs(2);

/// One plugin.
struct Row {
    name: String,
    version: String,
    digest: String,
    state: String,
    bytes: usize,
    kept: usize,
}

/// Runs the command.
pub(super) fn run(config: &Config, options: &List) -> anyhow::Result<ExitCode> {
    let store = store(config, options.plugins.as_ref())?;
    let loader = Loader::new(
        config.normalize.plugins.clone(),
        Cache::of(&config.normalize.plugins),
        Arc::new(NoTables),
        None,
    );
    let rows: Vec<Row> =
        store.names()?.into_iter().map(|name| row(&store, &loader, name)).collect::<std::io::Result<_>>()?;
    let metrics = metrics(config, options.admin.as_deref());
    let figures = |row: &Row| metrics.as_deref().and_then(|text| Figures::read(text, &row.name));
    if options.json {
        let rows = rows.iter().map(|row| {
            let figures = figures(row);
            json!({
                "name": row.name, "version": row.version, "digest": row.digest, "state": row.state,
                "bytes": row.bytes, "versions": row.kept,
                "events": figures.map(|f| f.events), "microseconds": figures.and_then(|f| f.microseconds()),
                "failed_calls": figures.map(|f| f.failed_calls),
            })
        });
        output::json(&Value::Array(rows.collect()));
        return Ok(ExitCode::SUCCESS);
    }
    let cells = rows.iter().map(|row| {
        let figures = figures(row);
        let figure = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            row.name.clone(),
            row.version.clone(),
            short(&row.digest).to_owned(),
            row.state.clone(),
            row.bytes.div_ceil(1024).to_string(),
            row.kept.to_string(),
            figure(figures.map(|f| f.events.to_string())),
            figure(figures.and_then(|f| f.microseconds()).map(|time| format!("{time:.1}"))),
            figure(figures.map(|f| f.failed_calls.to_string())),
        ]
    });
    let head = ["NAME", "VERSION", "DIGEST", "STATE", "KIB", "KEPT", "EVENTS", "µS/EVENT", "FAILED"];
    output::line(&output::table(&head, cells.collect()));
    Ok(ExitCode::SUCCESS)
}

fn row(store: &Store, loader: &Loader, name: String) -> std::io::Result<Row> {
    let (bytes, signature) = store.read(&name)?;
    let digest = digest_of(&bytes);
    let (mut version, mut state) = (String::new(), "runs".to_owned());
    match loader.load(&name, &bytes, signature.as_deref()) {
        Ok(loaded) => version = loaded.description.version,
        Err(error) => state = format!("refused: {error}"),
    }
    if let Some(why) = store.quarantined(&name, &digest) {
        state = format!("quarantined: {why}");
    }
    if store.is_disabled(&name) {
        state = "disabled".to_owned();
    }
    Ok(Row { kept: store.kept(&name).len(), name, version, digest, state, bytes: bytes.len() })
}

/// What a running MozDef has counted of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    events: u64,
    seconds: f64,
    failed_calls: u64,
}

impl Figures {
    /// Microseconds for each event.
    fn microseconds(self) -> Option<f64> {
        (self.events > 0).then(|| self.seconds * 1e6 / self.events as f64)
    }

    /// Out of the text of `/metrics`; none where the plugin is not in it.
    fn read(text: &str, name: &str) -> Option<Figures> {
        let mut figures = Figures::default();
        let mut found = false;
        let own = format!("plugin=\"{name}\"");
        for line in text.lines().filter(|line| !line.starts_with('#') && line.contains(&own)) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            found = true;
            match series.split('{').next().unwrap_or_default() {
                "mozdef_plugin_runs_total" => figures.events = figures.events.saturating_add(value as u64),
                "mozdef_plugin_seconds_total" => figures.seconds += value,
                "mozdef_plugin_calls_total" if !series.contains("outcome=\"ok\"") => {
                    figures.failed_calls = figures.failed_calls.saturating_add(value as u64);
                }
                _ => {}
            }
        }
        found.then_some(figures)
    }
}

/// The metrics of a running MozDef, where one answers.
fn metrics(config: &Config, admin: Option<&str>) -> Option<String> {
    let base = admin.map_or_else(|| format!("http://{}", config.admin.listen), str::to_owned);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let ask = async {
        let url = format!("{}/metrics", base.trim_end_matches('/'));
        crate::client::http().ok()?.get(url).timeout(WAIT).send().await.ok()?.text().await.ok()
    };
    runtime.block_on(ask)
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_come_out_of_the_metrics() {
        let text = "# HELP mozdef_plugin_runs_total x plugin=\"p\"\n\
            mozdef_plugin_runs_total{outcome=\"changed\",plugin=\"p\"} 90\n\
            mozdef_plugin_runs_total{outcome=\"failed\",plugin=\"p\"} 10\n\
            mozdef_plugin_runs_total{outcome=\"changed\",plugin=\"pp\"} 1\n\
            mozdef_plugin_seconds_total{plugin=\"p\"} 0.005\n\
            mozdef_plugin_calls_total{outcome=\"ok\",plugin=\"p\"} 4\n\
            mozdef_plugin_calls_total{outcome=\"trap\",plugin=\"p\"} 2\n";
        let figures = Figures::read(text, "p").unwrap();
        assert_eq!((figures.events, figures.failed_calls), (100, 2));
        assert!((figures.microseconds().unwrap() - 50.0).abs() < 1e-6);
        assert_eq!(Figures::read(text, "q"), None);
    }
}
