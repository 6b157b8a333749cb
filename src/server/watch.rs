//! Watching files by the directories they are in.
//!
//! A file is seldom changed in place: editors and `mv` put another one under its name, Kubernetes turns a symbolic link
//! to another directory. So every directory on the way to a file is watched in which its name, or a link the way leads
//! through, may come to mean something else. A notice says only that it is worth looking at the files again.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::background;
use crate::manage::{Manager, Trigger};

/// A change is complete when nothing more happened for this long.
const QUIET: Duration = Duration::from_millis(300);
/// A file that never rests is looked at after this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// More links than this on the way to a file are a circle.
const MAX_LINKS: usize = 40;

/// Reloads at every SIGHUP, and when a file changes.
pub(super) struct Service(pub(super) Arc<Manager>);

#[async_trait]
impl BackgroundService for Service {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return log::error!("SIGHUP can't be watched: {error}"),
        };
        let mut watch = Watch::default();
        loop {
            watch.begin(&self.0.files());
            // Whatever happened while nobody watched is noticed here.
            if self.blocking(Manager::is_outdated).await {
                watch.touched.notify_one();
            }
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = hangups.recv() => self.blocking(|manager| drop(manager.reload(Trigger::Signal, false))).await,
                () = self.0.reloaded() => {}
                () = watch.touched.notified() => {
                    watch.settle().await;
                    self.blocking(Manager::reload_if_changed).await;
                }
            }
        }
    }
}

impl Service {
    /// Files of 100,000 keys take a while to read: not on a runtime thread.
    async fn blocking<T: Default + Send + 'static>(&self, act: impl FnOnce(&Manager) -> T + Send + 'static) -> T {
        let manager = self.0.clone();
        let outcome = background::run(move || act(&manager)).await;
        outcome.inspect_err(|error| log::error!("The reload broke off: {error}")).unwrap_or_default()
    }
}

/// Notices from the directories on the way to a set of files.
#[derive(Default)]
struct Watch {
    touched: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// Said once.
    complained: bool,
}

impl Watch {
    /// Watches for changes of these files, and no others.
    fn begin(&mut self, files: &[PathBuf]) {
        let mut places = Places::default();
        files.iter().for_each(|file| places.follow(file));
        // The old one first: their number is limited for each user.
        self.watcher = None;
        if places.directories.is_empty() {
            return;
        }
        match watcher(places, self.touched.clone()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) if !self.complained => {
                self.complained = true;
                log::warn!("Files can't be watched, so changes wait for a SIGHUP: {error}");
            }
            Err(_) => {}
        }
    }

    /// Waits until the change seems complete.
    async fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && timeout(QUIET, self.touched.notified()).await.is_ok() {}
    }
}

fn watcher(places: Places, touched: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let Places { directories, names } = places;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // What is not understood is worth a look too.
        if event.is_ok_and(|event| !is_about(&event, &names)) {
            return;
        }
        touched.notify_one();
    })?;
    directories.iter().try_for_each(|directory| watcher.watch(directory, RecursiveMode::NonRecursive))?;
    Ok(watcher)
}

fn is_about(event: &Event, names: &HashSet<PathBuf>) -> bool {
    let is_only_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    event.need_rescan() || (!is_only_read && event.paths.iter().any(|path| names.contains(path)))
}

/// Where a file may be replaced.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    directories: BTreeSet<PathBuf>,
    /// Files and links in them, by whole path.
    names: HashSet<PathBuf>,
}

impl Places {
    /// Walks to a file through all links. What is missing is awaited in the last directory there is.
    fn follow(&mut self, file: &Path) {
        let Ok(file) = std::path::absolute(file) else { return };
        let mut rest: VecDeque<OsString> = steps(&file);
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(name);
            let link = fs::read_link(&next).ok().filter(|_| links < MAX_LINKS);
            if link.is_none() && next.is_dir() && !rest.is_empty() {
                at = next;
                continue;
            }
            self.directories.insert(at.clone());
            self.names.insert(next);
            let Some(target) = link else { return };
            links += 1;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for step in steps(&target).into_iter().rev() {
                rest.push_front(step);
            }
        }
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn places(file: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let mut places = Places::default();
        places.follow(file);
        let mut names: Vec<_> = places.names.into_iter().collect();
        names.sort();
        (places.directories.into_iter().collect(), names)
    }

    #[test]
    fn the_way_leads_through_every_link() {
        let root = std::env::temp_dir().canonicalize().unwrap().join(format!("keyweir-places-{}", std::process::id()));
        fs::create_dir_all(root.join("..2026_01")).unwrap();
        fs::write(root.join("..2026_01/keys.yaml"), "").unwrap();
        symlink("..2026_01", root.join("..data")).unwrap();
        symlink("..data/keys.yaml", root.join("keys.yaml")).unwrap();
        symlink("circle", root.join("circle")).unwrap();

        let (directories, names) = places(&root.join("./keys.yaml"));
        assert_eq!(directories, [root.clone(), root.join("..2026_01")]);
        assert_eq!(names, [root.join("..2026_01/keys.yaml"), root.join("..data"), root.join("keys.yaml")]);

        assert_eq!(places(&root.join("missing/keys.yaml")), (vec![root.clone()], vec![root.join("missing")]));
        assert_eq!(places(&root.join("circle")).1, [root.join("circle")]);
        fs::remove_dir_all(root).unwrap();
    }
}
