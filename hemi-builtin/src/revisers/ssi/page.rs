//! A page as it is put together: its own content, and inside of it that of files.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hemi_core::fcache::Content;
use hemi_proto::ssi::{Directive, Piece, Scanner, holds, push_entities};
use hemi_web::{Body, BoxError};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::variables::{Sizes, Variables};
use super::{Files, Place};
use crate::revisers::filter::{PIECE, TURN};

/// Conditions inside each other in one file, at most.
const MAX_BRANCHES: usize = 64;

/// What a file counts beside its bytes, for even an empty one takes time.
const COST: u64 = 64;

/// A page under way.
pub(super) struct Page {
    files: Arc<Files>,
    variables: Variables,
    /// The page, and the files that are being included, each inside of the one before.
    levels: Vec<Level>,
    /// Bytes of files included so far.
    included: u64,
    out: Vec<u8>,
    /// Bytes looked through since others had their turn.
    work: usize,
    trailers: Option<HeaderMap>,
}

/// A page or file.
struct Level {
    source: Body,
    ended: bool,
    scanner: Scanner,
    /// Where it stands, with slashes at both ends.
    directory: String,
    branches: Vec<Branch>,
}

/// An `if` with what follows it.
#[derive(Clone, Copy)]
struct Branch {
    /// What stands here is shown.
    shown: bool,
    /// Something of it was or is shown, or nothing may be.
    settled: bool,
    /// `else` was there.
    last: bool,
}

/// A directive that can't be followed.
struct Fault;

impl Level {
    fn new(source: Body, path: &str) -> Self {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        Self {
            source,
            ended: false,
            scanner: Scanner::default(),
            directory: format!("{directory}/"),
            branches: Vec::new(),
        }
    }

    fn shows(&self) -> bool {
        self.branches.last().is_none_or(|branch| branch.shown)
    }
}

impl Page {
    pub(super) fn new(files: Arc<Files>, variables: Variables, path: &str, body: Body) -> Self {
        let levels = Vec::from([Level::new(body, path)]);
        Self { files, variables, levels, included: 0, out: Vec::new(), work: 0, trailers: None }
    }

    /// Goes on with a piece of the file that is the innermost.
    fn take_up(&mut self, piece: Piece) {
        let shows = self.levels.last().is_some_and(Level::shows);
        let done = match piece {
            Piece::Text(text) if shows => {
                self.out.extend_from_slice(&text);
                Ok(())
            }
            Piece::Text(_) => Ok(()),
            Piece::Directive(directive) => self.follow(&directive, shows),
            Piece::Malformed => Err(Fault),
        };
        if done.is_err() && shows {
            self.out.extend_from_slice(self.variables.error.as_bytes());
        }
    }

    fn follow(&mut self, directive: &Directive, shows: bool) -> Result<(), Fault> {
        let attributes = &directive.attributes;
        match &*directive.name {
            "if" | "elif" | "else" | "endif" => self.branch(directive, shows),
            _ if !shows => Ok(()),
            "include" => self.include(attributes),
            "echo" => self.echo(attributes),
            "set" => self.set(attributes),
            "config" => self.configure(attributes),
            "fsize" | "flastmod" => self.tell(&directive.name, attributes),
            _ => Err(Fault),
        }
    }

    fn branch(&mut self, directive: &Directive, shows: bool) -> Result<(), Fault> {
        let variables = &self.variables;
        let level = self.levels.last_mut().ok_or(Fault)?;
        let holds = || match &directive.attributes[..] {
            [(name, text)] if name == "expr" => holds(text, &|name| variables.value(name)).ok(),
            _ => None,
        };
        if directive.name == "if" {
            if level.branches.len() == MAX_BRANCHES {
                return Err(Fault);
            }
            // An expression that can't be read does not hold, and is told where it would be shown.
            let told = if shows { holds() } else { Some(false) };
            let shown = told == Some(true);
            level.branches.push(Branch { shown, settled: shown || !shows, last: false });
            if told.is_none() {
                self.out.extend_from_slice(variables.error.as_bytes());
            }
            return Ok(());
        }
        let branch = level.branches.last_mut().ok_or(Fault)?;
        match &*directive.name {
            "endif" => {
                level.branches.pop();
            }
            _ if branch.last => return Err(Fault),
            "else" => {
                *branch = Branch { shown: !branch.settled, settled: true, last: true };
            }
            _ if branch.settled => branch.shown = false,
            _ => {
                let told = holds();
                branch.shown = told == Some(true);
                branch.settled = branch.shown;
                if told.is_none() {
                    self.out.extend_from_slice(variables.error.as_bytes());
                }
            }
        }
        Ok(())
    }

    fn include(&mut self, attributes: &[(String, String)]) -> Result<(), Fault> {
        let [(place, name)] = attributes else { return Err(Fault) };
        let path = self.path(place, name)?;
        // The page itself is no file that is included.
        if !self.files.may_be_included(&path) || self.levels.len() > self.files.max_depth {
            return Err(Fault);
        }
        let entry = self.files.open(&path).map_err(|_| Fault)?;
        let included = self.included.saturating_add(entry.len).saturating_add(COST);
        if included > self.files.max_size {
            return Err(Fault);
        }
        self.included = included;
        // Something that is included a thousand times takes time, however short it is.
        self.work += COST as usize;
        let body = match &entry.content {
            Content::Small(bytes) => bytes.clone().into(),
            Content::Large(file) => Body::file(file.clone(), 0..entry.len),
            Content::Directory | Content::Special => return Err(Fault),
        };
        self.levels.push(Level::new(body, &format!("/{path}")));
        Ok(())
    }

    /// The path of the file that an attribute names.
    fn path(&self, place: &str, name: &str) -> Result<String, Fault> {
        let place = match place {
            "virtual" => Place::Virtual,
            "file" => Place::File,
            _ => return Err(Fault),
        };
        let name = self.variables.substitute(name).ok_or(Fault)?;
        let directory = self.levels.last().map_or("/", |level| &level.directory);
        self.files.path(place, &name, directory).ok_or(Fault)
    }

    fn echo(&mut self, attributes: &[(String, String)]) -> Result<(), Fault> {
        let mut push: fn(&mut Vec<u8>, &str) = push_entities;
        let mut undefined = &self.variables.undefined;
        for (name, value) in attributes {
            match (&**name, &**value) {
                ("encoding", "entity") => push = push_entities,
                ("encoding", "url") => push = push_percent,
                ("encoding", "none") => push = |out, text| out.extend_from_slice(text.as_bytes()),
                ("default", _) => undefined = value,
                ("var", name) => match self.variables.value(name) {
                    Some(value) => push(&mut self.out, &value),
                    None => push_entities(&mut self.out, undefined),
                },
                _ => return Err(Fault),
            }
        }
        Ok(())
    }

    fn set(&mut self, attributes: &[(String, String)]) -> Result<(), Fault> {
        let mut variable = None;
        for (name, value) in attributes {
            match &**name {
                "var" => variable = Some(value),
                "value" => {
                    let value = self.variables.substitute(value).ok_or(Fault)?;
                    if !self.variables.set(variable.ok_or(Fault)?, value) {
                        return Err(Fault);
                    }
                }
                _ => return Err(Fault),
            }
        }
        Ok(())
    }

    fn configure(&mut self, attributes: &[(String, String)]) -> Result<(), Fault> {
        for (name, value) in attributes {
            let variables = &mut self.variables;
            match (&**name, &**value) {
                ("errmsg", text) => variables.error = text.to_owned(),
                ("echomsg", text) => variables.undefined = text.to_owned(),
                ("timefmt", format) => variables.time_format = format.to_owned(),
                ("sizefmt", "bytes") => variables.sizes = Sizes::Bytes,
                ("sizefmt", "abbrev") => variables.sizes = Sizes::Abbreviated,
                _ => return Err(Fault),
            }
        }
        Ok(())
    }

    fn tell(&mut self, what: &str, attributes: &[(String, String)]) -> Result<(), Fault> {
        let [(place, name)] = attributes else { return Err(Fault) };
        let entry = self.files.open(&self.path(place, name)?).map_err(|_| Fault)?;
        let text = match what {
            "fsize" => self.variables.size(entry.len),
            _ => self.variables.time(entry.modified).ok_or(Fault)?,
        };
        push_entities(&mut self.out, &text);
        Ok(())
    }

    fn take(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.out).into()))))
    }
}

/// Appends a text as a part of a link.
fn push_percent(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.work >= TURN {
                this.work = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.out.len() >= PIECE {
                return this.take();
            }
            let Some(level) = this.levels.last_mut() else {
                if !this.out.is_empty() {
                    return this.take();
                }
                return Poll::Ready(this.trailers.take().map(|map| Ok(Frame::trailers(map))));
            };
            if let Some(piece) = level.scanner.take() {
                this.take_up(piece);
                continue;
            }
            if level.ended {
                this.levels.pop();
                continue;
            }
            match Pin::new(&mut level.source).poll_frame(cx)? {
                Poll::Ready(Some(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.work += data.len();
                        level.scanner.push(&data);
                    }
                    Err(frame) => this.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(None) => {
                    level.ended = true;
                    level.scanner.end();
                }
                Poll::Pending if this.out.is_empty() => return Poll::Pending,
                Poll::Pending => return this.take(),
            }
        }
    }
}
