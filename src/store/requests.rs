//! The request log: one row per request, its body apart, read newest first by a cursor that stays right while rows are
//! added and forgotten.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, Func, LikeExpr, OnConflict, SimpleExpr},
};

use super::Store;
use super::audit::FilterIf;
use super::entity::{bodies, requests};
use super::error::StoreError;
use super::text::{clip, first_id, key_id, short, time_of};
use crate::config::KeyId;

/// Longest path and attempt trail kept (characters).
const LONG: usize = 8192;
/// Largest body kept (bytes).
const BODY: usize = 64 * 1024;
/// Rows and bytes of bodies of one statement.
const ROWS: usize = 200;
const BODY_BYTES: usize = 1 << 20;
/// What a row takes beside its texts (bytes), roughly, its indexes included.
const OVERHEAD: usize = 250;
/// What takes a wildcard's meaning away; a backslash means something else to each database.
const ESCAPE: char = '!';
/// Longest page.
const PAGE: u64 = 1000;

/// A request to be kept. Texts that are too long are cut; none may hold a key or token.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// When it ended (Unix milliseconds).
    pub at: i64,
    /// The `x-request-id`.
    pub request_id: String,
    /// The pool; empty if none was found.
    pub pool: String,
    /// The key that served it last.
    pub key: Option<KeyId>,
    /// That key's name.
    pub key_name: String,
    /// The client token's name.
    pub token: String,
    /// The client's address.
    pub client: String,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The model.
    pub model: String,
    /// The answer's status; 0 = none was sent.
    pub status: u16,
    /// How it ended, in the word metrics use.
    pub outcome: String,
    /// Attempts upstream.
    pub attempts: u32,
    /// What became of each attempt, and our own error code if there was one, as JSON.
    pub trail: String,
    /// How long it took (milliseconds).
    pub duration_ms: u64,
    /// Until the answer's first byte (milliseconds).
    pub first_byte_ms: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Tokens read, if the provider said.
    pub prompt_tokens: Option<u64>,
    /// Tokens written, if the provider said.
    pub completion_tokens: Option<u64>,
    /// The body, redacted; cut at 64 KiB.
    pub body: Option<Vec<u8>>,
}

/// A row of the request log.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// Its place in the order; also the cursor behind it.
    pub id: i64,
    /// The request; its body only where one row was asked for.
    pub request: Request,
}

/// Which requests are wanted; everything that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// From this moment on (Unix milliseconds).
    pub since: Option<i64>,
    /// Before this moment (Unix milliseconds).
    pub until: Option<i64>,
    /// Of this pool.
    pub pool: Option<String>,
    /// With this `x-request-id`.
    pub request_id: Option<String>,
    /// Served by this key …
    pub key: Option<KeyId>,
    /// … or by one of this name, or tried with it in vain.
    pub key_name: Option<String>,
    /// By the token of this name.
    pub token: Option<String>,
    /// For this model.
    pub model: Option<String>,
    /// From this address.
    pub client: Option<String>,
    /// Ended so.
    pub outcome: Option<String>,
    /// The lowest and the highest status.
    pub status: Option<(u16, u16)>,
    /// With this text in its path, model, request id, names or attempts.
    pub text: Option<String>,
}

/// Some rows, newest first.
#[derive(Debug, Clone)]
pub struct RequestPage {
    /// The rows, without bodies.
    pub rows: Vec<LoggedRequest>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

/// A row on its way to the database.
#[derive(Clone)]
pub(super) struct RequestRow {
    pub(super) row: requests::Model,
    body: Option<Vec<u8>>,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl Request {
    pub(super) fn row(self, id: i64) -> RequestRow {
        let mut body = self.body;
        if let Some(body) = &mut body {
            body.truncate(BODY);
        }
        let mut row = requests::Model {
            id,
            request_id: short(&self.request_id),
            pool: short(&self.pool),
            key_id: self.key.map(|key| key.as_bytes().to_vec()),
            key_name: short(&self.key_name),
            token: short(&self.token),
            client: short(&self.client),
            method: short(&self.method),
            path: clip(&self.path, LONG),
            model: short(&self.model),
            status: self.status.into(),
            outcome: short(&self.outcome),
            attempts: i32::try_from(self.attempts).unwrap_or(i32::MAX),
            trail: clip(&self.trail, LONG),
            duration_ms: signed(self.duration_ms),
            first_byte_ms: self.first_byte_ms.map(signed),
            bytes_in: signed(self.bytes_in),
            bytes_out: signed(self.bytes_out),
            prompt_tokens: self.prompt_tokens.map(signed),
            completion_tokens: self.completion_tokens.map(signed),
            size: 0,
        };
        let texts =
            [&row.request_id, &row.pool, &row.key_name, &row.token, &row.client, &row.path, &row.model, &row.trail];
        let bytes = OVERHEAD + texts.map(String::len).iter().sum::<usize>() + body.as_ref().map_or(0, Vec::len);
        row.size = signed(bytes as u64);
        RequestRow { row, body }
    }
}

impl RequestRow {
    /// Memory it takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.row.size).unwrap_or_default()
    }
}

/// Adds rows; those that are there already (a commit whose answer was lost) are left alone.
pub(super) async fn write(db: &impl ConnectionTrait, rows: &[RequestRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS) {
        let models = chunk.iter().map(|row| requests::ActiveModel::from(row.row.clone()));
        let once = OnConflict::column(requests::Column::Id).do_nothing_on([requests::Column::Id]).to_owned();
        requests::Entity::insert_many(models).on_conflict(once).exec_without_returning(db).await?;
    }
    let with_body: Vec<(i64, &Vec<u8>)> =
        rows.iter().filter_map(|row| Some((row.row.id, row.body.as_ref()?))).collect();
    for chunk in with_body.chunks(BODY_BYTES / BODY) {
        let models = chunk.iter().map(|(id, body)| bodies::ActiveModel { id: Set(*id), body: Set((*body).clone()) });
        let once = OnConflict::column(bodies::Column::Id).do_nothing_on([bodies::Column::Id]).to_owned();
        bodies::Entity::insert_many(models).on_conflict(once).exec_without_returning(db).await?;
    }
    Ok(())
}

impl TryFrom<requests::Model> for LoggedRequest {
    type Error = StoreError;

    fn try_from(row: requests::Model) -> Result<Self, StoreError> {
        let request = Request {
            at: time_of(row.id),
            request_id: row.request_id,
            pool: row.pool,
            key: row.key_id.as_deref().map(key_id).transpose()?,
            key_name: row.key_name,
            token: row.token,
            client: row.client,
            method: row.method,
            path: row.path,
            model: row.model,
            status: u16::try_from(row.status).unwrap_or_default(),
            outcome: row.outcome,
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            trail: row.trail,
            duration_ms: unsigned(row.duration_ms),
            first_byte_ms: row.first_byte_ms.map(unsigned),
            bytes_in: unsigned(row.bytes_in),
            bytes_out: unsigned(row.bytes_out),
            prompt_tokens: row.prompt_tokens.map(unsigned),
            completion_tokens: row.completion_tokens.map(unsigned),
            body: None,
        };
        Ok(Self { id: row.id, request })
    }
}

/// Whether a column has this text in it, whatever the case of its letters (of other alphabets than ours, where the database
/// knows of them).
fn mentions(column: requests::Column, text: &str) -> SimpleExpr {
    let lower = Func::lower(Expr::col(column)).like(pattern(&text.to_lowercase()));
    contains(column, text).or(lower)
}

/// Whether a column has this text in it, taken literally.
fn contains(column: requests::Column, text: &str) -> SimpleExpr {
    column.like(pattern(text))
}

fn pattern(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape(ESCAPE)
}

impl RequestFilter {
    fn apply(self, mut query: Select<requests::Entity>) -> Select<requests::Entity> {
        use requests::Column::{
            Client, Id, KeyId, KeyName, Model, Outcome, Path, Pool, RequestId, Status, Token, Trail,
        };
        if let Some(since) = self.since {
            query = query.filter(Id.gte(first_id(since)));
        }
        if let Some(until) = self.until {
            query = query.filter(Id.lt(first_id(until)));
        }
        if let Some((lowest, highest)) = self.status {
            query = query.filter(Status.between(i32::from(lowest), i32::from(highest)));
        }
        let has_id = self.key.map(|key| KeyId.eq(key.as_bytes().to_vec()));
        if let Some(name) = self.key_name {
            // As it stands in the trail.
            let in_trail = serde_json::json!({ "key": name }).to_string();
            let in_trail = contains(Trail, in_trail.trim_matches(['{', '}']));
            query = query.filter(Condition::any().add(KeyName.eq(name)).add(in_trail).add_option(has_id));
        } else if let Some(has_id) = has_id {
            query = query.filter(has_id);
        }
        if let Some(text) = self.text {
            let columns = [Path, Model, RequestId, KeyName, Token, Client, Trail];
            let any = columns.into_iter().fold(Condition::any(), |any, column| any.add(mentions(column, &text)));
            query = query.filter(any);
        }
        query
            .filter_if(Pool, self.pool)
            .filter_if(RequestId, self.request_id)
            .filter_if(Token, self.token)
            .filter_if(Model, self.model)
            .filter_if(Client, self.client)
            .filter_if(Outcome, self.outcome)
    }
}

impl Store {
    /// A page of the request log, newest first, of at most 1,000 rows; `before` is the cursor of the page before.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn requests(
        &self,
        filter: RequestFilter,
        before: Option<i64>,
        limit: u64,
    ) -> Result<RequestPage, StoreError> {
        let limit = limit.clamp(1, PAGE);
        self.read(move |db| {
            Box::pin(async move {
                let mut query = filter.apply(requests::Entity::find());
                if let Some(before) = before {
                    query = query.filter(requests::Column::Id.lt(before));
                }
                let found = query.order_by_desc(requests::Column::Id).limit(limit).all(&db).await?;
                let rows = found.into_iter().map(LoggedRequest::try_from).collect::<Result<Vec<_>, _>>()?;
                let next = rows.last().filter(|_| rows.len() as u64 == limit).map(|row| row.id);
                Ok(RequestPage { rows, next })
            })
        })
        .await
    }

    /// The requests with this `x-request-id` (clients may send one twice), newest first, with their bodies; at most 100.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn request(&self, request_id: String) -> Result<Vec<LoggedRequest>, StoreError> {
        self.read(move |db| {
            Box::pin(async move {
                let found = requests::Entity::find()
                    .filter(requests::Column::RequestId.eq(short(&request_id)))
                    .order_by_desc(requests::Column::Id)
                    .limit(100)
                    .all(&db)
                    .await?;
                let mut rows = found.into_iter().map(LoggedRequest::try_from).collect::<Result<Vec<_>, _>>()?;
                let ids = rows.iter().map(|row| row.id);
                for body in bodies::Entity::find().filter(bodies::Column::Id.is_in(ids)).all(&db).await? {
                    rows.iter_mut()
                        .filter(|row| row.id == body.id)
                        .for_each(|row| row.request.body = Some(body.body.clone()));
                }
                Ok(rows)
            })
        })
        .await
    }
}
