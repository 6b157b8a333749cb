//! The OpenAPI document of the admin listener, made of the route table and the handlers' types: it can't say anything
//! but what the code does.

mod operation;

use std::collections::BTreeMap;

use axum::Json;
use once_cell::sync::Lazy;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

pub(super) use operation::{Described, Input, Operation, Output, Schemas};

use super::events;
use super::routes::{Need, Route};

/// The role a route needs, beside its security requirement: OpenAPI has no roles for what is no OAuth.
const ROLE: &str = "x-keyweir-role";

static DOCUMENT: Lazy<Value> = Lazy::new(|| document(&super::routes()));

/// The document.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

/// `GET /api/v1/openapi.json`
pub(super) async fn show() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn document(routes: &[Route]) -> Value {
    let mut schemas = schemas();
    let paths = paths(routes, &mut schemas);
    let events = events::describe(&mut schemas);
    let mut components = schemas.taken.take_definitions(true);
    components.extend(schemas.given.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "keyweir",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin listener. Roles include those before them: viewer, operator, admin.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "An operator's token."},
            "session": {
                "type": "apiKey", "in": "cookie", "name": "keyweir",
                "description": "A session of the console (`__Host-keyweir` over TLS). Whatever changes something must \
                                come from the console's own pages, by Sec-Fetch-Site or Origin.",
            },
        }},
        "x-keyweir-events": events,
    })
}

fn schemas() -> Schemas {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    Schemas { taken: settings().for_deserialize().into_generator(), given: settings().for_serialize().into_generator() }
}

fn paths(routes: &[Route], schemas: &mut Schemas) -> BTreeMap<String, Map<String, Value>> {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let operation = operation(route, schemas);
        // OpenAPI has no word for a parameter that takes the rest of the path.
        let path = route.path.replace("{*", "{");
        paths.entry(path).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    paths
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let mut operation = Operation::new(schemas, &route.path);
    (route.describe)(&mut operation);
    let (security, role) = match route.need {
        Need::Nothing => (json!([]), None),
        Need::Role(role) => (json!([{"token": []}, {"session": []}]), Some(role)),
        Need::Token(role) => (json!([{"token": []}]), Some(role)),
    };
    if role.is_some() {
        operation.fails("401", "No operator has this token, or the session has ended.");
        operation.fails("403", "The operator's role is too low.");
        operation.fails("429", "Too many wrong tokens came from there; `Retry-After` tells how long to wait.");
    }
    let mut shown = json!({
        "operationId": id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "security": security,
        "parameters": operation.parameters,
        "responses": operation.answers,
    });
    if let Some(body) = operation.body {
        shown["requestBody"] = body;
    }
    if let Some(role) = role {
        shown[ROLE] = role.as_str().into();
    }
    shown
}

/// The method and the path in words: names of functions may change, these don't.
fn id(route: &Route) -> String {
    let words = route.path.split('/').skip(1).map(|part| if part.is_empty() { "index" } else { part });
    let words: Vec<_> = words.map(|part| part.trim_matches(['{', '*', '}']).replace(['-', '.'], "_")).collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"))
}

#[cfg(test)]
mod tests;
