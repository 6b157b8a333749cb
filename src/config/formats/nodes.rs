//! Keys in structured texts: YAML, JSON and TOML, once they are trees.
//!
//! Other programs' files are read by what their fields are called, so fields nobody knows are passed over.

use std::sync::Arc;

use super::collect::Collector;
use super::fields::{Field, Hints, field};
use super::{Entry, json, text, toml};
use crate::config::expand::{self, Environment};
use crate::config::problem::{At, Report};
use crate::config::secret::Secret;
use crate::config::tree::{self, Kind, Name, Node, Style};

/// What an entry may be.
const ENTRY: &str = "no key here; write the key alone, or a mapping with key, name, account, …";
const REFERENCE: &str = "refers to a file or credential, which only a keys file may; write the key itself";

/// Reads YAML; what turns out to be none is read as plain text.
pub(super) fn read_yaml(text: &str, env: &dyn Environment, out: &mut Collector) {
    let mut document = tree::parse(text);
    let is_structured = matches!(document.root.kind, Kind::List(_) | Kind::Map(_));
    if !is_structured && !document.root.is_unset() {
        return text::read(text, out);
    }
    let report = Report::for_keys("", Vec::new());
    let top = At::top(&report, document.root.position);
    expand::expand(&mut document.root, &top, env);
    for problem in report.finish().0 {
        out.bad(problem.line, problem.message);
    }
    if let Some(fault) = document.fault {
        out.bad(fault.position.line, fault.message);
    }
    Walk { is_yaml: true, lines_before: 0, out }.document(&document.root, &Hints::default());
}

/// Reads JSON, and what is nearly JSON. `lines_before` = where the text begins in the one the user knows.
pub(super) fn read_json(text: &str, lines_before: usize, out: &mut Collector) {
    let mut walk = Walk { is_yaml: false, lines_before, out };
    if let Some(root) = json::parse(text) {
        return walk.document(&root, &Hints::default());
    }
    if text.trim_start().starts_with('{') {
        // A comma too many is fine in YAML, which keeps what stood before worse mistakes.
        let document = tree::parse(text);
        if let Some(fault) = document.fault {
            walk.out.bad(fault.position.line + lines_before, "not JSON from here on");
        }
        walk.is_yaml = true;
        return walk.document(&document.root, &Hints::default());
    }
    let (items, bad) = json::salvage(text);
    bad.into_iter().for_each(|line| walk.out.bad(line + lines_before, "not JSON"));
    items.iter().for_each(|item| walk.item(item, &Hints::default()));
}

/// Reads TOML: the `config.toml` of ModelScope Balancer and what looks like it.
pub(super) fn read_toml(text: &str, out: &mut Collector) {
    let (root, bad) = toml::parse(text);
    for line in bad {
        out.bad(line, "not TOML");
    }
    let is_modelscope = root.get("auto_reactivation").is_some() || root.get("server_address").is_some();
    let provider = is_modelscope.then(|| Arc::from("modelscope"));
    Walk { is_yaml: false, lines_before: 0, out }.document(&root, &Hints { provider, ..Hints::default() });
}

struct Walk<'a> {
    /// Bare words are text in YAML only.
    is_yaml: bool,
    lines_before: usize,
    out: &'a mut Collector,
}

impl Walk<'_> {
    fn document(&mut self, root: &Node, hints: &Hints) {
        match &root.kind {
            Kind::Map(fields) if !holds(fields, Field::Key) && !holds(fields, Field::Keys) => {
                self.pools(fields, hints);
            }
            _ if root.is_unset() => {}
            _ => self.item(root, hints),
        }
    }

    /// Pools by name, each with its keys.
    fn pools(&mut self, fields: &[(Name, Node)], hints: &Hints) {
        for (name, value) in fields {
            let hints = Hints { pool: Some(name.text.as_str().into()), ..hints.clone() };
            match &value.kind {
                Kind::List(_) => self.item(value, &hints),
                Kind::Map(below) if holds(below, Field::Keys) => self.provider(below, &hints),
                Kind::Damaged => {}
                // Settings around the keys; in a keys.yaml a pool without its list.
                _ if value.is_unset() || !self.is_yaml => {}
                _ => self.bad(value, "not a list; write the pool's name, and its keys below it as a list"),
            }
        }
    }

    fn item(&mut self, node: &Node, hints: &Hints) {
        match &node.kind {
            Kind::Damaged => {}
            Kind::List(items) => items.iter().for_each(|item| self.item(item, hints)),
            Kind::Map(fields) if holds(fields, Field::Key) => self.entry(node, fields, hints),
            Kind::Map(fields) if holds(fields, Field::Keys) => self.provider(fields, hints),
            Kind::Map(_) => self.bad(node, ENTRY),
            Kind::Scalar(..) => match self.text(node) {
                Some(key) => self.out.push(hints.entry(self.line(node), key)),
                None => self.bad(node, ENTRY),
            },
        }
    }

    /// A provider with a list of keys: `{name, path, base_url, api_keys, enabled}`.
    fn provider(&mut self, fields: &[(Name, Node)], outer: &Hints) {
        let mut hints = outer.clone();
        for (name, value) in fields {
            let (Some(field), Some(text)) = (field(&name.text), self.scalar(value)) else { continue };
            match field {
                Field::Path | Field::Pool => hints.pool = Some(text.trim_matches('/').into()),
                Field::Name if hints.pool.is_none() => hints.pool = Some(text.to_ascii_lowercase().into()),
                Field::BaseUrl => hints.set_base_url(text),
                Field::Enabled if text == "false" => hints.disabled = true,
                _ => {}
            }
        }
        let lists = fields.iter().filter(|(name, _)| field(&name.text) == Some(Field::Keys));
        lists.for_each(|(_, list)| match self.text(list) {
            // A list in one text, as forms save it.
            Some(keys) => keys.split([',', ';', ' ', '\n']).filter(|key| !key.is_empty()).for_each(|key| {
                self.out.push(hints.entry(list.position.line + self.lines_before, key));
            }),
            None if list.is_unset() => {}
            None => self.item(list, &hints),
        });
    }

    fn entry(&mut self, node: &Node, fields: &[(Name, Node)], hints: &Hints) {
        let known = || fields.iter().filter_map(|(name, value)| Some((field(&name.text)?, value)));
        let key = known().find(|(field, _)| *field == Field::Key).map(|(_, value)| value);
        let Some(text) = key.and_then(|key| self.text(key)) else {
            let is_reference = key.is_some_and(|key| matches!(key.kind, Kind::Map(_)));
            return self.bad(node, if is_reference { REFERENCE } else { ENTRY });
        };
        let mut entry = hints.entry(self.line(node), text);
        for (field, value) in known() {
            if let Err(message) = self.fill(&mut entry, field, value) {
                self.bad(value, message);
            }
        }
        self.out.push(entry);
    }

    fn fill(&self, entry: &mut Entry, field: Field, value: &Node) -> Result<(), &'static str> {
        match (field, &value.kind) {
            _ if value.is_unset() => Ok(()),
            (Field::Models, Kind::List(items)) => {
                let models = items.iter().filter_map(|item| self.scalar(item).map(str::to_owned)).collect();
                entry.details_mut().models = models;
                Ok(())
            }
            (Field::Headers, Kind::Map(headers)) => {
                let header =
                    |(name, value): &(Name, Node)| Some((name.text.clone(), Secret::new(self.scalar(value)?.into())));
                entry.details_mut().headers = headers.iter().filter_map(header).collect();
                Ok(())
            }
            (Field::Limits, Kind::Map(limits)) => limits.iter().try_for_each(|(name, value)| {
                let number = self.scalar(value).and_then(|text| text.parse().ok());
                limit(entry, &name.text, number.ok_or("limits are whole numbers")?)
            }),
            (_, Kind::Scalar(text, _)) => entry.set(field, text),
            _ => Ok(()),
        }
    }

    /// The text of a scalar that may be a key: not a number, truth value or null.
    fn text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar(text, style) if !node.is_unset() && (self.is_yaml || *style == Style::Quoted) => Some(text),
            _ => None,
        }
    }

    fn scalar<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar(text, _) if !node.is_unset() => Some(text),
            _ => None,
        }
    }

    fn line(&self, node: &Node) -> usize {
        node.position.line + self.lines_before
    }

    fn bad(&mut self, node: &Node, message: &str) {
        self.out.bad(node.position.line + self.lines_before, message);
    }
}

fn holds(fields: &[(Name, Node)], wanted: Field) -> bool {
    fields.iter().any(|(name, value)| {
        // A list under a key's name is a pool of that name; so is a pool called `data` with a list below it.
        field(&name.text) == Some(wanted) && (wanted == Field::Keys || !matches!(value.kind, Kind::List(_)))
    })
}

fn limit(entry: &mut Entry, name: &str, number: u64) -> Result<(), &'static str> {
    let limits = &mut entry.details_mut().limits;
    match name {
        "rpm" => limits.rpm = Some(number),
        "rpd" => limits.rpd = Some(number),
        "tpm" => limits.tpm = Some(number),
        "tpd" => limits.tpd = Some(number),
        "concurrency" => limits.concurrency = Some(u32::try_from(number).unwrap_or(u32::MAX)),
        _ => return Err("limits are rpm, rpd, tpm, tpd and concurrency"),
    }
    Ok(())
}
