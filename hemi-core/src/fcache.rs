//! The fixture `fcache`: contents of small files and descriptors of large ones, kept for a moment.
//!
//! ```gorox
//! stage {
//! 	fcache { .smallFileSize = 32K  .cacheTimeout = 5s }
//! }
//! ```
//!
//! Each core has a cache of its own. An entry is trusted for `cacheTimeout`; then the file is looked at
//! again, and the entry stays if nothing has changed.

mod beneath;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Deserialize;

use crate::clock::{self, Moment};
use crate::config::{KindName, Size};
use crate::cores::PerCore;
use crate::io::{Room, SharedFile};
use crate::metrics::Measures;
use crate::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Result};

use beneath::Directory;

/// The kind of the one component [`Fcache`].
#[derive(Debug)]
pub struct FcacheKind;

impl KindName for FcacheKind {
    const NAME: &'static str = "fcache";
}

impl Kind for FcacheKind {
    type Object = Fcache;
    const RANK: Rank = Rank::FIXTURE;
    const PLACE: Place = Place::Fixture;
}

/// Keeps open files and small contents for all components of a stage.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct FcacheConfig {
    /// Files up to this size are kept as bytes; of larger ones the descriptor is kept.
    pub small_file_size: Size,
    /// Of files up to this size the bytes are kept beside the descriptor, once they were asked for twice by
    /// HTTP/2, HTTP/3 or over TLS, where the kernel can't send them from the file. 0 for none.
    pub medium_file_size: Size,
    /// Small files kept at once, at most, over all cores.
    pub max_small_files: usize,
    /// Descriptors kept at once, at most, over all cores.
    pub max_large_files: usize,
    /// Bytes of small files kept at once, at most, over all cores.
    pub max_bytes: Size,
    /// Bytes of medium files kept at once, at most, over all cores. Others are read each time.
    pub max_medium_bytes: Size,
    /// How long an entry is used before the file is looked at again.
    pub cache_timeout: Duration,
}

impl Default for FcacheConfig {
    fn default() -> Self {
        Self {
            small_file_size: Size(64 << 10),
            medium_file_size: Size(1 << 20),
            max_small_files: 10_000,
            max_large_files: 500,
            max_bytes: Size(256 << 20),
            max_medium_bytes: Size(128 << 20),
            cache_timeout: Duration::from_secs(1),
        }
    }
}

/// The cache of files.
#[derive(Debug)]
pub struct Fcache {
    limits: Limits,
    roots: AtomicUsize,
    caches: PerCore<Cache>,
}

/// A directory below which files are looked up; no path leads out of it.
#[derive(Clone, Debug)]
pub struct Root {
    index: usize,
    path: Arc<Path>,
    links: Links,
}

/// Which symbolic links are followed. None that leads out of the root ever is, nor one that is absolute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum Links {
    /// All others.
    #[default]
    Beneath,
    /// None.
    None,
    /// Those that belong to the owner of what they lead to.
    Owner,
}

impl Root {
    /// The same, where other links are followed.
    #[must_use]
    pub fn following(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// The directory, which need not exist.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file or directory as [`Fcache::open`] does, but past the cache. May block.
    ///
    /// # Errors
    /// What opening it gave; `PermissionDenied` too if the path would lead out of the root.
    pub fn open(&self, path: &str) -> io::Result<File> {
        Directory::open(&self.path)?.open_file(path, self.links)
    }
}

/// A file or directory, as it was when last looked at.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub content: Content,
    /// Bytes.
    pub len: u64,
    /// When it was last changed.
    pub modified: SystemTime,
    /// Tells this state of the file from others: inode and nanoseconds of the last change.
    pub version: (u64, i64),
    notes: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What an entry holds of its file.
#[derive(Clone, Debug)]
pub enum Content {
    /// All its bytes.
    Small(Bytes),
    /// The open file.
    Large(SharedFile),
    /// It is a directory.
    Directory,
    /// It is a device, pipe or socket, which nobody is served from.
    Special,
}

impl Entry {
    /// What the user of the cache has worked out about the entry; kept with it.
    pub fn note<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.notes.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// Whether the file is still the same. One that was written twice within a tick of the clock may
    /// differ in its length alone.
    fn is(&self, found: &Found) -> bool {
        (self.version, self.len) == (found.version, found.len)
    }
}

impl Component for Fcache {
    const SIGN: &'static str = "fcache";
    type Config = FcacheConfig;

    fn create(config: FcacheConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::new(&config, cx.cores()))
    }
}

impl Lifecycle for Fcache {
    fn measure(&self, out: &mut Measures) {
        let (mut files, mut bytes, mut hits, mut looks) = ([0, 0], 0, 0, 0);
        for cache in self.caches.each() {
            for (files, order) in files.iter_mut().zip(&cache.order) {
                *files += order.len() as u64;
            }
            bytes += cache.bytes;
            hits += cache.hits;
            looks += cache.looks;
        }
        for (size, files) in ["small", "large"].into_iter().zip(files) {
            let help = "Files, and directories with the small ones, that are kept, over all cores.";
            out.gauge("hemi_fcache_files", help, &[("size", size)], files);
        }
        out.gauge("hemi_fcache_bytes", "Bytes of small files that are kept.", &[], bytes);
        out.counter("hemi_fcache_hits", "Times a file was there that is trusted.", &[], hits);
        out.counter("hemi_fcache_looks", "Times the file system was asked.", &[], looks);
    }
}

impl Fcache {
    /// A cache for this many cores.
    #[must_use]
    pub fn new(config: &FcacheConfig, cores: usize) -> Self {
        let share = |total: usize| total.div_ceil(cores.max(1));
        let limits = Limits {
            small: config.small_file_size.0,
            medium: config.medium_file_size.0,
            files: [share(config.max_small_files), share(config.max_large_files)],
            bytes: config.max_bytes.0 / cores.max(1) as u64,
            room: Room::new(config.max_medium_bytes.0),
            timeout: config.cache_timeout,
        };
        Self { limits, roots: AtomicUsize::new(0), caches: PerCore::new(cores, Cache::default) }
    }

    /// Makes a directory known; it need not be there yet.
    pub fn root(&self, path: impl Into<PathBuf>) -> Root {
        let index = self.roots.fetch_add(1, Ordering::Relaxed);
        Root { index, path: path.into().into(), links: Links::Beneath }
    }

    /// Looks up a file or directory by its path below `root`: without a leading `/`; empty for the root itself.
    ///
    /// Symbolic links are followed as the root's [`Links`] say.
    ///
    /// # Errors
    /// What opening it gave; `PermissionDenied` too if the path would lead out of the root.
    pub fn open(&self, root: &Root, path: &str) -> io::Result<Arc<Entry>> {
        let cache = &mut *self.caches.mine();
        if cache.roots.len() <= root.index {
            cache.roots.resize_with(root.index + 1, RootCache::default);
        }
        let now = clock::now();
        let known = &mut cache.roots[root.index];
        if let Some(slot) = known.slots.get_mut(path) {
            slot.used = true;
            if now < slot.trusted {
                cache.hits += 1;
                return Ok(slot.entry.clone());
            }
        }
        cache.looks += 1;
        let result = self.look(&mut known.directory, root, path, now);
        cache.keep(root.index, path, result, now, &self.limits)
    }

    fn look(
        &self,
        directory: &mut Option<(Directory, Moment)>,
        root: &Root,
        path: &str,
        now: Moment,
    ) -> io::Result<Found> {
        if directory.as_ref().is_none_or(|(_, trusted)| now >= *trusted) {
            *directory = Some((Directory::open(&root.path)?, now.after(self.limits.timeout)));
        }
        let Some((directory, _)) = directory else { return Err(io::ErrorKind::NotFound.into()) };
        let file = directory.open_file(path, root.links)?;
        let meta = file.metadata()?;
        let changed = meta.mtime().wrapping_mul(1_000_000_000).wrapping_add(meta.mtime_nsec());
        Ok(Found {
            file,
            len: meta.len(),
            kind: meta.file_type(),
            version: (meta.ino(), changed),
            modified: meta.modified()?,
        })
    }
}

#[derive(Debug)]
struct Limits {
    /// Bytes of a small file, at most.
    small: u64,
    /// Bytes of a medium one, at most.
    medium: u64,
    /// Entries of each class on one core.
    files: [usize; 2],
    /// Bytes of small files on one core.
    bytes: u64,
    /// For the bytes of medium ones, on all cores.
    room: Arc<Room>,
    timeout: Duration,
}

impl Limits {
    /// A large file, or a medium one.
    fn shared(&self, file: File, len: u64) -> SharedFile {
        // One that is not kept nobody else asks for.
        if len <= self.medium && !self.timeout.is_zero() {
            SharedFile::kept_in(file, len, self.room.clone())
        } else {
            file.into()
        }
    }
}

#[derive(Debug, Default)]
struct Cache {
    roots: Vec<RootCache>,
    /// Keys of the entries of each class, the next to be thrown out first.
    order: [VecDeque<(usize, Box<str>)>; 2],
    bytes: u64,
    hits: u64,
    looks: u64,
}

#[derive(Debug, Default)]
struct RootCache {
    directory: Option<(Directory, Moment)>,
    slots: HashMap<Box<str>, Slot, foldhash::quality::RandomState>,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    trusted: Moment,
    /// Was asked for since it was last considered for throwing out.
    used: bool,
}

/// An opened file, of which nothing was read.
struct Found {
    file: File,
    len: u64,
    kind: std::fs::FileType,
    version: (u64, i64),
    modified: SystemTime,
}

impl Found {
    fn into_entry(mut self, limits: &Limits) -> io::Result<Entry> {
        let small = limits.small;
        let content = if self.kind.is_dir() {
            Content::Directory
        } else if !self.kind.is_file() {
            Content::Special
        } else if self.len > small {
            Content::Large(limits.shared(self.file, self.len))
        } else {
            let mut bytes = Vec::with_capacity(self.len as usize + 1);
            (&mut self.file).take(small + 1).read_to_end(&mut bytes)?;
            // It may have grown or shrunk since it was measured.
            self.len = bytes.len() as u64;
            if self.len > small {
                self.len = self.file.metadata()?.len();
                Content::Large(limits.shared(self.file, self.len))
            } else {
                Content::Small(bytes.into())
            }
        };
        let (len, modified, version) = (self.len, self.modified, self.version);
        Ok(Entry { content, len, modified, version, notes: OnceLock::new() })
    }
}

/// Entries with bytes, or none at all, are of class 0; those with a descriptor of class 1.
fn class(entry: &Entry) -> usize {
    usize::from(matches!(entry.content, Content::Large(_)))
}

fn weight(entry: &Entry) -> u64 {
    if class(entry) == 0 { entry.len } else { 0 }
}

impl Cache {
    fn keep(
        &mut self,
        root: usize,
        path: &str,
        found: io::Result<Found>,
        now: Moment,
        limits: &Limits,
    ) -> io::Result<Arc<Entry>> {
        let slots = &mut self.roots[root].slots;
        let trusted = now.after(limits.timeout);
        let found = match (slots.get_mut(path), found) {
            (Some(slot), Ok(found)) if slot.entry.is(&found) => {
                slot.trusted = trusted;
                return Ok(slot.entry.clone());
            }
            (Some(_), found) => {
                self.remove(root, path);
                found?
            }
            (None, found) => found?,
        };
        let entry = Arc::new(found.into_entry(limits)?);
        if limits.timeout.is_zero() {
            return Ok(entry);
        }
        let class = class(&entry);
        self.bytes += weight(&entry);
        self.order[class].push_back((root, path.into()));
        let slot = Slot { entry: entry.clone(), trusted, used: false };
        self.roots[root].slots.insert(path.into(), slot);
        while self.order[class].len() > limits.files[class] || self.bytes > limits.bytes {
            if !self.throw_one_out(class) {
                break;
            }
        }
        Ok(entry)
    }

    /// Throws out the entry that was there longest and was not asked for lately; false if there is none.
    fn throw_one_out(&mut self, class: usize) -> bool {
        while let Some((root, path)) = self.order[class].pop_front() {
            match self.roots[root].slots.get_mut(&path) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.order[class].push_back((root, path));
                }
                Some(_) => {
                    self.forget(root, &path);
                    return true;
                }
                None => {}
            }
        }
        false
    }

    fn remove(&mut self, root: usize, path: &str) {
        for order in &mut self.order {
            order.retain(|(r, p)| (*r, &**p) != (root, path));
        }
        self.forget(root, path);
    }

    fn forget(&mut self, root: usize, path: &str) {
        if let Some(slot) = self.roots[root].slots.remove(path) {
            self.bytes -= weight(&slot.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(config: FcacheConfig) -> (PathBuf, Fcache, Root) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("hemi-fcache-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let fcache = Fcache::new(&config, 1);
        let root = fcache.root(&dir);
        (dir, fcache, root)
    }

    fn bytes(entry: &Entry) -> &[u8] {
        match &entry.content {
            Content::Small(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_are_kept_until_the_file_changes() {
        let (dir, fcache, root) = cache(FcacheConfig::default());
        std::fs::write(dir.join("a.txt"), "one").unwrap();
        let first = fcache.open(&root, "a.txt").unwrap();
        std::fs::write(dir.join("a.txt"), "three").unwrap();
        // As if the clock had not ticked in between.
        let file = File::options().write(true).open(dir.join("a.txt")).unwrap();
        file.set_modified(first.modified).unwrap();
        assert!(Arc::ptr_eq(&first, &fcache.open(&root, "a.txt").unwrap()));
        for known in &mut fcache.caches.mine().roots {
            known.slots.values_mut().for_each(|slot| slot.trusted = clock::now());
        }
        let second = fcache.open(&root, "a.txt").unwrap();
        assert_eq!((bytes(&first), bytes(&second)), (&b"one"[..], &b"three"[..]));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn small_large_and_directories_are_told_apart() {
        let config = FcacheConfig { small_file_size: Size(10), ..Default::default() };
        let (dir, fcache, root) = cache(config);
        std::fs::create_dir(dir.join("d")).unwrap();
        std::fs::write(dir.join("d/large"), "12345678901").unwrap();
        let open = |path: &str| fcache.open(&root, path).unwrap();
        assert!(matches!(open("").content, Content::Directory));
        assert!(matches!(open("d").content, Content::Directory));
        assert!(matches!(open("d/large").content, Content::Large(_)));
        assert_eq!(fcache.open(&root, "no").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn no_more_is_kept_than_allowed_and_what_is_asked_for_stays() {
        let config =
            FcacheConfig { max_small_files: 3, max_bytes: Size(100), ..Default::default() };
        let (dir, fcache, root) = cache(config);
        for name in ["a", "b", "c", "d", "e"] {
            std::fs::write(dir.join(name), [b'x'; 30]).unwrap();
        }
        for name in ["a", "b", "a", "c", "a", "d", "a", "e"] {
            fcache.open(&root, name).unwrap();
        }
        let cache = fcache.caches.mine();
        let mut kept: Vec<_> = cache.roots[0].slots.keys().map(|k| &**k).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["a", "d", "e"]);
        assert_eq!(cache.bytes, 90);
        drop(cache);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
