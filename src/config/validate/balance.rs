//! `balance:` of a pool.

use rust_decimal::Decimal;

use crate::config::balance::{BalanceCheck, Minimum};
use crate::config::problem::At;
use crate::config::raw::upkeep as raw;

/// Amounts that are written in a configuration lie between this and its negative.
const MOST: f64 = 1e15;

pub(crate) fn balance(raw: &raw::Balance, at: &At<'_>) -> BalanceCheck {
    let here = at.field("minimum");
    let minimum = match &raw.minimum {
        raw::Minimum::OfAll(least) => Minimum::OfAll(amount(*least, &here)),
        raw::Minimum::OfUnits(all) => {
            let least = |(unit, least): &(String, f64)| (unit.clone(), amount(*least, &here.field(unit)));
            Minimum::OfUnits(all.0.iter().map(least).collect())
        }
    };
    BalanceCheck { every: Some(raw.every.0).filter(|every| !every.is_zero()), minimum }
}

/// As it was written: the shortest text that means the same number.
fn amount(number: f64, at: &At<'_>) -> Decimal {
    let read = Some(number).filter(|number| number.abs() <= MOST).and_then(|number| number.to_string().parse().ok());
    read.unwrap_or_else(|| {
        at.error("not an amount; write e.g. 5 or 0.5");
        Decimal::ZERO
    })
}
