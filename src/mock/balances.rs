//! What keys have left: five providers' balance calls, each in its own shape, with what a test says of a key.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{Answer, failed};

/// What a key has that nobody said anything of.
const AMOUNT: &str = "100.00";
const UNIT: &str = "CNY";

/// What was said of keys, and of those without a word of their own.
#[derive(Debug, Default)]
pub(super) struct Balances(Mutex<HashMap<Option<String>, Said>>);

/// What was said of one: `POST /mock/balance`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// None: every key without a word of its own.
    key: Option<String>,
    /// By unit, as text or number; a null is shown as one.
    #[serde(default)]
    amounts: BTreeMap<String, Value>,
    /// An error of this status instead.
    status: Option<u16>,
    /// A page instead.
    #[serde(default)]
    html: bool,
    /// Nothing instead.
    #[serde(default)]
    hang: bool,
}

/// The shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    ModelScope,
    DeepSeek,
    Moonshot,
    SiliconFlow,
    OpenRouter,
}

impl Shape {
    /// By the end of the path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let shapes = [
            ("/magicubes/balance", Self::ModelScope),
            ("/user/balance", Self::DeepSeek),
            ("/users/me/balance", Self::Moonshot),
            ("/user/info", Self::SiliconFlow),
            ("/key", Self::OpenRouter),
        ];
        shapes.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, shape)| shape)
    }

    fn body(self, amounts: &BTreeMap<String, Value>) -> Value {
        let first = amounts.values().next().cloned().unwrap_or_default();
        match self {
            Self::ModelScope => json!({
                "success": true, "request_id": "mock",
                "data": {"total_balance": first, "available_balance": first, "frozen_amount": 0},
            }),
            Self::DeepSeek => {
                let info = |(unit, amount): (&String, &Value)| json!({"currency": unit, "total_balance": amount, "granted_balance": "0.00", "topped_up_balance": amount});
                json!({"is_available": true, "balance_infos": amounts.iter().map(info).collect::<Vec<_>>()})
            }
            Self::Moonshot => json!({
                "code": 0, "scode": "0x0", "status": true,
                "data": {"available_balance": first, "voucher_balance": first, "cash_balance": 0},
            }),
            Self::SiliconFlow => json!({
                "code": 20000, "status": true,
                "data": {"balance": "0.88", "status": "normal", "chargeBalance": "0.00", "totalBalance": first},
            }),
            Self::OpenRouter => {
                json!({"data": {"label": "mock", "limit": first, "usage": 0, "limit_remaining": first}})
            }
        }
    }
}

impl Balances {
    /// Notes what a key, or every other key, has.
    pub(super) fn say(&self, said: Said) {
        self.0.lock().insert(said.key.clone(), said);
    }

    /// Forgets all that was said.
    pub(super) fn reset(&self) {
        self.0.lock().clear();
    }

    /// What a key is told; `None` = nothing, ever.
    pub(super) fn answer(&self, shape: Shape, key: &str) -> Option<Answer> {
        let said = self.0.lock();
        let Some(said) = said.get(&Some(key.to_owned())).or_else(|| said.get(&None)) else {
            let amounts = BTreeMap::from([(UNIT.to_owned(), AMOUNT.into())]);
            return Some(Answer::json(200, shape.body(&amounts).to_string()));
        };
        match said.status {
            _ if said.hang => None,
            _ if said.html => Some(Answer::json(200, "<html><title>Log in</title></html>".to_owned())),
            Some(status) => Some(failed(status)),
            None => Some(Answer::json(200, shape.body(&said.amounts).to_string())),
        }
    }
}
