//! `GET /api/v1/events`: what happens, as server-sent events.
//!
//! A listener that is too slow loses events and is told how many; one that hears nothing for a while is sent a comment.
//! Who may listen no more hears nothing more. After a quarter of an hour the stream ends, and who still may comes back:
//! browsers do so by themselves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Shaped;
use super::identity::Pass;
use super::openapi::{Operation, Output, Schemas};
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::{Counters, KeyEvent, Trigger};
use crate::telemetry::events::{self, Event};

/// Longest silence.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest stream: coming back is what shows that somebody still looks at the console.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Most listeners at once.
const LISTENERS: usize = 100;

/// What a listener is sent first: when to come back (ms) if the stream ends.
const HELLO: &str = "retry: 2000\n\n";

/// A stream of events.
pub(super) struct EventStream;

impl Output for EventStream {
    fn describe(operation: &mut Operation<'_>) {
        let schema = json!({"type": "string", "description": "Events; `x-keyweir-events` says what their data are."});
        operation.gives(StatusCode::OK, [("text/event-stream", schema)]);
    }
}

/// A reload was tried.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "says what the event is made of")]
struct ReloadEvent {
    ok: bool,
    trigger: Trigger,
    message: String,
}

/// Many keys were refused at once: the target is suspected, and no key disabled.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "says what the event is made of")]
struct MassRefusalEvent {
    pool: String,
    /// How many.
    keys: usize,
}

/// The listener was too slow.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "says what the event is made of")]
struct LostEvent {
    /// How many it lost.
    events: u64,
}

/// What the data of each event are.
pub(super) fn describe(schemas: &mut Schemas) -> Value {
    json!({
        "key": schemas.given::<KeyEvent>(),
        "counters": schemas.given::<Counters>(),
        "reload": schemas.given::<ReloadEvent>(),
        "mass_refusal": schemas.given::<MassRefusalEvent>(),
        "lost": schemas.given::<LostEvent>(),
    })
}

pub(super) async fn listen(
    State(state): State<Arc<AdminState>>,
    request: Request,
) -> Result<Shaped<EventStream>, Problem> {
    if events::listeners() >= LISTENERS {
        let detail = format!("{LISTENERS} others listen already: end some of their streams");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", detail));
    }
    let heard = events::listen();
    // So that a listener need not wait for the next.
    let counters = Event { name: "counters", data: json!(state.manager.counters()).to_string().into() };
    let hello = Bytes::from(format!("{HELLO}{}", text(&counters)));
    let (end, pass) = (Instant::now() + LONGEST, Pass::of(&request));
    let rest = stream::unfold((heard, pass, state), move |(mut heard, pass, state)| async move {
        let piece = timeout_at(end, next(&mut heard)).await.ok()??;
        let may_listen = pass.as_ref().is_some_and(|pass| pass.holds(&state));
        may_listen.then_some((Ok::<_, Infallible>(piece), (heard, pass, state)))
    });
    let first = stream::once(async { Ok(hello) });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok(Shaped::new((headers, Body::from_stream(stream::StreamExt::chain(first, rest)))))
}

/// The next piece of a stream; `None` at its end.
async fn next(heard: &mut Receiver<Event>) -> Option<Bytes> {
    match timeout(HEARTBEAT, heard.recv()).await {
        Ok(Ok(event)) => Some(text(&event).into()),
        Ok(Err(RecvError::Lagged(lost))) => Some(format!("event: lost\ndata: {{\"events\":{lost}}}\n\n").into()),
        Ok(Err(RecvError::Closed)) => None,
        Err(_) => Some(Bytes::from_static(b": still here\n\n")),
    }
}

/// JSON has no line breaks.
fn text(event: &Event) -> String {
    format!("event: {}\ndata: {}\n\n", event.name, event.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_is_told_how_much_it_lost() {
        let mut heard = events::listen();
        (0..5000).for_each(|n| events::publish("test", || n.into()));
        let lost = String::from_utf8(next(&mut heard).await.unwrap().to_vec()).unwrap();
        let lost = lost.strip_prefix("event: lost\ndata: {\"events\":").unwrap().trim_end().trim_end_matches('}');
        assert!(lost.parse::<u32>().unwrap() >= 3976, "{lost}");
        assert!(next(&mut heard).await.unwrap().starts_with(b"event: "));
    }
}
