//! The API's own description, OpenAPI 3.1: made from the table of operations and the schemas beside it.

use std::sync::OnceLock;

use axum::Json;
use serde_json::{Map, Value, json};

use super::auth::Role;
use super::routes::{Gives, Operation, operations};
use super::{changes, plans};

/// The schemas of what is taken and given, each with an example.
const SCHEMAS: &str = include_str!("schemas.json");

pub(super) async fn document() -> Json<&'static Value> {
    static MADE: OnceLock<Value> = OnceLock::new();
    Json(MADE.get_or_init(make))
}

fn make() -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = described(&operation);
    }
    // A test reads them.
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dataproxy router",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Which stamp serves a registry, and how it moves. Fields that are not known are to be ignored: neighbouring versions have others.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Not needed at a router without tokens, which lets everybody on its machine in.",
            }},
        },
    })
}

fn described(operation: &Operation) -> Value {
    let Operation { method, path, summary, needs, query, takes, gives, .. } = operation;
    let named = named(path);
    let words: Vec<&str> = std::iter::once(method.as_str())
        .chain(path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty()))
        .collect();
    let mut parameters: Vec<Value> = named.iter().map(|name| in_path(path, name)).collect();
    parameters.extend(query.iter().map(|name| in_query(name)));
    let roles: Vec<&str> = needs.iter().copied().map(Role::as_str).collect();
    let content = match gives {
        Gives::One(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Gives::List(schema) => {
            json!({"application/json": {"schema": {"type": "array", "items": reference(schema)}}})
        }
        Gives::Metrics => json!({"text/plain": {"schema": {
            "type": "string",
            "description": "Prometheus's text format, version 0.0.4; docs/metrics.md lists what there is.",
        }}}),
        Gives::Events => json!({"text/event-stream": {"schema": {
            "type": "string",
            "description": "Events `snapshot`, with a Snapshot, and `change`, with a Change, as JSON; a comment every 5 s.",
        }}}),
    };
    let mut described = json!({
        "operationId": words.join("_").to_ascii_lowercase(),
        "summary": summary,
        "parameters": parameters,
        "x-roles": roles,
        "responses": {
            "200": {"description": "It is so.", "content": content},
            "default": {
                "description": "What is wrong. Nothing was changed, unless the router failed (5xx).",
                "content": {"application/json": {"schema": reference("Error")}},
            },
        },
    });
    if needs.is_empty() {
        described["security"] = json!([]);
    }
    if let Some(schema) = takes {
        described["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}});
    }
    described
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// The names in braces of a path.
fn named(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

fn in_path(path: &str, name: &str) -> Value {
    let schema = match name {
        "name" | "stamp" => reference("Name"),
        "pool" => reference("Role"),
        "verb" if path.contains("/restart/") => json!({"type": "string", "enum": changes::RESTART_VERBS}),
        "verb" if path.contains("/plans/") => json!({"type": "string", "enum": plans::VERBS}),
        "verb" => json!({"type": "string", "enum": changes::VERBS}),
        _ => json!({"type": "string"}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn in_query(name: &str) -> Value {
    let (schema, text) = match name {
        "reason" => (json!({"type": "string", "maxLength": 500}), "Why, for the audit."),
        "dry_run" => (json!({"type": "boolean", "default": false}), "Only say what would be done."),
        "if_epoch" => (json!({"type": "integer"}), "The epoch of the registry that the caller has seen."),
        "pool" => (reference("Role"), "Only pools of this role."),
        "stamp" | "registry" => (reference("Name"), "What is to be explained; one of the two."),
        "after" => (json!({"type": "integer"}), "The revision at hand; everything is told if absent."),
        "history" => (json!({"type": "integer"}), "The history that `after` is of; the first if absent."),
        _ => (json!({"type": "integer"}), "Any time of the day, in milliseconds since 1970 (UTC)."),
    };
    json!({"name": name, "in": "query", "description": text, "schema": schema})
}
