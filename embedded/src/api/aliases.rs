//! Aliases: changed all at once, shown.

use serde_json::{Map, Value, json};

use super::Reply;
use super::route::Call;
use crate::catalog::names::Lenient;
use crate::catalog::templates::aliases_json;
use crate::catalog::{Alias, Catalog, names};
use crate::error::ApiError;
use crate::json as read_json;
use crate::patterns::star_matches;

/// Most actions of one request.
const ACTIONS_MAX: usize = 1000;

/// One change.
enum Action {
    Add { indices: Vec<String>, aliases: Vec<String>, alias: Alias },
    Remove { indices: Vec<String>, aliases: Vec<String>, must_exist: bool },
}

/// `POST /_aliases`.
pub(super) fn change(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    let mut actions = Vec::new();
    for (key, value) in &read_json::parse_object(call.body)? {
        match key.as_str() {
            "actions" => {
                for item in read_json::array(value, key)? {
                    actions.push(read_action(item)?);
                }
            }
            other => return Err(read_json::unknown_key("aliases", other)),
        }
    }
    if actions.is_empty() || actions.len() > ACTIONS_MAX {
        return Err(ApiError::illegal(format!("Must specify 1 to {ACTIONS_MAX} alias actions")));
    }
    call.index.change(|catalog| actions.iter().try_for_each(|action| apply(catalog, action)))?;
    Ok(Reply::acknowledged())
}

fn read_action(item: &Value) -> Result<Action, ApiError> {
    let (verb, params) = read_json::only_entry(read_json::object(item, "actions")?, "actions")?;
    let (mut indices, mut aliases) = (Vec::new(), Vec::new());
    let (mut alias, mut must_exist) = (Alias::default(), true);
    for (key, value) in read_json::object(params, verb)? {
        match key.as_str() {
            "index" | "indices" => indices.extend(read_json::strings(value, key)?),
            "alias" | "aliases" => aliases.extend(read_json::strings(value, key)?),
            "is_write_index" if verb == "add" => alias.is_write_index = Some(read_json::boolean(value, key)?),
            "must_exist" if verb == "remove" => must_exist = read_json::boolean(value, key)?,
            "is_hidden" => {}
            "filter" | "routing" | "index_routing" | "search_routing" => {
                return Err(ApiError::unsupported(format!("[{key}] of an alias")));
            }
            other => return Err(read_json::unknown_key(verb, other)),
        }
    }
    if indices.is_empty() || aliases.is_empty() {
        return Err(ApiError::illegal(format!("[{verb}] needs [index] and [alias]")));
    }
    match verb {
        "add" => Ok(Action::Add { indices, aliases, alias }),
        "remove" => Ok(Action::Remove { indices, aliases, must_exist }),
        "remove_index" => Err(ApiError::unsupported("alias action [remove_index]")),
        other => Err(read_json::unknown_key("actions", other)),
    }
}

fn apply(catalog: &mut Catalog, action: &Action) -> Result<(), ApiError> {
    match action {
        Action::Add { indices, aliases, alias } => {
            let found = catalog.resolve(&indices.join(","), Lenient::default())?;
            if found.is_empty() {
                return Err(ApiError::index_not_found(&indices.join(",")));
            }
            for name in aliases {
                names::check(name, "alias")?;
                if catalog.indices.contains_key(name) {
                    return Err(ApiError::new(
                        400,
                        "invalid_alias_name_exception",
                        format!(
                            "Invalid alias name [{name}]: an index exists with the same name as the alias"
                        ),
                    ));
                }
                for index in &found {
                    if let Some(entry) = catalog.indices.get_mut(index) {
                        entry.aliases.insert(name.clone(), *alias);
                    }
                }
                let writers: Vec<&str> = catalog
                    .behind_alias(name)
                    .filter(|(_, a)| a.is_write_index == Some(true))
                    .map(|(i, _)| i)
                    .collect();
                if writers.len() > 1 {
                    return Err(ApiError::new(
                        400,
                        "illegal_state_exception",
                        format!("alias [{name}] has more than one write index [{}]", writers.join(",")),
                    ));
                }
            }
            Ok(())
        }
        Action::Remove { indices, aliases, must_exist } => {
            let found = catalog.resolve(&indices.join(","), Lenient::default())?;
            let mut removed = 0_usize;
            for index in found {
                if let Some(entry) = catalog.indices.get_mut(&index) {
                    let before = entry.aliases.len();
                    entry
                        .aliases
                        .retain(|name, _| !aliases.iter().any(|pattern| star_matches(pattern, name)));
                    removed = removed.saturating_add(before.saturating_sub(entry.aliases.len()));
                }
            }
            if removed == 0 && *must_exist {
                return Err(ApiError::new(
                    404,
                    "aliases_not_found_exception",
                    format!("aliases [{}] missing", aliases.join(",")),
                ));
            }
            Ok(())
        }
    }
}

/// `PUT /index/_alias/name`.
pub(super) fn put(call: &mut Call<'_>, indices: &str, alias: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    let body = Value::Object(read_json::parse_object(call.body)?);
    let action = Action::Add {
        indices: vec![indices.to_owned()],
        aliases: vec![alias.to_owned()],
        alias: crate::catalog::read_alias(alias, &body)?,
    };
    call.index.change(|catalog| apply(catalog, &action))?;
    Ok(Reply::acknowledged())
}

/// `DELETE /index/_alias/name`.
pub(super) fn delete(call: &mut Call<'_>, indices: &str, alias: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    let aliases = alias.split(',').map(|a| if a == "_all" { "*".to_owned() } else { a.to_owned() }).collect();
    let action = Action::Remove { indices: vec![indices.to_owned()], aliases, must_exist: true };
    call.index.change(|catalog| apply(catalog, &action))?;
    Ok(Reply::acknowledged())
}

/// `GET /index/_alias/name`.
pub(super) fn get(call: &mut Call<'_>, indices: &str, alias: Option<&str>) -> Result<Reply, ApiError> {
    let lenient = call.params.lenient()?;
    call.params.drop(&["local"]);
    call.finish_params()?;
    let catalog = call.index.catalog();
    let mut shown = Map::new();
    for index in catalog.resolve(indices, lenient)? {
        let Some(entry) = catalog.indices.get(&index) else { continue };
        let aliases: std::collections::BTreeMap<String, Alias> = entry
            .aliases
            .iter()
            .filter(|(name, _)| {
                alias.is_none_or(|wanted| wanted.split(',').any(|p| p == "_all" || star_matches(p, name)))
            })
            .map(|(name, alias)| (name.clone(), *alias))
            .collect();
        if alias.is_none() || !aliases.is_empty() {
            shown.insert(index, json!({"aliases": aliases_json(&aliases)}));
        }
    }
    match alias {
        Some(name) if shown.is_empty() && !name.contains('*') => {
            Ok(Reply::json(404, &json!({"error": format!("alias [{name}] missing"), "status": 404})))
        }
        _ => Ok(Reply::ok(&Value::Object(shown))),
    }
}
