//! What a request says, and whether what it demands is so.

use bytes::Bytes;
use hemi_proto::authority::Authority;
use hemi_proto::conditional::{Validators, Verdict, evaluate};
use hemi_proto::etag::ETag;
use hemi_proto::webdav::if_field::{IfField, Test};
use hemi_web::{Body, Request};
use http::{HeaderMap, Method, StatusCode};

use super::Inner;
use super::answers::Refusal;
use super::locks::{Depth, Keys};
use super::paths::DavPath;
use super::tree::{Kind, Meta};

/// Bytes of the XML in a request, at most: 413 beyond.
const MAX_XML: u64 = 64 << 10;

/// A request, as the threads need it that files are read and written on.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: DavPath,
    pub(super) headers: HeaderMap,
    pub(super) authority: Option<Authority>,
    pub(super) user: Option<Box<str>>,
    /// XML, or nothing.
    pub(super) content: Bytes,
}

impl Asked {
    pub(super) fn of(req: &Request, path: DavPath) -> Self {
        Self {
            method: req.method().clone(),
            path,
            headers: req.to_headers(),
            authority: req.authority().cloned(),
            user: req.user().map(Into::into),
            content: Bytes::new(),
        }
    }

    /// Reads the content, if there may be one: 415 otherwise.
    pub(super) async fn read_content(
        &mut self,
        body: &mut Body,
        may_be: bool,
    ) -> Result<(), Refusal> {
        self.content = body.bytes(MAX_XML).await?;
        if may_be || self.content.is_empty() {
            return Ok(());
        }
        Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into())
    }

    /// How far the request reaches, if it says so.
    pub(super) fn depth(&self) -> Result<Option<Depth>, Refusal> {
        match self.headers.get("depth").map(|value| value.as_bytes()) {
            None => Ok(None),
            Some(b"0") => Ok(Some(Depth::Zero)),
            Some(text) if text.eq_ignore_ascii_case(b"infinity") => Ok(Some(Depth::Infinity)),
            Some(_) => Err(StatusCode::BAD_REQUEST.into()),
        }
    }

    /// The locks that the client says it knows of.
    pub(super) fn keys<'a>(&'a self, tokens: &'a [String]) -> Keys<'a> {
        Keys { tokens, user: self.user.as_deref() }
    }
}

impl Inner {
    /// Finds out whether what a request demands is so; `current` is what it is for. Gives the tokens of
    /// the locks that the client knows of. May block.
    ///
    /// # Errors
    /// With 304, 412, or 400 for what can't be understood.
    pub(super) fn preconditions(
        &self,
        asked: &Asked,
        current: Option<&Meta>,
    ) -> Result<Vec<String>, Refusal> {
        let etag = current.filter(|meta| meta.kind == Kind::File).map(Meta::etag);
        let validators = current.map(|meta| Validators {
            etag: etag.as_ref().and_then(|etag| ETag::parse(etag.as_bytes())),
            last_modified: Some(meta.modified),
        });
        match evaluate(&asked.method, &asked.headers, validators) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Err(StatusCode::NOT_MODIFIED.into()),
            Verdict::PreconditionFailed => return Err(StatusCode::PRECONDITION_FAILED.into()),
        }
        let mut lines = asked.headers.get_all("if").iter();
        let field = match (lines.next(), lines.next()) {
            (None, _) => return Ok(Vec::new()),
            (Some(line), None) => IfField::parse(line.as_bytes()),
            (Some(_), Some(_)) => None,
        };
        let field = field.ok_or(StatusCode::BAD_REQUEST)?;
        let holds = field.holds(|resource, test| {
            let elsewhere =
                resource.map(|uri| self.prefix.resolve(uri.as_bytes(), asked.authority.as_ref()));
            let path = match &elsewhere {
                None => &asked.path,
                Some(Ok(path)) => path,
                Some(Err(_)) => return false,
            };
            match test {
                Test::Token(token) => self.locks.on(path).iter().any(|lock| lock.token == token),
                Test::ETag(tag) => self.tree.look(path).ok().flatten().is_some_and(|meta| {
                    meta.kind == Kind::File
                        && ETag::parse(meta.etag().as_bytes()).is_some_and(|of| of.strong_eq(&tag))
                }),
            }
        });
        if !holds {
            return Err(StatusCode::PRECONDITION_FAILED.into());
        }
        Ok(field.tokens().map(str::to_owned).collect())
    }

    /// Finds out whether no lock of others is in the way of a change.
    ///
    /// # Errors
    /// With 423.
    pub(super) fn check_lock(
        &self,
        asked: &Asked,
        path: &DavPath,
        depth: Depth,
        tokens: &[String],
    ) -> Result<(), Refusal> {
        let checked = self.locks.check(path, depth, asked.keys(tokens));
        checked.map_err(|root| Refusal::locked(&self.href(&root)))
    }

    /// The same for what comes into a collection, or is taken out of it.
    ///
    /// # Errors
    /// With 423; 403 for the root itself.
    pub(super) fn check_member(
        &self,
        asked: &Asked,
        path: &DavPath,
        tokens: &[String],
    ) -> Result<(), Refusal> {
        let (parent, _) = path.split().ok_or(StatusCode::FORBIDDEN)?;
        self.check_lock(asked, &parent, Depth::Zero, tokens)?;
        self.check_lock(asked, path, Depth::Zero, tokens)
    }
}
