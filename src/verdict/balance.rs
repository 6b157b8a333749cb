//! How a provider is asked what a key has left, and where that stands in its answer.
//!
//! Amounts are exact decimals, as the provider wrote them. An answer is either what the pack describes or not understood:
//! nothing is guessed, for a key may rest by it.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::raw::Named;

/// Units of one key that are told apart.
const UNITS: usize = 8;
/// Longest name of a unit (bytes).
const UNIT_LENGTH: usize = 16;
/// What an amount is counted in where nobody says.
const UNKNOWN: &str = "unknown";

/// A request for a key's balance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// A path below the base URL, or a URL of its own.
    pub url: String,
    /// Where a list stands that has one entry for each unit (JSON pointer, RFC 6901). The other pointers begin at each entry.
    #[serde(default)]
    pub list: Option<String>,
    /// Where the amount stands (a JSON pointer), or units and where the amount of each stands.
    pub amount: Amount,
    /// What it is counted in, or where that stands (a JSON pointer), or what is true of each host.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// Where amounts stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// One of them.
    At(String),
    /// One for each unit.
    OfUnits(Named<String>),
}

/// What an amount is counted in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Unit {
    /// A word, or where it stands.
    Word(String),
    /// By the host that is asked.
    OfHosts(Named<String>),
}

/// So much of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// A short word of letters and digits.
    pub unit: String,
    /// How much.
    pub amount: Decimal,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUnderstood;

impl Balance {
    /// What is wrong with it: field and complaint.
    pub(super) fn flaws(&self) -> Vec<(&'static str, &'static str)> {
        const POINTER: &str = "not a JSON pointer; write e.g. /data/balance";
        let mut flaws = Vec::new();
        if self.list.as_ref().is_some_and(|pointer| !is_pointer(pointer)) {
            flaws.push(("list", POINTER));
        }
        match (&self.amount, &self.unit) {
            (Amount::At(_), None) => flaws.push(("unit", "is missing; write e.g. CNY, or where it stands")),
            (Amount::OfUnits(_), Some(_)) => flaws.push(("unit", "is said by amount already; remove one of them")),
            _ => {}
        }
        match &self.amount {
            Amount::At(pointer) if !is_pointer(pointer) => flaws.push(("amount", POINTER)),
            Amount::OfUnits(all) if all.0.iter().any(|(_, pointer)| !is_pointer(pointer)) => {
                flaws.push(("amount", POINTER));
            }
            _ => {}
        }
        let words = self.words();
        if words.iter().any(|word| clean(word) != **word) {
            let field = if matches!(self.amount, Amount::OfUnits(_)) { "amount" } else { "unit" };
            flaws.push((field, "a unit is a word of at most 16 letters, digits, - and _, e.g. CNY"));
        }
        flaws
    }

    /// The units it names.
    fn words(&self) -> Vec<&String> {
        let of_amount = match &self.amount {
            Amount::At(_) => Vec::new(),
            Amount::OfUnits(all) => all.0.iter().map(|(unit, _)| unit).collect(),
        };
        let of_unit = match &self.unit {
            Some(Unit::Word(word)) if !is_pointer(word) => vec![word],
            Some(Unit::OfHosts(all)) => all.0.iter().map(|(_, unit)| unit).collect(),
            _ => Vec::new(),
        };
        of_amount.into_iter().chain(of_unit).collect()
    }

    /// What an answer of `host` tells; nothing where an amount is null, which is how a key without a limit is shown.
    ///
    /// # Errors
    /// If it is not what is described here.
    pub fn read(&self, body: &[u8], host: &str) -> Result<Vec<Sum>, NotUnderstood> {
        let answer: Value = serde_json::from_slice(body).map_err(|_| NotUnderstood)?;
        let Some(list) = &self.list else { return self.sums(&answer, host) };
        let entries = answer.pointer(list).and_then(Value::as_array).ok_or(NotUnderstood)?;
        let mut sums = Vec::new();
        for entry in entries.iter().take(UNITS) {
            sums.extend(self.sums(entry, host)?);
        }
        Ok(sums)
    }

    fn sums(&self, from: &Value, host: &str) -> Result<Vec<Sum>, NotUnderstood> {
        let mut sums = Vec::new();
        match &self.amount {
            Amount::At(pointer) => {
                let unit = self.unit(from, host);
                sums.extend(amount(from, pointer)?.map(|amount| Sum { unit, amount }));
            }
            Amount::OfUnits(all) => {
                for (unit, pointer) in all.0.iter().take(UNITS) {
                    sums.extend(amount(from, pointer)?.map(|amount| Sum { unit: clean(unit), amount }));
                }
            }
        }
        Ok(sums)
    }

    fn unit(&self, from: &Value, host: &str) -> String {
        let unit = match &self.unit {
            Some(Unit::Word(pointer)) if is_pointer(pointer) => from.pointer(pointer).and_then(Value::as_str),
            Some(Unit::Word(word)) => Some(word.as_str()),
            Some(Unit::OfHosts(all)) => all.0.iter().find(|(name, _)| name == host).map(|(_, unit)| unit.as_str()),
            None => None,
        };
        clean(unit.unwrap_or_default())
    }
}

fn is_pointer(text: &str) -> bool {
    text.starts_with('/')
}

/// A provider's word as it may be shown everywhere.
fn clean(unit: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_word = !unit.is_empty() && unit.len() <= UNIT_LENGTH && unit.bytes().all(is_plain);
    if is_word { unit } else { UNKNOWN }.to_owned()
}

fn amount(from: &Value, pointer: &str) -> Result<Option<Decimal>, NotUnderstood> {
    match from.pointer(pointer) {
        Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => decimal(text.trim()).map(Some).ok_or(NotUnderstood),
        Some(Value::Number(number)) => decimal(&number.to_string()).map(Some).ok_or(NotUnderstood),
        _ => Err(NotUnderstood),
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    let read = if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { text.parse() };
    read.ok().map(|amount| amount.normalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::pack;

    fn told(provider: &str, host: &str, body: &str) -> Result<Vec<String>, NotUnderstood> {
        let balance = pack::find(provider).and_then(|pack| pack.balance.clone()).expect("a balance call");
        let sums = balance.read(body.as_bytes(), host)?;
        Ok(sums.into_iter().map(|sum| format!("{} {}", sum.amount, sum.unit)).collect())
    }

    #[test]
    fn every_provider_is_understood() {
        let modelscope = r#"{"success":true,"request_id":"x","data":{"total_balance":150,"available_balance":143,"frozen_amount":7}}"#;
        assert_eq!(told("modelscope", "modelscope.cn", modelscope).unwrap(), ["143 magicubes"]);
        let deepseek = r#"{"is_available":true,"balance_infos":[
            {"currency":"CNY","total_balance":"110.00","granted_balance":"10.00","topped_up_balance":"100.00"},
            {"currency":"USD","total_balance":"0.10","granted_balance":"0.00","topped_up_balance":"0.10"}]}"#;
        assert_eq!(told("deepseek", "api.deepseek.com", deepseek).unwrap(), ["110 CNY", "0.1 USD"]);
        let moonshot = r#"{"code":0,"scode":"0x0","status":true,"data":{"available_balance":49.58894,"voucher_balance":46.58893,"cash_balance":3.00001}}"#;
        assert_eq!(told("moonshot", "api.moonshot.cn", moonshot).unwrap(), ["49.58894 CNY"]);
        assert_eq!(told("moonshot", "api.moonshot.ai", moonshot).unwrap(), ["49.58894 USD"]);
        assert_eq!(told("moonshot", "relay.example.org", moonshot).unwrap(), ["49.58894 unknown"]);
        let openrouter = r#"{"data":{"label":"x","limit":10,"usage":1.5,"limit_remaining":8.5}}"#;
        assert_eq!(told("openrouter", "openrouter.ai", openrouter).unwrap(), ["8.5 USD"]);
        let unlimited = r#"{"data":{"label":"x","limit":null,"limit_remaining":null}}"#;
        assert!(told("openrouter", "openrouter.ai", unlimited).unwrap().is_empty());
        let siliconflow = r#"{"code":20000,"status":true,"data":{"balance":"0.88","status":"normal","chargeBalance":"88.00","totalBalance":"88.88"}}"#;
        assert_eq!(told("siliconflow", "api.siliconflow.cn", siliconflow).unwrap(), ["88.88 CNY"]);
        assert_eq!(told("siliconflow", "api.siliconflow.com", siliconflow).unwrap(), ["88.88 USD"]);
    }

    #[test]
    fn what_is_not_described_is_not_guessed() {
        for body in ["", "<html>", "null", "{}", r#"{"data":{}}"#, r#"{"data":{"available_balance":"much"}}"#] {
            assert_eq!(told("modelscope", "modelscope.cn", body), Err(NotUnderstood), "{body}");
        }
        assert_eq!(told("deepseek", "h", r#"{"balance_infos":{"currency":"CNY"}}"#), Err(NotUnderstood));
        assert_eq!(told("deepseek", "h", r#"{"balance_infos":[{"total_balance":true}]}"#), Err(NotUnderstood));
        let odd = r#"{"balance_infos":[{"currency":"<b>\"x\"</b>","total_balance":"1"}]}"#;
        assert_eq!(told("deepseek", "h", odd).unwrap(), ["1 unknown"]);
    }

    #[test]
    fn amounts_are_exact() {
        let read = |text: &str| decimal(text).map(|amount| amount.to_string());
        assert_eq!(read("0.10").as_deref(), Some("0.1"));
        assert_eq!(read("-12.345678901234567890").as_deref(), Some("-12.34567890123456789"));
        assert_eq!(read("1e3").as_deref(), Some("1000"));
        assert_eq!(read("1e-7").as_deref(), Some("0.0000001"));
        assert_eq!([read("1e99"), read("NaN"), read(""), read("1,5")], [const { None }; 4]);
    }

    #[test]
    fn an_answer_may_hold_several_units() {
        let text = "{url: /wallet, amount: {USD: /usd, points: /points}}";
        let balance: Balance = crate::config::yaml::parse(text).unwrap();
        assert_eq!(balance.flaws(), []);
        let sums = balance.read(br#"{"usd": 1.25, "points": 7}"#, "h").unwrap();
        assert_eq!(
            sums,
            [("USD", "1.25"), ("points", "7")]
                .map(|(unit, amount)| Sum { unit: unit.into(), amount: amount.parse().unwrap() })
        );
    }

    #[test]
    fn flaws_are_named() {
        let fields = |text: &str| {
            let balance: Balance = crate::config::yaml::parse(text).unwrap();
            balance.flaws().into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields("{url: /w, amount: balance, unit: CNY}"), ["amount"]);
        assert_eq!(fields("{url: /w, amount: /a}"), ["unit"]);
        assert_eq!(fields("{url: /w, amount: {CNY: /a}, unit: CNY}"), ["unit"]);
        assert_eq!(fields("{url: /w, list: x, amount: /a, unit: /u}"), ["list"]);
        assert_eq!(fields("{url: /w, amount: /a, unit: \"C N Y\"}"), ["unit"]);
        assert_eq!(fields("{url: /w, amount: {\"\": /a}}"), ["amount"]);
    }
}
