//! Locks on resources (RFC 4918 sections 6 and 7), kept in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hemi_core::clock::{self, Moment};

use super::paths::DavPath;

/// Who else may have a lock beside this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Exclusive,
    Shared,
}

/// How far a lock, or what is done to a resource, reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The resource, for a collection with the list of what is in it.
    Zero,
    /// All that is in it too.
    Infinity,
}

/// A lock. Its owner is a client that knows the token and is the same user.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub(super) token: String,
    pub(super) root: DavPath,
    pub(super) scope: Scope,
    pub(super) depth: Depth,
    /// What the client says about itself, as XML.
    pub(super) owner: Option<String>,
    pub(super) user: Option<Box<str>>,
    pub(super) until: Moment,
}

/// What a client shows to have locks obeyed as its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    pub(super) tokens: &'a [String],
    pub(super) user: Option<&'a str>,
}

/// Why there is no lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoLock {
    /// There is one here already that does not bear it.
    Conflict(DavPath),
    /// There are too many.
    Full,
}

/// Why a lock was not taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReleased {
    Unknown,
    NotYours,
}

/// All locks of a tree.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// By the path that each was taken on.
    locks: BTreeMap<DavPath, Vec<Arc<Lock>>>,
    count: usize,
}

impl Lock {
    fn is_of(&self, keys: Keys<'_>) -> bool {
        self.user.as_deref() == keys.user && keys.tokens.contains(&self.token)
    }

    fn holds(&self, now: Moment) -> bool {
        now < self.until
    }

    /// How long it still holds.
    pub(super) fn left(&self) -> Duration {
        self.until.since(clock::now())
    }
}

impl Locks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The locks that a resource is under.
    pub(super) fn on(&self, path: &DavPath) -> Vec<Arc<Lock>> {
        self.table().on(path, clock::now()).cloned().collect()
    }

    /// Takes a lock, of which there may be `most`.
    pub(super) fn take(&self, lock: Lock, most: usize) -> Result<Arc<Lock>, NoLock> {
        let now = clock::now();
        let mut table = self.table();
        let bears =
            |other: &&Arc<Lock>| (lock.scope, other.scope) == (Scope::Shared, Scope::Shared);
        let on = table.on(&lock.root, now).find(|other| !bears(other)).cloned();
        let within = || table.within(&lock.root, now).find(|other| !bears(other)).cloned();
        let conflict = on.or_else(|| (lock.depth == Depth::Infinity).then(within).flatten());
        if let Some(other) = conflict {
            return Err(NoLock::Conflict(other.root.clone()));
        }
        if table.count >= most {
            table.sweep(now);
        }
        if table.count >= most {
            return Err(NoLock::Full);
        }
        let lock = Arc::new(lock);
        table.locks.entry(lock.root.clone()).or_default().push(lock.clone());
        table.count += 1;
        Ok(lock)
    }

    /// Has the lock that a client shows the key of hold until another moment.
    pub(super) fn refresh(
        &self,
        path: &DavPath,
        keys: Keys<'_>,
        until: Moment,
    ) -> Option<Arc<Lock>> {
        let mut table = self.table();
        let found = table.on(path, clock::now()).find(|lock| lock.is_of(keys))?.clone();
        let refreshed = Arc::new(Lock { until, ..(*found).clone() });
        let slot = table.locks.get_mut(&found.root)?.iter_mut().find(|l| l.token == found.token)?;
        *slot = refreshed.clone();
        Some(refreshed)
    }

    /// Takes a lock off, by any resource that is under it.
    pub(super) fn release(&self, path: &DavPath, keys: Keys<'_>) -> Result<(), NotReleased> {
        let mut table = self.table();
        let found = table.on(path, clock::now()).find(|lock| keys.tokens.contains(&lock.token));
        let found = found.ok_or(NotReleased::Unknown)?.clone();
        if !found.is_of(keys) {
            return Err(NotReleased::NotYours);
        }
        table.retain(&found.root, |lock| lock.token != found.token);
        Ok(())
    }

    /// Finds out whether a client may change a resource, or all that is in it too.
    ///
    /// # Errors
    /// With the root of a lock that the client does not show the key of.
    pub(super) fn check(
        &self,
        path: &DavPath,
        depth: Depth,
        keys: Keys<'_>,
    ) -> Result<(), DavPath> {
        let now = clock::now();
        let table = self.table();
        let mut on = table.on(path, now).peekable();
        // Of several, which all are shared, one will do.
        if let Some(first) = on.peek().copied()
            && !on.any(|lock| lock.is_of(keys))
        {
            return Err(first.root.clone());
        }
        if depth == Depth::Zero {
            return Ok(());
        }
        let mut within = table.within(path, now);
        let opens = |lock: &Arc<Lock>| {
            let mut beside = table.locks.get(&lock.root).into_iter().flatten();
            beside.any(|lock| lock.holds(now) && lock.is_of(keys))
        };
        within.find(|lock| !opens(lock)).map_or(Ok(()), |lock| Err(lock.root.clone()))
    }

    /// Forgets the locks on what is gone.
    pub(super) fn forget(&self, path: &DavPath) {
        self.table().retain_all(|lock| !lock.root.is_within(path));
    }

    /// Forgets the locks on what was in something that has been replaced.
    pub(super) fn forget_inside(&self, path: &DavPath) {
        self.table().retain_all(|lock| lock.root == *path || !lock.root.is_within(path));
    }
}

impl Table {
    /// The locks that a resource is under.
    fn on<'t>(&'t self, path: &'t DavPath, now: Moment) -> impl Iterator<Item = &'t Arc<Lock>> {
        path.and_outer()
            .filter_map(|path| self.locks.get(path))
            .flatten()
            .filter(move |lock| lock.root == *path || lock.depth == Depth::Infinity)
            .filter(move |lock| lock.holds(now))
    }

    /// The locks on what is in it.
    fn within(&self, path: &DavPath, now: Moment) -> impl Iterator<Item = &Arc<Lock>> {
        // What begins with the same bytes comes one after the other.
        let after = self.locks.range((Bound::Excluded(path.clone()), Bound::Unbounded));
        let path = path.clone();
        let begins = path.clone();
        after
            .take_while(move |(root, _)| root.as_str().starts_with(begins.as_str()))
            .filter(move |(root, _)| root.is_within(&path))
            .flat_map(|(_, locks)| locks)
            .filter(move |lock| lock.holds(now))
    }

    fn retain(&mut self, root: &DavPath, keeps: impl Fn(&Lock) -> bool) {
        let Some(locks) = self.locks.get_mut(root) else { return };
        let before = locks.len();
        locks.retain(|lock| keeps(lock));
        self.count -= before - locks.len();
        if locks.is_empty() {
            self.locks.remove(root);
        }
    }

    fn retain_all(&mut self, keeps: impl Fn(&Lock) -> bool) {
        self.locks.retain(|_, locks| {
            locks.retain(|lock| keeps(lock));
            !locks.is_empty()
        });
        self.count = self.locks.values().map(Vec::len).sum();
    }

    fn sweep(&mut self, now: Moment) {
        self.retain_all(|lock| lock.holds(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlets::webdav::paths::Prefix;

    fn path(text: &str) -> DavPath {
        Prefix::default().below(text).unwrap()
    }

    fn lock(token: &str, root: &str, scope: Scope, depth: Depth, until: Moment) -> Lock {
        let (token, root) = (token.to_owned(), path(root));
        Lock { token, root, scope, depth, owner: None, user: None, until }
    }

    fn keys(tokens: &[String]) -> Keys<'_> {
        Keys { tokens, user: None }
    }

    #[test]
    fn who_conflicts_with_whom() {
        use Depth::{Infinity, Zero};
        use Scope::{Exclusive, Shared};
        for (first, second, both) in [
            (("/a", Exclusive, Zero), ("/a", Exclusive, Zero), false),
            (("/a", Exclusive, Zero), ("/a", Shared, Zero), false),
            (("/a", Shared, Zero), ("/a", Exclusive, Zero), false),
            (("/a", Shared, Zero), ("/a", Shared, Infinity), true),
            (("/a", Exclusive, Zero), ("/a/b", Exclusive, Zero), true),
            (("/a", Exclusive, Infinity), ("/a/b/c", Exclusive, Zero), false),
            (("/a/b/c", Exclusive, Zero), ("/a", Exclusive, Infinity), false),
            (("/a/b/c", Exclusive, Zero), ("/", Shared, Infinity), false),
            (("/a/b/c", Exclusive, Zero), ("/a", Exclusive, Zero), true),
            (("/a-b", Exclusive, Zero), ("/a", Exclusive, Infinity), true),
            (("/ab", Exclusive, Infinity), ("/a", Exclusive, Infinity), true),
        ] {
            let locks = Locks::default();
            let of = |(root, scope, depth), token| lock(token, root, scope, depth, Moment::NEVER);
            assert!(locks.take(of(first, "1"), 2).is_ok());
            let taken = locks.take(of(second, "2"), 2);
            assert_eq!(taken.is_ok(), both, "{first:?} {second:?}");
        }
    }

    #[test]
    fn locks_end_and_make_room() {
        let locks = Locks::default();
        let of = |root, until| lock("t", root, Scope::Exclusive, Depth::Zero, until);
        let past = clock::now();
        assert!(locks.take(of("/a", past), 1).is_ok());
        assert!(locks.on(&path("/a")).is_empty());
        assert!(locks.take(of("/b", Moment::NEVER), 1).is_ok());
        assert_eq!(locks.take(of("/c", Moment::NEVER), 1).unwrap_err(), NoLock::Full);
        locks.forget(&path("/"));
        assert!(locks.take(of("/c", Moment::NEVER), 1).is_ok());
    }

    #[test]
    fn changes_need_the_keys_of_all_locks_in_the_way() {
        let locks = Locks::default();
        for (token, root, scope, depth) in [
            ("1", "/a", Scope::Shared, Depth::Infinity),
            ("2", "/a", Scope::Shared, Depth::Zero),
            ("3", "/a/b", Scope::Shared, Depth::Zero),
            ("4", "/c/d", Scope::Exclusive, Depth::Zero),
        ] {
            locks.take(lock(token, root, scope, depth, Moment::NEVER), 9).unwrap();
        }
        let check = |at: &str, depth, tokens: &[&str]| {
            let tokens: Vec<_> = tokens.iter().map(|token| (*token).to_owned()).collect();
            locks.check(&path(at), depth, keys(&tokens)).is_ok()
        };
        for (at, depth, tokens, may) in [
            ("/a", Depth::Zero, &[][..], false),
            ("/a", Depth::Zero, &["2"], true),
            ("/a/x", Depth::Zero, &["2"], false),
            ("/a/x", Depth::Zero, &["1"], true),
            ("/a/b", Depth::Zero, &["3"], true),
            ("/a", Depth::Infinity, &["1"], false),
            ("/a", Depth::Infinity, &["1", "3"], true),
            ("/c", Depth::Zero, &[], true),
            ("/c", Depth::Infinity, &[], false),
            ("/c", Depth::Infinity, &["4"], true),
            ("/", Depth::Infinity, &["4"], false),
        ] {
            assert_eq!(check(at, depth, tokens), may, "{at} {depth:?} {tokens:?}");
        }
        let other = Keys { tokens: &["4".to_owned()], user: Some("other") };
        assert!(locks.check(&path("/c/d"), Depth::Zero, other).is_err());
        assert_eq!(locks.release(&path("/c/d"), other), Err(NotReleased::NotYours));
        let tokens = ["4".to_owned()];
        assert_eq!(locks.release(&path("/c"), keys(&tokens)), Err(NotReleased::Unknown));
        assert_eq!(locks.release(&path("/c/d"), keys(&tokens)), Ok(()));
    }
}
