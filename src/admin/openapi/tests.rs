use std::collections::BTreeSet;

use super::*;

/// Every operation of the document, with its method and path.
fn operations() -> impl Iterator<Item = (String, &'static str, &'static Value)> {
    let paths = openapi()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(|(method, operation)| (method.to_uppercase(), path.as_str(), operation))
    })
}

/// Calls `see` with every object below a value.
fn walk<'v>(value: &'v Value, see: &mut impl FnMut(&'v Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            see(fields);
            fields.values().for_each(|field| walk(field, see));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        _ => {}
    }
}

#[test]
fn it_has_the_routes_there_are_and_no_others() {
    let told: BTreeSet<_> = operations().map(|(method, path, _)| (method, path.to_owned())).collect();
    let routes = crate::admin::routes();
    let served = routes.iter().map(|route| (route.method.to_string(), route.path.replace("{*", "{")));
    assert_eq!(told, served.collect());
    assert_eq!(told.len(), routes.len(), "none is there twice");
    assert!(routes.iter().all(|route| !route.tag.is_empty() && !route.summary.is_empty()));
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_takes_and_answers() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} twice");
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{id}");
        let named: BTreeSet<_> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().unwrap().iter().filter(|known| known["in"] == "path");
        let described: BTreeSet<_> = parameters.map(|known| known["name"].as_str().unwrap()).collect();
        assert_eq!(named, described, "{method} {path}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path}");
        let is_open = operation["security"].as_array().unwrap().is_empty();
        assert_eq!(is_open, !operation.as_object().unwrap().contains_key(ROLE), "{method} {path}");
        assert!(is_open || ["401", "403", "429"].iter().all(|status| answers.contains_key(*status)), "{method} {path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let schemas = openapi()["components"]["schemas"].as_object().unwrap();
    let mut used = BTreeSet::new();
    walk(openapi(), &mut |fields| {
        used.extend(
            fields.get("$ref").map(|target| target.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap()),
        );
    });
    let known: BTreeSet<_> = schemas.keys().map(String::as_str).collect();
    assert_eq!(used, known);
}

/// What is sent and what is answered are kept under one roof.
#[test]
fn no_two_schemas_share_a_name() {
    let mut schemas = schemas();
    paths(&crate::admin::routes(), &mut schemas);
    let (taken, given) = (schemas.taken.take_definitions(true), schemas.given.take_definitions(true));
    for (name, schema) in &taken {
        assert!(given.get(name).is_none_or(|other| other == schema), "{name}: {schema}, and {}", given[name]);
    }
    // The generator's own way out.
    let numbered: Vec<_> = taken.keys().chain(given.keys()).filter(|name| name.ends_with(char::is_numeric)).collect();
    assert!(numbered.is_empty(), "{numbered:?}");
}
