//! `prices:` of a pool and `budget:` of a client token: what tokens of text cost, and how much may be spent.
//!
//! Sums are whole billionths, so that they add up exactly whatever their order. Of which currency is for the operator to
//! know: nothing is converted, so all prices must be in one.

pub use super::raw::clients::Period;
use globset::{GlobBuilder, GlobMatcher};

/// Billionths in one unit of the currency.
const BILLION: f64 = 1e9;
/// Tokens that a price is for.
const TOKENS: f64 = 1e6;

/// A sum of money, in billionths of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

impl Money {
    /// The largest sum that is written in a configuration (units): what a database's integers hold.
    pub const MOST: f64 = 9e9;

    /// The nearest sum to so many units.
    pub fn of(units: f64) -> Self {
        Self((units * BILLION).round() as u64)
    }

    /// In units of the currency.
    pub fn units(self) -> f64 {
        self.0 as f64 / BILLION
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

/// How much a client token may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So much.
    pub amount: Money,
    /// In each of these.
    pub per: Period,
}

/// What tokens of one model cost (units of the currency per million).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Those that are asked.
    pub input: f64,
    /// Those that are answered.
    pub output: f64,
}

impl Price {
    /// What so many tokens cost, asked and answered.
    pub fn cost(self, input: u64, output: u64) -> Money {
        Money::of((input as f64 * self.input + output as f64 * self.output) / TOKENS)
    }
}

/// `prices:` of a pool.
#[derive(Debug, Clone, Default)]
pub struct Prices(Vec<(GlobMatcher, Price)>);

impl Prices {
    /// Prices by globs over models' names. Globs were validated before; what still fails here matches nothing.
    pub(super) fn new<'a>(prices: impl IntoIterator<Item = (&'a str, Price)>) -> Self {
        // Some providers mind the case of a name and others don't: written otherwise, a model must not be free.
        let matcher = |glob: &str| GlobBuilder::new(glob).case_insensitive(true).build().ok();
        let priced = |(glob, price)| Some((matcher(glob)?.compile_matcher(), price));
        Self(prices.into_iter().filter_map(priced).collect())
    }

    /// The price of the provider's model: the first one that fits.
    pub fn of(&self, model: &str) -> Option<Price> {
        self.0.iter().find(|(glob, _)| glob.is_match(model)).map(|(_, price)| *price)
    }

    /// Nothing has a price.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_price_that_fits_counts() {
        let price = |input| Price { input, output: 0.0 };
        let prices = Prices::new([("gpt-4o-mini", price(1.0)), ("gpt-4*", price(2.0)), ("Qwen/*", price(3.0))]);
        let found = |model| prices.of(model).map(|price| price.input);
        assert_eq!(
            ["gpt-4o-mini", "gpt-4o", "GPT-4O-MINI", "qwen/Qwen3/x", "other", ""].map(found),
            [Some(1.0), Some(2.0), Some(1.0), Some(3.0), None, None]
        );
    }

    #[test]
    fn a_cost_is_exact_to_the_billionth() {
        let price = Price { input: 0.15, output: 0.6 };
        assert_eq!(price.cost(1_000_000, 0), Money::of(0.15));
        assert_eq!(price.cost(7, 3), Money(1050 + 1800));
        assert_eq!(Price { input: 0.0001, output: 0.0 }.cost(10, 1), Money(1));
        assert_eq!(Money::of(Money::MOST).units(), Money::MOST);
        assert_eq!(price.cost(u64::MAX, u64::MAX), Money(u64::MAX), "no overflow");
    }
}
