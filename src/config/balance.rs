//! `balance:` of a pool: how often what keys have left is asked for, and how much that shall be.

use std::time::Duration;

use rust_decimal::Decimal;

/// `balance:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceCheck {
    /// How often each key's is asked for; `None` = only when somebody wants to see it.
    pub every: Option<Duration>,
    /// How much a key shall have left.
    pub minimum: Minimum,
}

/// How much a key shall have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Minimum {
    /// Of whatever it is counted in.
    OfAll(Decimal),
    /// By unit; units that are not named have none.
    OfUnits(Vec<(String, Decimal)>),
}

impl Minimum {
    /// The least amount of a unit, if there is one.
    pub fn of(&self, unit: &str) -> Option<Decimal> {
        match self {
            Self::OfAll(amount) => Some(*amount),
            Self::OfUnits(all) => {
                all.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, amount)| *amount)
            }
        }
    }

    /// Whether so much is enough. A key pays with any of its units, so one of them is; so is what nobody told.
    pub fn admits<'a>(&self, amounts: impl IntoIterator<Item = (&'a str, Decimal)>) -> bool {
        let mut amounts = amounts.into_iter().peekable();
        let is_enough = |(unit, amount)| self.of(unit).is_none_or(|least| amount >= least);
        amounts.peek().is_none() || amounts.any(is_enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn any_of_a_keys_units_may_be_enough() {
        let admits = |minimum: &Minimum, amounts: &[(&'static str, &str)]| {
            minimum.admits(amounts.iter().map(|(unit, amount)| (*unit, decimal(amount))))
        };
        let all = Minimum::OfAll(decimal("1.5"));
        assert!(admits(&all, &[("CNY", "1.5")]));
        assert!(!admits(&all, &[("CNY", "1.49999")]));
        assert!(admits(&all, &[("CNY", "0"), ("USD", "2")]));
        assert!(admits(&all, &[]), "nothing is known against it");
        let each = Minimum::OfUnits(vec![("CNY".into(), decimal("10")), ("USD".into(), decimal("1"))]);
        assert!(!admits(&each, &[("CNY", "9"), ("USD", "0.5")]));
        assert!(admits(&each, &[("cny", "10"), ("USD", "0.5")]));
        assert!(admits(&each, &[("magicubes", "0")]), "a unit that is not named has no minimum");
    }
}
