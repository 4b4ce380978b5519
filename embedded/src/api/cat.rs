//! `_cat`: tables for people, or the same as JSON.

use serde_json::{Map, Value};

use super::Reply;
use super::indices::{STRICT, numbers};
use super::route::Call;
use crate::error::ApiError;
use crate::patterns::star_matches;
use crate::query::ast::Query;
use crate::search::run;

/// A table; columns in order.
struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Writes it as the parameters say: `format=json`, `v` for a heading, `h` for columns, `s` for an order.
    fn reply(mut self, call: &mut Call<'_>) -> Result<Reply, ApiError> {
        let heading = call.params.flag("v")?.unwrap_or(false);
        let format = call.params.take("format");
        let wanted = call.params.take("h");
        let order = call.params.take("s");
        call.params.drop(&[
            "local",
            "bytes",
            "time",
            "expand_wildcards",
            "health",
            "pri",
            "include_unloaded_segments",
        ]);
        call.finish_params()?;
        if let Some(order) = order {
            self.sort(&order)?;
        }
        let columns = self.chosen(wanted.as_deref())?;
        match format.as_deref() {
            Some("json") => Ok(self.json(&columns)),
            None | Some("text") => Ok(self.text(&columns, heading)),
            Some(other) => Err(ApiError::unsupported(format!("[format] of [{other}]"))),
        }
    }

    fn position(&self, name: &str) -> Result<usize, ApiError> {
        let short = match name {
            "i" | "idx" => "index",
            "dc" | "docsCount" => "docs.count",
            "ss" | "storeSize" => "store.size",
            "a" => "alias",
            other => other,
        };
        self.columns.iter().position(|c| *c == short).ok_or_else(|| {
            ApiError::unsupported(format!("column [{name}]; there are: {}", self.columns.join(",")))
        })
    }

    fn chosen(&self, wanted: Option<&str>) -> Result<Vec<usize>, ApiError> {
        match wanted {
            None | Some("" | "*") => Ok((0..self.columns.len()).collect()),
            Some(names) => names.split(',').map(|name| self.position(name)).collect(),
        }
    }

    fn sort(&mut self, order: &str) -> Result<(), ApiError> {
        for part in order.split(',').rev() {
            let (name, descending) = match part.split_once(':') {
                Some((name, "desc")) => (name, true),
                Some((name, _)) => (name, false),
                None => (part, false),
            };
            let column = self.position(name)?;
            let key = |row: &Vec<String>| {
                let text = row.get(column).cloned().unwrap_or_default();
                (text.parse::<u64>().unwrap_or_default(), text)
            };
            self.rows.sort_by_key(key);
            if descending {
                self.rows.reverse();
            }
        }
        Ok(())
    }

    fn json(&self, columns: &[usize]) -> Reply {
        let rows = self.rows.iter().map(|row| {
            let cells = columns.iter().filter_map(|c| {
                Some(((*self.columns.get(*c)?).to_owned(), Value::from(row.get(*c)?.as_str())))
            });
            Value::Object(cells.collect::<Map<_, _>>())
        });
        Reply::ok(&Value::Array(rows.collect()))
    }

    fn text(&self, columns: &[usize], heading: bool) -> Reply {
        let head: Vec<String> = self.columns.iter().map(|c| (*c).to_owned()).collect();
        let lines: Vec<&Vec<String>> = heading.then_some(&head).into_iter().chain(&self.rows).collect();
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = columns
            .iter()
            .map(|c| lines.iter().map(|row| cell(row, *c).chars().count()).max().unwrap_or_default())
            .collect();
        let mut out = String::new();
        for row in lines {
            let cells: Vec<String> =
                columns.iter().zip(&widths).map(|(c, width)| format!("{:width$}", cell(row, *c))).collect();
            out.push_str(cells.join(" ").trim_end());
            out.push('\n');
        }
        Reply::text(out)
    }
}

/// `GET /_cat/indices`.
pub(super) fn indices(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let catalog = call.index.catalog();
    let mut rows = Vec::new();
    let plain = call.params.take("bytes").is_some();
    for shard in call.index.resolve(names, STRICT)? {
        let Some(entry) = catalog.indices.get(&*shard.name) else { continue };
        let numbers = numbers(call, &shard)?;
        let size = if plain { numbers.bytes.to_string() } else { human_bytes(numbers.bytes) };
        rows.push(vec![
            "green".to_owned(),
            "open".to_owned(),
            shard.name.to_string(),
            entry.uuid.clone(),
            "1".to_owned(),
            "0".to_owned(),
            numbers.documents.to_string(),
            numbers.deleted.to_string(),
            size.clone(),
            size,
        ]);
    }
    let columns = &[
        "health",
        "status",
        "index",
        "uuid",
        "pri",
        "rep",
        "docs.count",
        "docs.deleted",
        "store.size",
        "pri.store.size",
    ];
    Table { columns, rows }.reply(call)
}

fn human_bytes(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["b", "kb", "mb", "gb"] {
        if amount < 1024.0 {
            return if unit == "b" { format!("{bytes}b") } else { format!("{amount:.1}{unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1}tb")
}

/// `GET /_cat/aliases`.
pub(super) fn aliases(call: &mut Call<'_>, pattern: &str) -> Result<Reply, ApiError> {
    let catalog = call.index.catalog();
    let mut rows = Vec::new();
    for (index, entry) in &catalog.indices {
        for (name, alias) in &entry.aliases {
            if pattern.split(',').any(|p| star_matches(p, name)) {
                let writes = alias.is_write_index.map_or("-".to_owned(), |flag| flag.to_string());
                rows.push(vec![name.clone(), index.clone(), "-".into(), "-".into(), "-".into(), writes]);
            }
        }
    }
    rows.sort();
    let columns = &["alias", "index", "filter", "routing.index", "routing.search", "is_write_index"];
    Table { columns, rows }.reply(call)
}

/// `GET /_cat/count`.
pub(super) fn count(call: &mut Call<'_>, names: &str) -> Result<Reply, ApiError> {
    let targets = call.index.targets(&call.index.resolve(names, STRICT)?)?;
    let now = call.index.clock.now();
    let count = run::count(&Query::All, &targets, now)?;
    let (epoch, time) = times(call);
    Table { columns: &["epoch", "timestamp", "count"], rows: vec![vec![epoch, time, count.to_string()]] }
        .reply(call)
}

fn times(call: &Call<'_>) -> (String, String) {
    let now = call.index.clock.now();
    let time = crate::dates::format_millis(now.millis());
    (now.millis().div_euclid(1000).to_string(), time.get(11..19).unwrap_or_default().to_owned())
}

/// `GET /_cat/health`.
pub(super) fn health(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let (epoch, time) = times(call);
    let shards = call.index.all_shards().len().to_string();
    let row = [
        epoch.as_str(),
        &time,
        super::cluster::NAME,
        "green",
        "1",
        "1",
        &shards,
        &shards,
        "0",
        "0",
        "0",
        "0",
        "-",
        "100.0%",
    ];
    let columns = &[
        "epoch",
        "timestamp",
        "cluster",
        "status",
        "node.total",
        "node.data",
        "shards",
        "pri",
        "relo",
        "init",
        "unassign",
        "pending_tasks",
        "max_task_wait_time",
        "active_shards_percent",
    ];
    Table { columns, rows: vec![row.iter().map(|cell| (*cell).to_owned()).collect()] }.reply(call)
}
