//! PROPFIND and PROPPATCH (RFC 4918 sections 9.1, 9.2 and 15).

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};

use hemi_proto::date::{format_date, format_iso8601};
use hemi_proto::webdav::xml::{DAV, Element, Name};
use hemi_web::{Body, Respond, Response, Unread};
use http::StatusCode;
use rustix::fs::{Dir, Mode, OFlags, openat};
use tokio::task::spawn_blocking;

use super::answers::{Multistatus, Refusal, push_propstat, status_of, xml};
use super::locks::{Depth, Lock, Scope};
use super::paths::{DavPath, is_nameable};
use super::tree::{Kind, Meta, properties, set_properties};
use super::{Asked, Inner};

/// Bytes about members of a collection that are told at once; more are told as the client takes them.
const BATCH: usize = 64 << 10;

/// The properties that the server knows by itself, which clients can't change.
const LIVE: [&str; 8] = [
    "creationdate",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
];

const SUPPORTED_LOCKS: &str = "<D:supportedlock><D:lockentry><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockentry><D:lockentry><D:lockscope><D:shared/>\
    </D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry></D:supportedlock>";

/// What PROPFIND asks for.
#[derive(Debug)]
enum Wanted {
    /// All there are.
    All,
    /// The names of all there are.
    Names,
    These(Vec<Name>),
}

impl Wanted {
    fn of(content: &[u8]) -> Result<Self, Refusal> {
        if content.is_empty() {
            return Ok(Self::All);
        }
        let root = Element::parse(content)?;
        if !root.name.is_dav("propfind") {
            return Err(StatusCode::BAD_REQUEST.into());
        }
        // What `include` asks for besides is among all.
        match (root.dav("prop"), root.dav("allprop"), root.dav("propname")) {
            (Some(prop), None, None) => {
                Ok(Self::These(prop.elements().map(|element| element.name.clone()).collect()))
            }
            (None, Some(_), None) => Ok(Self::All),
            (None, None, Some(_)) => Ok(Self::Names),
            _ => Err(StatusCode::BAD_REQUEST.into()),
        }
    }

    /// Whether there is any that clients may have given.
    fn has_dead(&self) -> bool {
        match self {
            Self::All | Self::Names => true,
            Self::These(names) => names.iter().any(|name| !is_live(name)),
        }
    }
}

fn is_live(name: &Name) -> bool {
    &*name.namespace == DAV && LIVE.contains(&&*name.local)
}

/// The members of a collection that are still to be told.
pub(super) struct Walk {
    inner: Arc<Inner>,
    wanted: Wanted,
    path: DavPath,
    directory: File,
    entries: Dir,
}

/// What PROPFIND has found so far.
pub(super) struct Found {
    text: String,
    rest: Option<Walk>,
}

/// Begins to answer PROPFIND. May block.
pub(super) fn find(inner: &Arc<Inner>, asked: &Asked) -> Result<Found, Refusal> {
    let depth = asked.headers.get("depth").map_or("infinity", |v| v.to_str().unwrap_or_default());
    if depth.eq_ignore_ascii_case("infinity") {
        // RFC 4918, 9.1: it may be refused, and would be a lot.
        let status = StatusCode::FORBIDDEN;
        return Err(Refusal::Unmet(status, "propfind-finite-depth", String::new()));
    }
    if !matches!(depth, "0" | "1") {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    let wanted = Wanted::of(&asked.content)?;
    let (file, meta) = inner.tree.open(&asked.path)?;
    inner.preconditions(asked, Some(&meta))?;
    let mut text = Multistatus::BEGIN.to_owned();
    let dead = || properties(&file);
    entry(inner, &wanted, &mut text, &asked.path, &meta, dead);
    if depth == "0" || meta.kind == Kind::File {
        text.push_str(Multistatus::END);
        return Ok(Found { text, rest: None });
    }
    let entries = Dir::read_from(&file).map_err(io::Error::from)?;
    let (inner, path) = (inner.clone(), asked.path.clone());
    let mut walk = Walk { inner, wanted, path, directory: file, entries };
    let more = walk.push_batch(&mut text)?;
    Ok(Found { text, rest: more.then_some(walk) })
}

impl Found {
    /// The answer, which goes on by itself.
    pub(super) fn respond(self) -> Response {
        let Some(mut walk) = self.rest else { return xml(StatusCode::MULTI_STATUS, self.text) };
        let (sender, body) = Body::channel(1);
        tokio::spawn(async move {
            sender.send(self.text).await?;
            loop {
                let next = move || {
                    let mut text = String::new();
                    walk.push_batch(&mut text).map(|more| (walk, text, more))
                };
                match spawn_blocking(next).await {
                    Ok(Ok((rest, text, more))) => {
                        sender.send(text).await?;
                        if !more {
                            break;
                        }
                        walk = rest;
                    }
                    Ok(Err(e)) => return sender.abort(e).await,
                    Err(e) => return sender.abort(e).await,
                }
            }
            sender.finish();
            Ok::<_, Unread>(())
        });
        xml(StatusCode::MULTI_STATUS, body)
    }
}

impl Walk {
    /// Tells some more; false if these were the last.
    fn push_batch(&mut self, text: &mut String) -> io::Result<bool> {
        while text.len() < BATCH {
            let Some(found) = self.entries.next() else {
                text.push_str(Multistatus::END);
                return Ok(false);
            };
            let found = found?;
            let named = found.file_name().to_str().ok();
            let named = named.filter(|name| !matches!(*name, "." | "..") && is_nameable(name));
            let Some(name) = named else { continue };
            // A link, or gone meanwhile.
            let Ok(meta) = Meta::of(&self.directory, name) else { continue };
            let dead = || {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = openat(&self.directory, name, flags, Mode::empty());
                opened.map(|file| properties(&file.into())).unwrap_or_default()
            };
            entry(&self.inner, &self.wanted, text, &self.path.join(name), &meta, dead);
        }
        Ok(true)
    }
}

/// Appends what is asked for about one resource.
fn entry(
    inner: &Inner,
    wanted: &Wanted,
    out: &mut String,
    path: &DavPath,
    meta: &Meta,
    dead: impl FnOnce() -> Vec<Element>,
) {
    let dead = if wanted.has_dead() { dead() } else { Vec::new() };
    let (mut found, mut missing) = (String::new(), String::new());
    match wanted {
        Wanted::All => {
            for name in LIVE {
                push_live(inner, &mut found, name, path, meta);
            }
            dead.iter().for_each(|property| property.write(&mut found));
        }
        Wanted::Names => {
            for name in LIVE {
                let mut value = String::new();
                if push_live(inner, &mut value, name, path, meta) {
                    push_name(&mut found, &Name::dav(name));
                }
            }
            dead.iter().for_each(|property| push_name(&mut found, &property.name));
        }
        Wanted::These(names) => {
            for name in names {
                let live = is_live(name) && push_live(inner, &mut found, &name.local, path, meta);
                let given = dead.iter().find(|property| property.name == *name);
                match given {
                    _ if live => {}
                    Some(property) => property.write(&mut found),
                    None => push_name(&mut missing, name),
                }
            }
        }
    }
    out.push_str("<D:response><D:href>");
    inner.prefix.push_href(out, path, meta.kind == Kind::Collection);
    out.push_str("</D:href>");
    if found.is_empty() && missing.is_empty() {
        out.push_str("<D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat>");
    }
    push_propstat(out, &found, StatusCode::OK);
    push_propstat(out, &missing, StatusCode::NOT_FOUND);
    out.push_str("</D:response>");
}

fn push_name(out: &mut String, name: &Name) {
    Element { name: name.clone(), attributes: Vec::new(), content: Vec::new() }.write(out);
}

/// Appends a property that the server knows; false if the resource has none of that name.
fn push_live(inner: &Inner, out: &mut String, name: &str, path: &DavPath, meta: &Meta) -> bool {
    let is_file = meta.kind == Kind::File;
    let value = match name {
        "creationdate" => ascii(&format_iso8601(meta.created.unwrap_or(meta.modified))),
        "getlastmodified" => ascii(&format_date(meta.modified)),
        "getcontentlength" if is_file => meta.len.to_string(),
        "getcontenttype" if is_file => "application/octet-stream".to_owned(),
        "getetag" if is_file => meta.etag().replace('"', "&quot;"),
        "resourcetype" if is_file => String::new(),
        "resourcetype" => "<D:collection/>".to_owned(),
        "lockdiscovery" => active_locks(inner, &inner.locks.on(path)),
        "supportedlock" => {
            out.push_str(SUPPORTED_LOCKS);
            return true;
        }
        _ => return false,
    };
    // Writing to memory does not fail.
    let _ = write!(out, "<D:{name}>{value}</D:{name}>");
    true
}

fn ascii(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The value of `lockdiscovery` (RFC 4918, 15.8).
pub(super) fn active_locks(inner: &Inner, locks: &[Arc<Lock>]) -> String {
    let mut out = String::new();
    for lock in locks {
        let scope = match lock.scope {
            Scope::Exclusive => "exclusive",
            Scope::Shared => "shared",
        };
        let depth = match lock.depth {
            Depth::Zero => "0",
            Depth::Infinity => "infinity",
        };
        let _ = write!(
            out,
            "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>\
             <D:depth>{depth}</D:depth>{}<D:timeout>Second-{}</D:timeout><D:locktoken><D:href>{}\
             </D:href></D:locktoken><D:lockroot><D:href>",
            lock.owner.as_deref().unwrap_or_default(),
            lock.left().as_secs(),
            lock.token,
        );
        inner.prefix.push_href(&mut out, &lock.root, false);
        out.push_str("</D:href></D:lockroot></D:activelock>");
    }
    out
}

/// A change that PROPPATCH asks for.
enum Change {
    Set(Element),
    Remove(Name),
}

impl Change {
    fn name(&self) -> &Name {
        match self {
            Self::Set(property) => &property.name,
            Self::Remove(name) => name,
        }
    }
}

fn changes(content: &[u8]) -> Result<Vec<Change>, Refusal> {
    let update = Element::parse(content)?;
    if !update.name.is_dav("propertyupdate") {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    let mut changes = Vec::new();
    for step in update.elements() {
        let sets = step.name.is_dav("set");
        if !sets && !step.name.is_dav("remove") {
            continue;
        }
        let prop = step.dav("prop").ok_or(StatusCode::BAD_REQUEST)?;
        for property in prop.elements() {
            changes.push(if sets {
                let mut property = property.clone();
                // RFC 4918, 4.3: the language that is said around it is kept.
                let around = prop.lang().or(step.lang()).or(update.lang());
                if let Some(lang) = around.filter(|_| property.lang().is_none()) {
                    property.set_lang(lang);
                }
                Change::Set(property)
            } else {
                Change::Remove(property.name.clone())
            });
        }
    }
    if changes.is_empty() { Err(StatusCode::BAD_REQUEST.into()) } else { Ok(changes) }
}

/// Answers PROPPATCH. May block.
pub(super) fn patch(inner: &Inner, asked: &Asked) -> Result<Response, Refusal> {
    let changes = changes(&asked.content)?;
    let (file, meta) = inner.tree.open(&asked.path)?;
    let keys = inner.preconditions(asked, Some(&meta))?;
    inner.check_lock(asked, &asked.path, Depth::Zero, &keys)?;
    let (mut done, mut refused) = (String::new(), String::new());
    for change in &changes {
        let list = if is_live(change.name()) { &mut refused } else { &mut done };
        push_name(list, change.name());
    }
    let mut out = Multistatus::BEGIN.to_owned();
    out.push_str("<D:response><D:href>");
    inner.prefix.push_href(&mut out, &asked.path, meta.kind == Kind::Collection);
    out.push_str("</D:href>");
    if refused.is_empty() {
        let applied = apply(inner, &file, changes);
        push_propstat(&mut out, &done, applied.map_or_else(|e| status_of(&e), |()| StatusCode::OK));
    } else {
        // All are changed, or none.
        push_propstat(&mut out, &refused, StatusCode::FORBIDDEN);
        push_propstat(&mut out, &done, StatusCode::FAILED_DEPENDENCY);
    }
    out.push_str("</D:response>");
    out.push_str(Multistatus::END);
    Ok(xml(StatusCode::MULTI_STATUS, out).respond())
}

fn apply(inner: &Inner, file: &File, changes: Vec<Change>) -> io::Result<()> {
    let _alone = inner.tree.patching.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = properties(file);
    for change in changes {
        all.retain(|property| property.name != *change.name());
        if let Change::Set(property) = change {
            all.push(property);
        }
    }
    set_properties(file, &all)
}
