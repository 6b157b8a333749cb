//! One client's connection: read a request, decide what its key deserves, act it out, again.
//!
//! Decision and act are apart: `decide` looks at key, outage and script and names the whole `Act` before the first
//! byte goes out, so a request is counted with its status before its client can know it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ring::digest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::answers::{self, Answer};
use super::behaviour::Behaviour;
use super::control::{self, Refusal, Settings};
use super::http::{Connection, Error, Head};
use super::misbehave::{Misbehaviour, echo_websocket};
use super::request::{Endpoint, Frame, Parameters};
use super::stats::{Arrival, Record};
use super::stream::{Ending, Stream, error_event};
use super::{Shared, http};

/// First byte of `sk-slow-*`.
const SLOW: Duration = Duration::from_secs(5);
/// What `sk-429-*` says to wait.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long a body stays unread after an early answer, unless the client leaves before.
const UNREAD: Duration = Duration::from_secs(60);

/// One connection's state.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    connection: Connection,
    number: u64,
    /// Carried a counted request already.
    used: bool,
    /// A `sk-stale-*` key was answered here: the next request finds the connection dead.
    stale: bool,
    out: Vec<u8>,
}

/// What a request gets.
#[derive(Debug)]
enum Act {
    Answer(Answer),
    /// The first half of an answer, then closed.
    HalfAnswer(Answer),
    /// The first half of an answer, then silence.
    StalledAnswer(Answer),
    Stream(Stream),
    Misbehave(Misbehaviour),
    /// No byte until the client leaves.
    Silence,
    WebSocket,
}

/// A request read whole.
struct Request<'a> {
    head: &'a Head,
    asked: Parameters<'a>,
    behaviour: Behaviour,
    body: &'a [u8],
    arrival: Arrival,
}

impl Session {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>) -> Session {
        let number = shared.stats.connected();
        Session { shared, connection: Connection::new(stream), number, used: false, stale: false, out: Vec::new() }
    }

    /// Answers until the connection ends.
    pub(super) async fn run(mut self) {
        loop {
            match self.exchange().await {
                Ok(true) => {}
                Ok(false) | Err(Error::Io(_)) => return,
                Err(error @ Error::Malformed(_)) => {
                    let refused = self.send(&answers::bad_request(&error.to_string()), 0).await;
                    log::debug!("mock: {error}, answer sent: {}", refused.is_ok());
                    return;
                }
            }
        }
    }

    /// One request and its answer; `false` = close.
    async fn exchange(&mut self) -> Result<bool, Error> {
        if self.stale {
            self.connection.fill().await?;
            return Ok(false);
        }
        let head = self.connection.head().await?;
        let control = head.path().starts_with(control::PREFIX);
        let behaviour = Behaviour::of(head.key.as_deref());
        if behaviour == Behaviour::Early401 && !control && head.framing != http::Framing::Length(0) {
            return self.refuse_unread(&head).await;
        }
        if head.expects_continue {
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = self.connection.body(head.framing).await?;
        if control {
            let answer = control::answer(&self.shared, &head.method, head.path(), &body);
            return Ok(self.send(&answer, 0).await?);
        }
        self.serve(&head, behaviour, &body).await
    }

    /// A request of a provider's client.
    async fn serve(&mut self, head: &Head, behaviour: Behaviour, body: &[u8]) -> Result<bool, Error> {
        let settings = *self.shared.settings.lock();
        let arrival = self.count(head, behaviour, body.len());
        let (act, delay) = match Parameters::read(head, body) {
            Ok(asked) => {
                let delay = Duration::from_millis(asked.mock.sleep_ms);
                let request = Request { head, asked, behaviour, body, arrival };
                (request.decide(&self.shared, &settings), delay)
            }
            Err(error) => (Act::Answer(unreadable(&error)), Duration::ZERO),
        };
        self.note(head, body, act.status(), settings.record);
        let delay = if behaviour == Behaviour::Slow { delay.max(SLOW) } else { delay };
        self.wait(delay).await?;
        self.stale = behaviour == Behaviour::Stale;
        Ok(self.act(act, head, arrival.number).await?)
    }

    async fn act(&mut self, act: Act, head: &Head, id: u64) -> io::Result<bool> {
        match act {
            Act::Answer(answer) => self.send(&answer, id).await,
            Act::HalfAnswer(answer) => self.send_half(&answer, id).await.map(|()| false),
            Act::StalledAnswer(answer) => {
                self.send_half(&answer, id).await?;
                Err(self.left_waiting().await)
            }
            Act::Stream(stream) => stream.send(&mut self.connection, &self.shared.stats).await,
            Act::Silence => Err(self.left_waiting().await),
            Act::Misbehave(misbehaviour) => misbehaviour.act(&mut self.connection).await.map(|()| false),
            Act::WebSocket => {
                let key = head.websocket_key.as_deref().unwrap_or_default();
                // As a provider's distance makes it: Pingora ends a tunnel whose 101 overtakes the request's end.
                tokio::time::sleep(Duration::from_millis(5)).await;
                echo_websocket(&mut self.connection, key).await.map(|()| false)
            }
        }
    }

    /// Sends a whole answer; `false` = its end is the connection's.
    async fn send(&mut self, answer: &Answer, id: u64) -> io::Result<bool> {
        self.out.clear();
        answer.write(id, &mut self.out);
        self.connection.send(&self.out).await?;
        Ok(answer.frame != Frame::Close)
    }

    async fn send_half(&mut self, answer: &Answer, id: u64) -> io::Result<()> {
        self.out.clear();
        answer.write(id, &mut self.out);
        let half = self.out.len() - answer.body.len() / 2;
        self.connection.send(&self.out[..half]).await
    }

    /// Lets time pass before an answer.
    async fn wait(&mut self, delay: Duration) -> io::Result<()> {
        if delay.is_zero() {
            return Ok(());
        }
        let waited = self.connection.pause_until(Instant::now() + delay).await;
        if waited.is_err() {
            self.shared.stats.waits_cancelled.fetch_add(1, Relaxed);
        }
        waited
    }

    /// Waits for a client that will get nothing more.
    async fn left_waiting(&mut self) -> io::Error {
        let gone = self.connection.gone().await;
        self.shared.stats.waits_cancelled.fetch_add(1, Relaxed);
        gone
    }

    /// Answers 401 and leaves the body on the wire.
    async fn refuse_unread(&mut self, head: &Head) -> Result<bool, Error> {
        let record = self.shared.settings.lock().record;
        self.count(head, Behaviour::Early401, 0);
        self.note(head, &[], Some(401), record);
        self.send(&answers::wrong_key(head.key.as_deref().unwrap_or_default()), 0).await?;
        self.connection.gone_unread(UNREAD).await?;
        Ok(false)
    }

    fn count(&mut self, head: &Head, behaviour: Behaviour, body_length: usize) -> Arrival {
        if !self.used {
            self.used = true;
            self.shared.stats.connections_used.fetch_add(1, Relaxed);
        }
        self.shared.stats.arrived(behaviour, head.key.as_deref(), body_length)
    }

    fn note(&self, head: &Head, body: &[u8], status: Option<u16>, keep: usize) {
        // Hashing a large body costs more than all the rest: not where nobody will read it.
        let record = (keep > 0).then(|| Record {
            connection: self.number,
            head: head.raw.clone(),
            method: head.method.clone(),
            target: head.target.clone(),
            key: head.key.clone(),
            body_bytes: body.len(),
            body_sha256: digest::digest(&digest::SHA256, body),
            status,
        });
        self.shared.stats.answering(head.key.as_deref(), status, record, keep);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.stats.disconnected();
    }
}

impl Act {
    /// The status line it will send, if any.
    fn status(&self) -> Option<u16> {
        match self {
            Act::Answer(answer) | Act::HalfAnswer(answer) | Act::StalledAnswer(answer) => Some(answer.status),
            Act::Stream(_) => Some(200),
            Act::Misbehave(misbehaviour) => misbehaviour.status(),
            Act::Silence => None,
            Act::WebSocket => Some(101),
        }
    }
}

impl Request<'_> {
    fn decide(&self, shared: &Shared, settings: &Settings) -> Act {
        match settings.outage(Instant::now()) {
            Some(Refusal::Closed) => return Act::Misbehave(Misbehaviour::Close),
            Some(Refusal::Status(status)) => return Act::Answer(answers::failed(status)),
            None => {}
        }
        if let Some(refusal) = self.refused(shared) {
            return refusal;
        }
        match self.asked.mock.status {
            Some(status) => Act::Answer(self.scripted(answers::failed(status))),
            None => self.fulfil(shared, settings),
        }
    }

    /// What keys get that never get a real answer.
    fn refused(&self, shared: &Shared) -> Option<Act> {
        let key = self.head.key.as_deref().unwrap_or_default();
        let answer = match self.behaviour {
            Behaviour::RateLimited => answers::rate_limited(self.asked.model(), 3, RETRY_AFTER),
            Behaviour::OutOfQuota => answers::out_of_quota(),
            Behaviour::Revoked | Behaviour::Unknown | Behaviour::Early401 => answers::wrong_key(key),
            Behaviour::Missing => answers::missing_key(),
            Behaviour::Forbidden => answers::forbidden(),
            Behaviour::ServerError => answers::failed(500),
            Behaviour::Flaky(failures) if self.arrival.earlier < failures => answers::failed(500),
            Behaviour::PerMinute(limit) => {
                let wait = shared.stats.admit(key, limit, Instant::now()).err()?;
                answers::rate_limited(self.asked.model(), limit, wait)
            }
            Behaviour::Hang => return Some(Act::Silence),
            behaviour => return misbehaviour(behaviour).map(Act::Misbehave),
        };
        Some(Act::Answer(answer))
    }

    /// The answer with what a test wants otherwise.
    fn scripted(&self, mut answer: Answer) -> Answer {
        let script = &self.asked.mock;
        if let Some(body) = &script.body {
            answer.body = body.to_string();
        }
        answer.headers.extend(script.headers.clone());
        answer.frame = script.frame.unwrap_or(answer.frame);
        answer
    }

    /// A 200, with whatever flaw the key gives it.
    fn fulfil(&self, shared: &Shared, settings: &Settings) -> Act {
        let endpoint = Endpoint::of(self.head);
        if endpoint == Endpoint::Chat && self.asked.stream() {
            return Act::Stream(self.stream(settings));
        }
        let answer = match endpoint {
            _ if self.behaviour == Behaviour::ErrorIn200 => Answer { status: 200, ..answers::failed(500) },
            Endpoint::Chat => answers::completion(
                self.arrival.number,
                &self.asked,
                self.body.len(),
                self.behaviour == Behaviour::Empty,
            ),
            Endpoint::Models => answers::models(),
            Endpoint::Embeddings => answers::embeddings(&self.asked, self.body.len()),
            Endpoint::Realtime => return Act::WebSocket,
            Endpoint::Balance(shape) => {
                match shared.balances.answer(shape, self.head.key.as_deref().unwrap_or_default()) {
                    Some(answer) => answer,
                    None => return Act::Silence,
                }
            }
            Endpoint::Other => {
                let made = shared.resources.answer(self.head, self.body, self.asked.model(), self.arrival.number);
                made.unwrap_or_else(|| answers::unknown_path(&self.head.method, self.head.path()))
            }
        };
        let mut answer = self.scripted(answer);
        match self.behaviour {
            Behaviour::NoLength => answer.frame = Frame::Close,
            Behaviour::Cut => return Act::HalfAnswer(answer),
            Behaviour::Stall => return Act::StalledAnswer(answer),
            _ => {}
        }
        Act::Answer(answer)
    }

    fn stream(&self, settings: &Settings) -> Stream {
        let ending = match self.behaviour {
            Behaviour::ErrorIn200 => Ending::Error(error_event()),
            Behaviour::Empty => Ending::NoContent,
            Behaviour::Stall => Ending::Stall,
            Behaviour::Cut => Ending::Cut,
            _ => Ending::Complete,
        };
        let mut stream = Stream::new(self.arrival.number, &self.asked, self.body.len(), settings, ending);
        if self.behaviour == Behaviour::NoLength {
            stream.frame = Frame::Close;
        }
        stream
    }
}

fn misbehaviour(behaviour: Behaviour) -> Option<Misbehaviour> {
    Some(match behaviour {
        Behaviour::Garbage => Misbehaviour::Garbage,
        Behaviour::HalfHead => Misbehaviour::HalfHead,
        Behaviour::Endless => Misbehaviour::Endless,
        Behaviour::UnaskedUpgrade => Misbehaviour::UnaskedUpgrade,
        Behaviour::Close => Misbehaviour::Close,
        _ => return None,
    })
}

fn unreadable(error: &serde_json::Error) -> Answer {
    let message = format!(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library \
         correctly. The parser said: {error})"
    );
    answers::bad_request(&message)
}
