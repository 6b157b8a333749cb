//! Managing: what holds now, and how it changes while the server runs, by files and by operators.
//!
//! Invariants: one change at a time. Whatever changes, the whole picture (files, store) is put together and judged
//! first, an operator's change is committed to the store next, and only then put into effect, by steps that can't fail.
//! Requests never wait for any of it.

mod certificates;
mod change;
mod effect;
mod error;
mod files;
mod first_run;
mod import;
mod journal;
mod keys;
mod marks;
mod operate;
mod pins;
mod quotas;
mod recorder;
mod reload;
mod settings;
mod spending;
mod stored;
mod tokens;
mod version;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub use certificates::Certificates;
pub use error::{ManageError, StartError};
pub use journal::Writer;
pub use keys::{Added, Candidate, KeyDetail, no_pool};
pub use operate::Actor;
pub use recorder::Recorder;
pub use reload::{Last, PoolChange, Refusal, Report, Trigger};
pub use settings::Settings;
pub use tokens::TokenView;
pub use watch::{Counters, Counts, KeyEvent, PoolCounters};

use crate::admin::Access;
use crate::config::{Config, Files, Loaded, Shown};
use crate::keypool::KeyPool;
use crate::proxy::{Edge, Records};
use crate::store::Store;
use crate::telemetry::{AccessLog, Recent, metrics};
use change::KeyIds;
use files::Contents;
use first_run::Tokens;
use stored::{Kept, Stored};

/// What the server's parts look at.
#[derive(Clone)]
pub struct Live {
    /// The configuration in effect.
    pub config: Arc<ArcSwap<Config>>,
    /// The pools.
    pub keypool: Arc<KeyPool>,
    /// What requests are judged by.
    pub edge: Arc<ArcSwap<Edge>>,
    /// Who may use the operators' listeners.
    pub access: Arc<ArcSwap<Access>>,
    /// The access log.
    pub access_log: Arc<AccessLog>,
    /// What finished requests leave behind for the store.
    pub records: Arc<Records>,
    /// The listeners' certificates.
    pub certificates: Arc<Certificates>,
}

/// Changes what holds.
pub struct Manager {
    /// The configuration's file.
    path: PathBuf,
    /// The configuration the process was started with, as far as only a restart changes it.
    started: Config,
    store: Store,
    live: Live,
    picture: ArcSwap<Picture>,
    /// Held during a change. Whoever only looks must not wait for it: a change waits for the store.
    turn: Mutex<Known>,
    /// Held while marks go from the pools to the journal, and while an operator's go past it to the store: what is older
    /// than those must not come after them.
    handover: Mutex<()>,
    last: ArcSwap<Last>,
    /// Told after each reload: other files may count now.
    reloaded: Notify,
    /// Keys came or went, and the store does not know yet.
    keys_changed: AtomicBool,
    /// The last hour, for the overview.
    recent: Recent,
}

/// What holds now.
struct Picture {
    files: Files,
    stored: Stored,
    /// The tokens that were made because there were none.
    tokens: Tokens,
    /// For settings to be shown with their origin.
    shown: Shown,
    /// Differs after every change.
    version: u64,
}

/// What is known of the files.
struct Known {
    /// Their contents as they were read last, whether or not they were accepted.
    contents: Contents,
    /// The missing file that was complained about.
    missing: Option<PathBuf>,
    /// Keys of an import under way, in the store already and not in effect yet.
    arrived: Vec<Kept>,
}

/// The right to change something, and what held when it was given.
struct Turn<'m> {
    known: MutexGuard<'m, Known>,
    picture: Arc<Picture>,
}

impl Turn<'_> {
    /// Differs after every change of what there is.
    fn state(&self) -> (u64, usize) {
        (self.picture.version, self.known.arrived.len())
    }
}

impl Manager {
    /// Takes the files (as read from `path`) and the store, and builds what the server's parts look at. Blocks; call it
    /// outside of any runtime.
    ///
    /// # Errors
    /// If something the server can't do without can't be had. An unreachable store is no error.
    pub fn start(path: PathBuf, files: Loaded) -> Result<Self, StartError> {
        let store = Store::open(&files.config.store)?;
        let mut stored = Stored::read(&store);
        let loaded = stored.over(files);
        loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        let tokens = first_run::tokens(&loaded.config, &mut stored, &store)?;
        let live = effect::first(&loaded, &tokens)?;
        let pools = KeyIds::of(&live.keypool.entries()).changes(&KeyIds::default());
        let outcome = Ok(Report { pools, ..Report::default() });
        metrics::config_reloaded(true);
        let known =
            Known { contents: files::read(files::of(&path, &loaded.config)), missing: None, arrived: Vec::new() };
        let picture = Picture { version: 0, shown: loaded.shown, files: loaded.files, tokens, stored };
        let manager = Self {
            path,
            started: loaded.config,
            store,
            live,
            picture: ArcSwap::from_pointee(picture),
            turn: Mutex::new(known),
            handover: Mutex::new(()),
            last: ArcSwap::from_pointee(Last { time: SystemTime::now(), trigger: Trigger::Start, outcome }),
            reloaded: Notify::new(),
            keys_changed: AtomicBool::new(true),
            recent: Recent::default(),
        };
        manager.restore_marks();
        manager.restore_spending();
        manager.restore_use();
        manager.restore_pins();
        Ok(manager)
    }

    /// What the server's parts look at.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The last hour's requests.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// How the last reload went.
    pub fn last_reload(&self) -> Arc<Last> {
        self.last.load_full()
    }

    /// Resolves after the next reload: other files may count then.
    pub async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// Name of the pool that owns unprefixed paths.
    pub fn default_pool(&self) -> Option<String> {
        let config = self.live.config.load();
        config.pools.get(config.default_pool?).map(|pool| pool.name.clone())
    }

    fn turn(&self) -> Turn<'_> {
        let mut turn = self.turn_between_lots();
        if let Err(error) = self.take_in(&mut turn) {
            log::error!(error:%; "Keys that were imported can't be put into effect.");
        }
        turn
    }

    /// A turn that leaves the keys of an import under way where they are.
    fn turn_between_lots(&self) -> Turn<'_> {
        let known = self.turn.lock();
        Turn { known, picture: self.picture.load_full() }
    }

    /// `keyweir token reset-admin` may have set another while the server runs.
    fn look_up_admin_token(&self, stored: &mut Stored) {
        if let Ok(token) = Self::wait(self.store.admin_token()) {
            stored.admin_token = token;
        }
    }
}
