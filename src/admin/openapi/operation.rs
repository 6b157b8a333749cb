//! What a handler's signature says of its route: its arguments of what it takes, its result of what it answers.
//!
//! Whatever a handler takes or answers must say what it is ([`Input`], [`Output`]), or its route can't be made: so the
//! document is what the code does.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::Html;
use http::{HeaderMap, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::admin::problem::{Problem, Told};

/// The two sides of a schema: what may be left out differs.
pub(in crate::admin) struct Schemas {
    /// Of what is sent here.
    pub(super) taken: SchemaGenerator,
    /// Of what is answered.
    pub(super) given: SchemaGenerator,
}

impl Schemas {
    /// The schema of something told.
    pub(in crate::admin) fn given<T: JsonSchema>(&mut self) -> Value {
        self.given.subschema_for::<T>().to_value()
    }
}

/// One route's description, as its handler's signature completes it.
pub(in crate::admin) struct Operation<'s> {
    schemas: &'s mut Schemas,
    path: &'s str,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    pub(super) answers: BTreeMap<String, Value>,
}

impl<'s> Operation<'s> {
    pub(super) fn new(schemas: &'s mut Schemas, path: &'s str) -> Self {
        Self { schemas, path, parameters: Vec::new(), body: None, answers: BTreeMap::new() }
    }

    /// The names in the path's braces.
    fn names(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| name.trim_start_matches('*'))
    }

    /// A parameter for each field of `T`; for a `T` without fields the path's only one.
    pub(in crate::admin) fn path_parameters<T: JsonSchema>(&mut self) {
        let schema = fields_of::<T>(&mut self.schemas.taken);
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
            let schema = self.schemas.taken.subschema_for::<T>().to_value();
            self.names().for_each(|name| self.parameters.push(parameter("path", name, true, schema.clone())));
            return;
        };
        for (name, field) in fields {
            self.parameters.push(parameter("path", name, true, field.clone()));
        }
    }

    /// A parameter for each field of `T`.
    pub(in crate::admin) fn query_parameters<T: JsonSchema>(&mut self) {
        let schema = fields_of::<T>(&mut self.schemas.taken);
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let is_required = required.iter().any(|known| known == name);
            self.parameters.push(parameter("query", name, is_required, field.clone()));
        }
        self.refuses(StatusCode::BAD_REQUEST, "A parameter is wrong.");
    }

    /// A header that may be sent.
    pub(in crate::admin) fn header(&mut self, name: &str, description: &str) {
        let schema = json!({"type": "string", "description": description});
        self.parameters.push(parameter("header", name, false, schema));
    }

    /// A body of JSON.
    pub(in crate::admin) fn takes_json<T: JsonSchema>(&mut self, is_required: bool) {
        let schema = self.schemas.taken.subschema_for::<T>().to_value();
        self.body = Some(json!({"required": is_required, "content": {"application/json": {"schema": schema}}}));
        self.refuses(StatusCode::BAD_REQUEST, "The body is no JSON.");
        self.refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.");
        self.refuses(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not declared as application/json.");
        self.refuses(StatusCode::UNPROCESSABLE_ENTITY, "The body is not what is expected; `errors` has every mistake.");
    }

    /// A body of text.
    pub(in crate::admin) fn takes_text(&mut self, kinds: &[&str], description: &str) {
        let content: Map<_, _> =
            kinds.iter().map(|kind| ((*kind).to_owned(), json!({"schema": {"type": "string"}}))).collect();
        self.body = Some(json!({"required": true, "description": description, "content": content}));
        self.refuses(StatusCode::BAD_REQUEST, "The body is not UTF-8.");
        self.refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.");
    }

    /// An answer of JSON.
    pub(in crate::admin) fn gives_json<T: JsonSchema>(&mut self, status: StatusCode) {
        let schema = self.schema_given::<T>();
        self.gives(status, [("application/json", schema)]);
    }

    /// An answer in one of several types; none = without a body.
    pub(in crate::admin) fn gives<'k>(
        &mut self,
        status: StatusCode,
        kinds: impl IntoIterator<Item = (&'k str, Value)>,
    ) {
        let reason = status.canonical_reason().unwrap_or_default();
        let answer = self.answers.entry(status.as_str().to_owned()).or_insert_with(|| json!({"description": reason}));
        for (kind, schema) in kinds {
            answer["content"][kind] = json!({"schema": schema});
        }
    }

    /// The schema of something answered.
    pub(in crate::admin) fn schema_given<T: JsonSchema>(&mut self) -> Value {
        self.schemas.given::<T>()
    }

    /// An error that may be answered.
    pub(in crate::admin) fn refuses(&mut self, status: StatusCode, description: &str) {
        self.fails(status.as_str(), description);
    }

    /// The same, for a status or `default`.
    pub(super) fn fails(&mut self, status: &str, description: &str) {
        let schema = self.schema_given::<Told>();
        let answer = json!({"description": description, "content": {"application/problem+json": {"schema": schema}}});
        self.answers.entry(status.to_owned()).or_insert(answer);
    }
}

/// The schema of a struct, itself and not where it is kept.
fn fields_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    T::json_schema(schemas).to_value()
}

/// A parameter that may be left out is no less than what it is.
fn parameter(place: &str, name: &str, is_required: bool, mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    if let Some(Value::Array(kinds)) = schema.get_mut("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        if let [kind] = kinds.as_slice() {
            schema = kind.clone();
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let mut parameter = json!({"name": name, "in": place, "required": is_required, "schema": schema});
    if let Some(text) = description {
        parameter["description"] = text;
    }
    parameter
}

/// Something a handler takes.
pub(in crate::admin) trait Input {
    /// Says what it is; what comes from the server itself says nothing.
    fn describe(_: &mut Operation<'_>) {}
}

impl<T> Input for State<T> {}
impl<T> Input for Extension<T> {}
impl Input for HeaderMap {}
impl Input for Request {}

/// Something a handler answers.
pub(in crate::admin) trait Output {
    /// Says what it is.
    fn describe(operation: &mut Operation<'_>);
}

impl<T: Output> Output for Result<T, Problem> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
        operation.fails("default", "What went wrong, and what to do about it.");
    }
}

impl<T: JsonSchema> Output for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<T>(StatusCode::OK);
    }
}

impl<T: Output> Output for (StatusCode, T) {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl Output for String {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives(StatusCode::OK, [("text/plain", json!({"type": "string"}))]);
    }
}

impl Output for &str {
    fn describe(operation: &mut Operation<'_>) {
        <String as Output>::describe(operation);
    }
}

impl<T> Output for Html<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives(StatusCode::OK, [("text/html", json!({"type": "string"}))]);
    }
}

/// A handler, by what it takes and answers.
pub(in crate::admin) trait Described<A> {
    /// Says all of it.
    fn describe(operation: &mut Operation<'_>);
}

macro_rules! described {
    ($($input:ident)*) => {
        impl<F, Fut, $($input),*> Described<($($input,)*)> for F
        where
            F: Fn($($input),*) -> Fut,
            Fut: Future,
            Fut::Output: Output,
            $($input: Input,)*
        {
            fn describe(operation: &mut Operation<'_>) {
                $($input::describe(operation);)*
                Fut::Output::describe(operation);
            }
        }
    };
}

described!();
described!(A);
described!(A B);
described!(A B C);
described!(A B C D);
described!(A B C D E);
described!(A B C D E G);
