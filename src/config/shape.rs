//! What may stand where: the raw structs' JSON Schema, compiled for checking a tree.
//!
//! Field names, types, choices and ranges are thus said once, in the raw structs. A check names every mistake and still
//! returns what was right, so that validation can go on and name its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::problem::{At, is_plain_word};
use super::suggest;
use super::tree::{Kind, Name, Node, Style};
use super::units::{SIZE_FORMAT, Size, TIME_FORMAT, Time};
use super::yaml::{Mapping, Value};

/// The shape of one value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Any,
    Bool,
    Integer { min: i128, max: i128 },
    Number,
    Text,
    Time,
    Size,
    Choice(Vec<String>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Object { fields: BTreeMap<String, Shape>, required: Vec<String> },
    OneOf(Vec<Shape>),
}

impl Shape {
    /// The shape of a raw struct.
    pub(crate) fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        compile(settings.into_generator().into_root_schema_for::<T>().as_value())
    }

    /// Checks `node`, names every mistake, drops what is wrong from the tree and returns the rest.
    ///
    /// `None` = nothing of it can be used.
    pub(crate) fn check(&self, node: &mut Node, at: &At<'_>) -> Option<Value> {
        let candidates: Vec<&Shape> = self.alternatives().iter().filter(|shape| shape.takes(&node.kind)).collect();
        match (&mut node.kind, candidates.as_slice()) {
            (Kind::Damaged, _) => None,
            (_, []) => {
                at.error(format!("must be {}, not {}", self.describe(), found(&node.kind)));
                None
            }
            (Kind::Scalar(text, style), shapes) => scalar(shapes, text, *style).map_err(|e| at.error(e)).ok(),
            (Kind::List(items), [shape, ..]) => Some(shape.list(items, at)),
            (Kind::Map(entries), [shape, ..]) => shape.map(entries, at),
        }
    }

    /// The words a value may be, where it can be nothing else.
    pub(crate) fn choices(&self) -> &[String] {
        match self {
            Shape::Choice(words) => words,
            _ => &[],
        }
    }

    fn alternatives(&self) -> &[Shape] {
        match self {
            Shape::OneOf(shapes) => shapes,
            other => std::slice::from_ref(other),
        }
    }

    fn takes(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Shape::Any, _) => true,
            (Shape::List(_), kind) => matches!(kind, Kind::List(_)),
            (Shape::Map(_) | Shape::Object { .. }, kind) => matches!(kind, Kind::Map(_)),
            (_, kind) => matches!(kind, Kind::Scalar(..)),
        }
    }

    fn list(&self, items: &mut Vec<Node>, at: &At<'_>) -> Value {
        let item_shape = if let Shape::List(shape) = self { shape } else { &Shape::Any };
        let mut values = Vec::with_capacity(items.len());
        items.retain_mut(|item| {
            let here = at.entry(item.slot, item.position);
            let value = match item.kind {
                Kind::Scalar(_, Style::Plain) if item.is_unset() => {
                    here.error("is empty; write a value or remove the dash");
                    None
                }
                _ if item.is_unset() => None,
                _ => item_shape.check(item, &here),
            };
            let kept = value.is_some();
            values.extend(value);
            kept
        });
        Value::Sequence(values)
    }

    fn map(&self, entries: &mut Vec<(Name, Node)>, at: &At<'_>) -> Option<Value> {
        let mut mapping = Mapping::with_capacity(entries.len());
        for (name, node) in entries {
            let shape = match self {
                Shape::Object { fields, .. } => match fields.get(&name.text) {
                    Some(shape) => shape,
                    None => {
                        unknown_field(name, fields, at);
                        continue;
                    }
                },
                Shape::Map(shape) => shape,
                _ => &Shape::Any,
            };
            let unset = node.is_unset();
            let here = at.named(&name.text, if unset { name.position } else { node.position });
            let value = if unset { None } else { shape.check(node, &here) };
            if value.is_none() && !unset {
                at.note_attempted(&[name.text.as_str()]);
            }
            // A map's entry exists even where it says nothing (`pools: {a: }`) or is wrong.
            let keep_empty = matches!(self, Shape::Map(_)) && shape.may_be_empty();
            let value = value.or_else(|| keep_empty.then(|| Value::Mapping(Mapping::new())));
            if let Some(value) = value {
                mapping.insert(Value::String(name.text.clone()), value);
            }
        }
        self.has_required(&mapping, at).then_some(Value::Mapping(mapping))
    }

    fn may_be_empty(&self) -> bool {
        matches!(self, Shape::Object { required, .. } if required.is_empty())
    }

    fn has_required(&self, mapping: &Mapping, at: &At<'_>) -> bool {
        let Shape::Object { fields, required } = self else { return true };
        let mut complete = true;
        for name in required.iter().filter(|name| !mapping.contains_key(name.as_str())) {
            let shape = fields.get(name).map_or_else(String::new, Shape::describe);
            at.missing(name, format!("is missing; write {shape}"));
            complete = false;
        }
        complete
    }

    /// In words, for "must be …" and "write …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Shape::Any => "a value".into(),
            Shape::Bool => "true or false".into(),
            Shape::Integer { min, max } if *max >= i128::from(i64::MAX) => match min {
                0 => "a whole number".into(),
                min => format!("a whole number, at least {min}"),
            },
            Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Shape::Number => "a number".into(),
            Shape::Text => "text".into(),
            Shape::Time => "a duration such as 30s or 1h30m".into(),
            Shape::Size => "a size such as 64KiB or 32MiB".into(),
            Shape::Choice(words) => suggest::list(&words.iter().map(String::as_str).collect::<Vec<_>>()),
            Shape::List(shape) => format!("a list (each entry {})", shape.describe()),
            Shape::Map(_) => "a mapping (name: value)".into(),
            Shape::Object { fields, .. } => {
                let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("a mapping with {}", suggest::list(&names))
            }
            Shape::OneOf(shapes) => shapes.iter().map(Shape::describe).collect::<Vec<_>>().join(", or "),
        }
    }
}

fn found(kind: &Kind) -> &'static str {
    match kind {
        Kind::Scalar(_, Style::Quoted) => "quoted text",
        Kind::Scalar(..) => "a single value",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a mapping",
        Kind::Damaged => "this",
    }
}

fn unknown_field(name: &Name, fields: &BTreeMap<String, Shape>, at: &At<'_>) {
    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
    let written = if is_plain_word(&name.text) { name.text.as_str() } else { "" };
    at.note_attempted(&suggest::nearest(written, &known));
    at.unknown(&name.text, name.position).error(format!("unknown field; {}", suggest::among(written, known)));
}

/// The first shape that reads the text; else what all of them would have liked.
fn scalar(shapes: &[&Shape], text: &str, style: Style) -> Result<Value, String> {
    let mut refusal = None;
    for shape in shapes {
        match one_scalar(shape, text, style) {
            Ok(value) => return Ok(value),
            Err(message) => refusal = Some(message),
        }
    }
    match (shapes, refusal) {
        ([_], Some(message)) => Err(message),
        _ => {
            let wanted: Vec<String> = shapes.iter().map(|shape| shape.describe()).collect();
            Err(format!("must be {}", wanted.join(" or ")))
        }
    }
}

fn one_scalar(shape: &Shape, text: &str, style: Style) -> Result<Value, String> {
    let typed = style != Style::Quoted;
    match shape {
        Shape::Text => Ok(Value::String(text.to_owned())),
        Shape::Time => Time::parse(text).map(|_| Value::String(text.to_owned())).map_err(|e| e.to_string()),
        Shape::Size => Size::parse(text).map(|_| Value::String(text.to_owned())).map_err(|e| e.to_string()),
        Shape::Choice(words) => choice(words, text),
        Shape::Bool => match text {
            "true" | "True" | "TRUE" if typed => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" if typed => Ok(Value::Bool(false)),
            "true" | "false" => Err("must be true or false without quotes".into()),
            _ => Err("must be true or false".into()),
        },
        Shape::Integer { min, max } => integer(text, typed, *min, *max).ok_or_else(|| {
            let quotes = if text.parse::<i128>().is_ok() && !typed { ", without quotes" } else { "" };
            format!("must be {}{quotes}", shape.describe())
        }),
        Shape::Number => match text.parse::<f64>() {
            Ok(number) if typed && number.is_finite() => Ok(Value::Number(number.into())),
            _ => Err("must be a number".into()),
        },
        _ => Ok(untyped(text, style)),
    }
}

fn choice(words: &[String], text: &str) -> Result<Value, String> {
    if words.iter().any(|word| word == text) {
        return Ok(Value::String(text.to_owned()));
    }
    let written = if is_plain_word(text) { text } else { "" };
    Err(format!("unknown value; {}", suggest::among(written, words.iter().map(String::as_str))))
}

fn integer(text: &str, typed: bool, min: i128, max: i128) -> Option<Value> {
    let number = text.parse::<i128>().ok().filter(|number| typed && (min..=max).contains(number))?;
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => Some(Value::Number(number.into())),
        (_, Ok(number)) => Some(Value::Number(number.into())),
        _ => None,
    }
}

/// A scalar nobody has a wish for, by YAML's core schema.
fn untyped(text: &str, style: Style) -> Value {
    if style == Style::Quoted {
        return Value::String(text.to_owned());
    }
    [Shape::Bool, Shape::Integer { min: i64::MIN.into(), max: u64::MAX.into() }, Shape::Number]
        .iter()
        .find_map(|shape| one_scalar(shape, text, style).ok())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

// === From JSON Schema ===

/// The shape a schema without references describes.
pub(crate) fn compile(schema: &Json) -> Shape {
    if let Some(list) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key).and_then(Json::as_array)) {
        return one_of(list.iter().filter(|s| s.get("type") != Some(&Json::from("null"))).map(compile));
    }
    if let Some(word) = schema.get("const").and_then(Json::as_str) {
        return Shape::Choice(vec![word.to_owned()]);
    }
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return Shape::Choice(words.iter().filter_map(Json::as_str).map(str::to_owned).collect());
    }
    match schema.get("format").and_then(Json::as_str) {
        Some(TIME_FORMAT) => return Shape::Time,
        Some(SIZE_FORMAT) => return Shape::Size,
        _ => {}
    }
    match type_name(schema) {
        Some("boolean") => Shape::Bool,
        Some("integer") => integer_shape(schema),
        Some("number") => Shape::Number,
        Some("string") => Shape::Text,
        Some("array") => Shape::List(Box::new(schema.get("items").map_or(Shape::Any, compile))),
        Some("object") => object_shape(schema),
        _ => Shape::Any,
    }
}

/// The type beside null.
fn type_name(schema: &Json) -> Option<&str> {
    match schema.get("type")? {
        Json::String(name) => Some(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn one_of(shapes: impl Iterator<Item = Shape>) -> Shape {
    let mut words = Vec::new();
    let mut rest = Vec::new();
    for shape in shapes {
        match shape {
            Shape::Choice(more) => words.extend(more),
            Shape::OneOf(more) => rest.extend(more),
            other => rest.push(other),
        }
    }
    if !words.is_empty() {
        rest.insert(0, Shape::Choice(words));
    }
    match rest.len() {
        1 => rest.remove(0),
        _ => Shape::OneOf(rest),
    }
}

fn integer_shape(schema: &Json) -> Shape {
    let bound = |key| schema.get(key).and_then(Json::as_i64).map(i128::from);
    let widest = match schema.get("format").and_then(Json::as_str) {
        Some("uint16") => i128::from(u16::MAX),
        Some("uint32") => i128::from(u32::MAX),
        Some("uint" | "uint64") => i128::from(u64::MAX),
        _ => i128::from(i64::MAX),
    };
    Shape::Integer { min: bound("minimum").unwrap_or(i64::MIN.into()), max: bound("maximum").unwrap_or(widest) }
}

fn object_shape(schema: &Json) -> Shape {
    match (schema.get("properties").and_then(Json::as_object), schema.get("additionalProperties")) {
        (Some(properties), _) => Shape::Object {
            fields: properties.iter().map(|(name, schema)| (name.clone(), compile(schema))).collect(),
            required: schema
                .get("required")
                .and_then(Json::as_array)
                .map(|names| names.iter().filter_map(Json::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        },
        (None, Some(values)) if values.is_object() => Shape::Map(Box::new(compile(values))),
        _ => Shape::Map(Box::new(Shape::Any)),
    }
}
