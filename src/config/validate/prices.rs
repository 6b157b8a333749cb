//! `prices:` of a pool, `budget:` of a client token, and whether the one has what the other needs.

use super::models;
use crate::config::models::bare;
use crate::config::prices::{Budget, Money, Price, Prices};
use crate::config::problem::At;
use crate::config::raw::{self as file, Named, clients, pool};

pub(crate) fn prices(raw: &Named<pool::Price>, at: &At<'_>) -> Prices {
    for (glob, price) in &raw.0 {
        let at = at.field(glob);
        models::glob(glob, &at);
        for (field, amount) in [("input", price.input), ("output", price.output)] {
            if !(0.0..=1e6).contains(&amount) {
                at.field(field).error("not a price; write what a million tokens cost, e.g. 0.5");
            }
        }
    }
    known(raw)
}

fn known(raw: &Named<pool::Price>) -> Prices {
    let price = |price: &pool::Price| Price { input: price.input, output: price.output };
    Prices::new(raw.0.iter().map(|(glob, raw)| (glob.as_str(), price(raw))))
}

pub(crate) fn budget(raw: Option<&clients::Budget>, at: &At<'_>) -> Option<Budget> {
    let raw = raw?;
    let (amount, per, here) = match raw {
        clients::Budget::Amount(amount) => (*amount, clients::Period::default(), None),
        clients::Budget::Full(full) => (full.amount, full.per, Some(at.field("amount"))),
    };
    if !(amount > 0.0 && amount <= Money::MOST) {
        here.as_ref().unwrap_or(at).error("not an amount; write e.g. 5, or leave the budget out for none");
        return None;
    }
    Some(Budget { amount: Money::of(amount), per })
}

/// Warns of what costs nothing although a budget is to bound it.
pub(crate) fn unpriced(file: &file::Config, at: &At<'_>) {
    let pools = at.field("pools");
    for (name, pool) in file.pools.0.iter().filter(|(_, pool)| !pool.prices.0.is_empty()) {
        let prices = known(&pool.prices);
        let here = pools.field(name);
        let models = here.field("models");
        let aliases = models.field("alias");
        for (alias, model) in pool.models.alias.0.iter().filter(|(_, model)| prices.of(bare(model)).is_none()) {
            aliases.field(alias).warn(format!("{model} has no price: it costs nothing"));
        }
    }
    let clients = at.field("clients");
    let tokens = clients.field("tokens");
    for (index, token) in file.clients.tokens.iter().enumerate().filter(|(_, token)| token.budget.is_some()) {
        let at = tokens.index(index);
        let is_open = |name: &String| token.pools.is_empty() || token.pools.contains(name);
        for (name, pool) in file.pools.0.iter().filter(|(name, pool)| pool.enabled && is_open(name)) {
            unpriced_for(token, name, pool, &at);
        }
    }
}

fn unpriced_for(token: &clients::Token, name: &str, pool: &pool::Pool, at: &At<'_>) {
    if pool.prices.0.is_empty() {
        return at.field("budget").warn(format!("pool {name} has no prices: what it serves costs nothing"));
    }
    let (prices, models) = (known(&pool.prices), at.field("models"));
    let is_name = |model: &str| !model.contains(['*', '?', '[', '{']);
    for (index, model) in token.models.iter().enumerate().filter(|(_, model)| is_name(model)) {
        let alias = pool.models.alias.0.iter().find(|(alias, _)| alias == bare(model));
        let stands_for = alias.map_or(model, |(_, model)| model);
        if prices.of(bare(stands_for)).is_none() {
            models.index(index).warn(format!("has no price in pool {name}: it costs nothing there"));
        }
    }
}
