//! Keys that can't be used because the proxy they leave by is out of use.

use std::time::Duration;

use super::group::Group;
use super::{Bond, Millis, Pool, Reason};

impl Pool {
    /// The keys of an egress rest for this time at most; less if it is [back](Self::wake_egress) before.
    pub fn rest_egress(&self, name: &str, rest: Duration, now: Millis) {
        self.change_egress(name, now, |pool, group| {
            group.rest.begin(Reason::Egress, Some(rest), &pool.rules, now);
        });
    }

    /// The egress is back: its keys rest no more because of it.
    pub fn wake_egress(&self, name: &str, now: Millis) {
        self.change_egress(name, now, |_, group| {
            if group.rest.reason() == Some(Reason::Egress) {
                group.rest.reset();
            }
        });
    }

    fn change_egress(&self, name: &str, now: Millis, change: impl FnOnce(&Self, &Group)) {
        let _writer = self.ledger.lock();
        if let Some(heir) = self.heir.get() {
            return heir.pool.change_egress(name, now, change);
        }
        let is_meant = |group: &&Group| group.bond == Bond::Egress && &*group.name == name;
        if let Some(group) = self.groups.iter().find(is_meant) {
            change(self, group);
            group.members.iter().for_each(|&member| self.enter(member, now));
        }
    }
}
