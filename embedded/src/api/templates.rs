//! `_template` and `_index_template`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Reply;
use super::route::Call;
use crate::catalog::templates::{IndexTemplate, LegacyTemplate};
use crate::error::ApiError;
use crate::json as read_json;
use crate::patterns::star_matches;

fn missing(what: &str, name: &str) -> ApiError {
    ApiError::new(404, "resource_not_found_exception", format!("{what} matching [{name}] not found"))
}

fn chosen(expression: &str, name: &str) -> bool {
    expression.split(',').any(|part| star_matches(part, name))
}

/// Removes what an expression chooses; a name that is not there is an error.
fn remove<T>(templates: &mut BTreeMap<String, T>, expression: &str) -> Result<(), ApiError> {
    let before = templates.len();
    templates.retain(|name, _| !chosen(expression, name));
    if before == templates.len() && !expression.contains('*') {
        let reason = format!("index_template [{expression}] missing");
        return Err(ApiError::new(404, "index_template_missing_exception", reason));
    }
    Ok(())
}

/// `PUT /_template/name`.
pub(super) fn put_legacy(call: &mut Call<'_>, name: &str) -> Result<Reply, ApiError> {
    let create = call.params.flag("create")?.unwrap_or(false);
    let order = call.params.number("order")?;
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    let mut body = read_json::parse_object(call.body)?;
    if let Some(order) = order {
        body.insert("order".into(), json!(order));
    }
    let template = LegacyTemplate::read(&body)?;
    call.index.change(|catalog| {
        if create && catalog.templates.contains_key(name) {
            return Err(ApiError::illegal(format!("index_template [{name}] already exists")));
        }
        catalog.templates.insert(name.to_owned(), template);
        Ok(())
    })?;
    Ok(Reply::acknowledged())
}

/// `GET /_template/name`.
pub(super) fn get_legacy(call: &mut Call<'_>, expression: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["local", "flat_settings"]);
    call.finish_params()?;
    let catalog = call.index.catalog();
    let found: Map<String, Value> = catalog
        .templates
        .iter()
        .filter(|(name, _)| chosen(expression, name))
        .map(|(name, template)| (name.clone(), template.to_json()))
        .collect();
    let status = if found.is_empty() && !expression.contains('*') { 404 } else { 200 };
    Ok(Reply::json(status, &Value::Object(found)))
}

/// `DELETE /_template/name`.
pub(super) fn delete_legacy(call: &mut Call<'_>, expression: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    call.index.change(|catalog| remove(&mut catalog.templates, expression))?;
    Ok(Reply::acknowledged())
}

/// `PUT /_index_template/name`.
pub(super) fn put(call: &mut Call<'_>, name: &str) -> Result<Reply, ApiError> {
    let create = call.params.flag("create")?.unwrap_or(false);
    call.params.drop(&["cause", "timeout"]);
    call.finish_params()?;
    let template = IndexTemplate::read(&read_json::parse_object(call.body)?)?;
    call.index.change(|catalog| {
        if create && catalog.index_templates.contains_key(name) {
            return Err(ApiError::illegal(format!("index template [{name}] already exists")));
        }
        if let Some((other, pattern)) = catalog.index_templates.iter().find_map(|(other, existing)| {
            (other != name).then(|| template.clashes_with(existing)).flatten().map(|pattern| (other, pattern))
        }) {
            return Err(ApiError::illegal(format!(
                "index template [{name}] has index patterns matching patterns from existing templates [{other}] with pattern [{pattern}] that have the same priority, multiple index templates may not match during index creation, please use a different priority"
            )));
        }
        catalog.index_templates.insert(name.to_owned(), template);
        Ok(())
    })?;
    Ok(Reply::acknowledged())
}

/// `GET /_index_template/name`.
pub(super) fn get(call: &mut Call<'_>, expression: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["local", "flat_settings"]);
    call.finish_params()?;
    let catalog = call.index.catalog();
    let found: Vec<Value> = catalog
        .index_templates
        .iter()
        .filter(|(name, _)| chosen(expression, name))
        .map(|(name, template)| json!({"name": name, "index_template": template.to_json()}))
        .collect();
    if found.is_empty() && !expression.contains('*') {
        return Err(missing("index template", expression));
    }
    Ok(Reply::ok(&json!({"index_templates": found})))
}

/// `DELETE /_index_template/name`.
pub(super) fn delete(call: &mut Call<'_>, expression: &str) -> Result<Reply, ApiError> {
    call.params.drop(&["timeout"]);
    call.finish_params()?;
    call.index.change(|catalog| remove(&mut catalog.index_templates, expression))?;
    Ok(Reply::acknowledged())
}
