//! What handlers take of a request: its path, its query and its body, each with a clear word about what is wrong.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::{Json, extract};
use http::request::Parts;
use http::{StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::openapi::{Input, Operation};
use super::problem::Problem;

/// The path's parameters.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let extract::Path(value) = extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: JsonSchema> Input for Path<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.path_parameters::<T>();
        operation.refuses(StatusCode::BAD_REQUEST, "The path is not UTF-8, or a parameter is wrong.");
        operation.refuses(StatusCode::NOT_FOUND, "There is no such thing.");
    }
}

/// The query's parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let extract::Query(value) = extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.query_parameters::<T>();
    }
}

/// The version that what is to be changed must still be at; `None` = any.
pub(super) struct Expected(pub(super) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for Expected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let number = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
        let wrong = || Problem::bad_request("If-Match must be the version that was read");
        number.map(|version| Self(Some(version))).ok_or_else(wrong)
    }
}

impl Input for Expected {
    fn describe(operation: &mut Operation<'_>) {
        operation.header("If-Match", "The `version` that was read: refused if it changed meanwhile.");
        operation.refuses(StatusCode::PRECONDITION_FAILED, "It changed meanwhile.");
    }
}

/// What is written as an object and as nothing else: serde would take the values of the fields in a list, too, and who
/// writes `[null, null]` does not mean all keys.
pub(super) struct Object<T>(pub(super) T);

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// A body of JSON, which is an object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(Object(value)) = Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: JsonSchema> Input for Body<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_json::<T>(true);
    }
}

/// A JSON object that says what `T` describes. Whoever manages it judges it, so that every mistake is told at once and in
/// the words of the files.
pub(super) struct Written<T>(pub(super) Map<String, Value>, pub(super) PhantomData<T>);

impl<T: Send, S: Send + Sync> FromRequest<S> for Written<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Body(fields) = Body::from_request(request, state).await?;
        Ok(Self(fields, PhantomData))
    }
}

impl<T: JsonSchema> Input for Written<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_json::<T>(true);
    }
}

/// What changes a `T`: the fields that are given; `null` takes one back.
pub(super) struct Patch<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Patch", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.remove("required");
        schema.insert("description".into(), "The fields to change; `null` takes one back.".into());
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (_, field) in fields.into_iter().flatten() {
            *field = nullable(field.take());
        }
        schema
    }
}

/// The same, or `null`.
fn nullable(mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else { return schema };
    // It would be put in the place of what is not given.
    fields.remove("default");
    if fields.get("type").and_then(Value::as_array).is_some_and(|kinds| kinds.iter().any(|kind| kind == "null")) {
        return schema;
    }
    let description = fields.remove("description");
    let mut either = json!({"anyOf": [schema, {"type": "null"}]});
    if let Some(text) = description {
        either["description"] = text;
    }
    either
}
