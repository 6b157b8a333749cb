//! `probe:` and `reactivate:`

use crate::config::model::{Probe, Reactivate};
use crate::config::problem::At;
use crate::config::raw::upkeep as raw;
use crate::config::schedule::{BadSchedule, Schedule};

pub(super) fn probe(raw: &raw::Probe) -> Probe {
    Probe {
        every: Some(raw.every.0).filter(|every| !every.is_zero()),
        concurrency: usize::try_from(raw.concurrency).unwrap_or(usize::MAX),
    }
}

/// `None` = off, or a mistake that is told.
pub(super) fn reactivate(raw: &raw::Reactivate, at: &At<'_>) -> Option<Reactivate> {
    let raw::Reactivate::Schedule(raw) = raw else { return None };
    let schedule = match (&raw.every, &raw.cron) {
        (Some(every), None) => {
            if raw.timezone.is_some() {
                at.field("timezone").error("belongs to cron; an interval needs none, remove it");
            }
            match Schedule::every(every.0) {
                Ok(schedule) => schedule,
                Err(flaw) => {
                    at.field("every").error(flaw.to_string());
                    return None;
                }
            }
        }
        (None, Some(line)) => match Schedule::cron(line, raw.timezone.as_deref()) {
            Ok(schedule) => schedule,
            Err(flaw) => {
                let field = if flaw == BadSchedule::Zone { "timezone" } else { "cron" };
                at.field(field).error(flaw.to_string());
                return None;
            }
        },
        _ => {
            at.error("write either {every: 10m} or {cron: \"0 0 * * *\", timezone: Asia/Shanghai}, or off");
            return None;
        }
    };
    Some(Reactivate { schedule, probe: raw.probe.unwrap_or(true) })
}
