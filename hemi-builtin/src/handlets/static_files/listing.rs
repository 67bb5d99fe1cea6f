//! What a directory holds, read beside the cores.

mod page;

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hemi_core::fcache::Root;
use hemi_proto::{accept, query};
use hemi_web::{Request, Response};
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS};
use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::paths::{Kept, join};
use crate::site_path::SitePath;

/// Directories that are read at once, at most; others wait for their turn.
const AT_ONCE: usize = 4;

/// Makes the listings of a handlet.
#[derive(Debug)]
pub(super) struct Lister {
    directory: Directory,
    turns: Arc<Semaphore>,
}

/// How directories are read.
#[derive(Clone, Debug)]
struct Directory {
    root: Root,
    kept: Kept,
    /// Entries that are read, at most.
    most: usize,
}

/// What is to be made of a directory.
#[derive(Debug)]
pub(super) struct Wish {
    order: Order,
    format: Format,
    /// The path as people see it, with a slash at its end.
    path: String,
    /// What they call the root.
    top: String,
    /// Where in the path that root ends.
    top_end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Page,
    Json,
}

/// In which order entries stand; directories come first in any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Order {
    by: By,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    #[default]
    Name,
    Size,
    Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Direction {
    #[default]
    Ascending,
    Descending,
}

/// What was read.
#[derive(Debug, Default)]
struct Listing {
    items: Vec<Item>,
    /// Whether that is all there is.
    complete: bool,
}

/// An entry that can be asked for.
#[derive(Debug)]
struct Item {
    name: String,
    /// Of a file, its bytes; none of a directory.
    size: Option<u64>,
    modified: SystemTime,
}

impl Lister {
    pub(super) fn new(root: Root, kept: Kept, most: usize) -> Self {
        let directory = Directory { root, kept, most };
        Self { directory, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers with what the directory at `path` below the root holds.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) async fn list(&self, path: String, wish: Wish) -> io::Result<Response> {
        let turn = self.turns.clone().acquire_owned().await.map_err(io::Error::other)?;
        let directory = self.directory.clone();
        let made = tokio::task::spawn_blocking(move || {
            // Whoever went away meanwhile is still worked for, and counts.
            let _turn = turn;
            directory.read(&path).map(|listing| wish.fulfil(listing))
        });
        made.await.map_err(io::Error::other)?
    }
}

impl Directory {
    fn read(&self, path: &str) -> io::Result<Listing> {
        let opened = self.root.open(path)?;
        let mut listing = Listing { complete: true, ..Listing::default() };
        let mut left = self.most;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if left == 0 {
                listing.complete = false;
                break;
            }
            left -= 1;
            // What no path of a request can name is not shown.
            let named = str::from_utf8(name).ok().filter(|name| {
                !name.contains(|c: char| c.is_ascii_control() || c == '\\')
                    && !self.kept.keeps(name)
            });
            listing.items.extend(named.and_then(|name| self.look(&opened, path, name)));
        }
        Ok(listing)
    }

    /// A file or directory; none if it is another thing, or a link that is not followed.
    fn look(&self, directory: &File, path: &str, name: &str) -> Option<Item> {
        let mut meta = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(meta.st_mode) == FileType::Symlink {
            meta = fstat(self.root.open(&join(path, name)).ok()?).ok()?;
        }
        let size = match FileType::from_raw_mode(meta.st_mode) {
            FileType::Directory => None,
            FileType::RegularFile => Some(u64::try_from(meta.st_size).ok()?),
            _ => return None,
        };
        let since_epoch = Duration::from_secs(u64::try_from(meta.st_mtime).unwrap_or(0));
        let modified = SystemTime::UNIX_EPOCH.checked_add(since_epoch)?;
        Some(Item { name: name.to_owned(), size, modified })
    }
}

impl Wish {
    /// What a request asks for; `prefix` is the path of the root, if that is not the top of the site.
    pub(super) fn of(req: &Request, prefix: Option<&SitePath>) -> Self {
        let path = req.path().to_owned();
        let host = || Some(req.hostname()).filter(|host| !host.is_empty()).unwrap_or("/");
        Self {
            order: Order::of(req),
            format: Format::of(req),
            top: prefix.map_or_else(host, SitePath::last_segment).to_owned(),
            top_end: prefix
                .and_then(|prefix| prefix.strip(&path))
                .map_or(0, |rest| path.len() - rest.len()),
            path,
        }
    }

    fn fulfil(&self, mut listing: Listing) -> Response {
        self.order.sort(&mut listing.items);
        let response = match self.format {
            Format::Page => Response::html(page::page(self, &listing)).field(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(
                    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
                ),
            ),
            Format::Json => {
                let media_type = HeaderValue::from_static("application/json");
                Response::typed(media_type, json(&self.path, &listing))
            }
        };
        response
            .field(VARY, HeaderValue::from_static("accept"))
            .field(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
    }
}

impl Format {
    /// By `?format=json`, else by what the client asks for by name.
    fn of(req: &Request) -> Self {
        let query = req.query().unwrap_or_default().as_bytes();
        match query::value(query, b"format").as_deref() {
            Some(b"json") => return Self::Json,
            Some(b"html") => return Self::Page,
            _ => {}
        }
        let [json, html] =
            ["application/json", "text/html"].map(|t| accept::named(req.headers(), t));
        if json.is_some_and(|quality| !quality.is_zero()) && json > html {
            Self::Json
        } else {
            Self::Page
        }
    }
}

impl Order {
    /// By `?sort=name|size|time` and `&order=asc|desc`.
    fn of(req: &Request) -> Self {
        let query = req.query().unwrap_or_default().as_bytes();
        let by = match query::value(query, b"sort").as_deref() {
            Some(b"size") => By::Size,
            Some(b"time") => By::Time,
            _ => By::Name,
        };
        let direction = match query::value(query, b"order").as_deref() {
            Some(b"desc") => Direction::Descending,
            _ => Direction::Ascending,
        };
        Self { by, direction }
    }

    fn sort(self, items: &mut [Item]) {
        items.sort_by_cached_key(|item| (item.name.to_lowercase(), item.name.clone()));
        let descends = self.direction == Direction::Descending;
        match self.by {
            By::Name if descends => items.reverse(),
            By::Name => {}
            // What is equal stays in the order of names.
            By::Size if descends => items.sort_by_key(|item| Reverse(item.size)),
            By::Size => items.sort_by_key(|item| item.size),
            By::Time if descends => items.sort_by_key(|item| Reverse(item.modified)),
            By::Time => items.sort_by_key(|item| item.modified),
        }
        items.sort_by_key(|item| item.size.is_some());
    }
}

fn json(path: &str, listing: &Listing) -> Vec<u8> {
    #[derive(Serialize)]
    struct Whole<'a> {
        path: &'a str,
        /// Whether these are all entries.
        complete: bool,
        entries: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        modified: String,
    }
    let entries = listing.items.iter().map(|item| Entry {
        name: &item.name,
        r#type: if item.size.is_some() { "file" } else { "directory" },
        size: item.size,
        modified: page::timestamp(item.modified),
    });
    let whole = Whole { path, complete: listing.complete, entries: entries.collect() };
    serde_json::to_vec(&whole).unwrap_or_default()
}
