//! `GET /api/v1/schedule?cron=&timezone=` or `?every=`: when something would run that is planned now, told by what runs it.

use axum::Json;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::moment::Moment;
use super::problem::Problem;
use crate::config::schedule::Schedule;
use crate::config::units::Time;

/// Runs that are told.
const RUNS: usize = 3;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleQuery {
    /// Either a cron line of five fields, e.g. `0 0 * * *`,
    cron: Option<String>,
    /// or an interval, e.g. `10m`.
    every: Option<String>,
    /// The zone by whose clock the line goes, e.g. `Asia/Shanghai`; UTC if not given.
    timezone: Option<String>,
}

/// When it would run.
#[derive(Serialize, JsonSchema)]
pub(super) struct Runs {
    /// The next three times.
    next: Vec<Moment>,
}

pub(super) async fn runs(Query(query): Query<ScheduleQuery>) -> Result<Json<Runs>, Problem> {
    let schedule = match (&query.cron, &query.every) {
        (Some(line), None) => Schedule::cron(line, query.timezone.as_deref()).map_err(|flaw| flaw.to_string()),
        (None, Some(every)) => match Time::parse(every) {
            Ok(Time(time)) => Schedule::every(time).map_err(|flaw| flaw.to_string()),
            Err(flaw) => Err(flaw.to_string()),
        },
        _ => return Err(Problem::bad_request("write either cron or every")),
    };
    let schedule = schedule.map_err(Problem::unprocessable)?;
    let times = std::iter::successors(schedule.after(Timestamp::now()), |last| schedule.after(*last));
    Ok(Json(Runs { next: times.take(RUNS).map(Moment::from).collect() }))
}
