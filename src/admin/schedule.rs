//! `GET /api/v1/schedule?cron=&timezone=`: when something would run, told by what runs it.

use axum::Json;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::moment::Moment;
use super::problem::Problem;
use crate::config::schedule::Schedule;

/// Runs that are told.
const RUNS: usize = 3;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleQuery {
    /// A cron line of five fields, e.g. `0 0 * * *`.
    cron: String,
    /// The zone by whose clock it goes, e.g. `Asia/Shanghai`; UTC if not given.
    timezone: Option<String>,
}

/// When it would run.
#[derive(Serialize, JsonSchema)]
pub(super) struct Runs {
    /// The next three times.
    next: Vec<Moment>,
}

pub(super) async fn runs(Query(query): Query<ScheduleQuery>) -> Result<Json<Runs>, Problem> {
    let schedule = Schedule::cron(&query.cron, query.timezone.as_deref());
    let schedule = schedule.map_err(|flaw| Problem::unprocessable(flaw.to_string()))?;
    let times = std::iter::successors(schedule.after(Timestamp::now()), |last| schedule.after(*last));
    Ok(Json(Runs { next: times.take(RUNS).map(Moment::from).collect() }))
}
