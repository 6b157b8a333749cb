//! Fields that are understood but not served yet.
//!
//! One line per field; whoever builds the feature deletes its line. A field that restricts or routes is refused, for a
//! limit that is silently not kept is worse than none; the others only warn.

use super::problem::At;
use super::tree::{Kind, Node};
use super::units::Time;

/// What happens when the field is set to anything but its default.
#[derive(Clone, Copy)]
enum Effect {
    Refuse,
    Warn,
}

use Effect::{Refuse, Warn};

/// Path (`*` = every entry), default values (nothing, `[]` and `{}` always count as default), effect.
type Row = (&'static str, &'static [&'static str], Effect);

const CONFIG: &[Row] = &[
    ("server.limits.connections_per_ip", &["0"], Refuse),
    ("server.limits.min_send_rate", &["0"], Warn),
    ("shared_state", &[], Refuse),
    ("notify", &[], Warn),
    ("otlp", &[], Warn),
    ("pools.*.priority", &["0"], Warn),
    ("pools.*.fallback", &[], Refuse),
    ("pools.*.select.strategy", &["round_robin"], Refuse),
    ("pools.*.wait.max", &["0s"], Refuse),
    ("pools.*.wait.queue", &["1000"], Warn),
    ("pools.*.budget", &[], Refuse),
];

const KEY: &[Row] = &[("weight", &["1"], Warn)];

/// Whether a field of `keyweir.yaml` may not be set yet, because what it asks for would silently not be kept.
pub(crate) fn is_refused(path: &str) -> bool {
    CONFIG.iter().any(|(row, _, effect)| *row == path && matches!(effect, Refuse))
}

/// Complains about what `keyweir.yaml` asks for in vain.
pub(crate) fn check_config(root: &Node, at: &At<'_>) {
    check(CONFIG, root, at);
}

/// Complains about what a keys file asks for in vain.
pub(crate) fn check_keys(root: &Node, at: &At<'_>) {
    visit(root, at, "*.*", &mut |key, at| check_key(key, at));
}

/// Complains about what an entry of a keys file asks for in vain.
pub(crate) fn check_key(key: &Node, at: &At<'_>) {
    check(KEY, key, at);
}

fn check(rows: &[Row], root: &Node, at: &At<'_>) {
    for (path, defaults, effect) in rows {
        visit(root, at, path, &mut |node, at| {
            if is_default(node, defaults) {
                return;
            }
            match effect {
                Effect::Refuse => at.error("not built yet; remove it"),
                Effect::Warn => at.warn("has no effect yet"),
            }
        });
    }
}

fn visit(node: &Node, at: &At<'_>, path: &str, found: &mut dyn FnMut(&Node, &At<'_>)) {
    let (head, tail) = path.split_once('.').unwrap_or((path, ""));
    let mut step = |child: &Node, here: &At<'_>| match tail {
        "" => found(child, here),
        _ => visit(child, here, tail, &mut *found),
    };
    match &node.kind {
        Kind::Map(entries) => {
            for (name, child) in entries.iter().filter(|(name, _)| head == "*" || head == name.text) {
                step(child, &at.named(&name.text, child.position));
            }
        }
        Kind::List(items) if head == "*" => {
            for child in items {
                step(child, &at.entry(child.slot, child.position));
            }
        }
        _ => {}
    }
}

fn is_default(node: &Node, defaults: &[&str]) -> bool {
    match &node.kind {
        _ if node.is_unset() => true,
        Kind::Scalar(text, _) => defaults
            .iter()
            .any(|default| text == default || Time::parse(text).is_ok_and(|time| Time::parse(default) == Ok(time))),
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.iter().all(|(_, value)| is_default(value, defaults)),
        Kind::Damaged => true,
    }
}
