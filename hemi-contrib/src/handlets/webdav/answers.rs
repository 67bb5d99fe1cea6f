//! Answers: why something is refused, and the state of several resources.

use std::fmt::Write;
use std::io;

use hemi_proto::webdav::xml::{DAV, XmlError};
use hemi_web::{BodyError, Respond, Response};
use http::header::HeaderValue;
use http::{Method, StatusCode};
use tracing::error;

use super::paths::Elsewhere;
use super::tree::Failed;

/// Why a request is not answered as it would like to be.
#[derive(Debug)]
pub(super) enum Refusal {
    Status(StatusCode),
    /// With the name of what RFC 4918, section 16, asks for, and what there is to say about it.
    Unmet(StatusCode, &'static str, String),
    /// 405, with what is allowed.
    Method(&'static str),
    Io(io::Error),
    /// The answer is complete.
    Several(Multistatus),
}

pub(super) type Answer = Result<Response, Refusal>;

impl Refusal {
    /// Because of a lock on the resource that `href` names.
    pub(super) fn locked(href: &str) -> Self {
        Self::Unmet(StatusCode::LOCKED, "lock-token-submitted", of_href(href))
    }

    /// Because one of the members of a collection could not be dealt with; the request was for `own`.
    pub(super) fn failed(failed: Failed, own: &str, href: &str) -> Self {
        if own == href {
            return failed.error.into();
        }
        let mut several = Multistatus::new();
        several.status(href, status_of(&failed.error));
        Self::Several(several)
    }
}

/// An element with the path of a resource.
pub(super) fn of_href(href: &str) -> String {
    format!("<D:href>{href}</D:href>")
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::Status(status)
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<XmlError> for Refusal {
    fn from(_: XmlError) -> Self {
        Self::Status(StatusCode::BAD_REQUEST)
    }
}

impl From<BodyError> for Refusal {
    fn from(e: BodyError) -> Self {
        match e.status() {
            StatusCode::INTERNAL_SERVER_ERROR => Self::Io(io::Error::other(e)),
            status => status.into(),
        }
    }
}

impl From<Elsewhere> for Refusal {
    fn from(elsewhere: Elsewhere) -> Self {
        match elsewhere {
            Elsewhere::Malformed => StatusCode::BAD_REQUEST.into(),
            // RFC 4918, 9.8.5.
            Elsewhere::OtherHost => StatusCode::BAD_GATEWAY.into(),
            Elsewhere::Outside => StatusCode::FORBIDDEN.into(),
        }
    }
}

impl Respond for Refusal {
    fn respond(self) -> Response {
        match self {
            Self::Status(status) => status.into(),
            Self::Unmet(status, what, about) => {
                let body = format!(
                    "{DECLARATION}<D:error xmlns:D=\"{DAV}\"><D:{what}>{about}</D:{what}></D:error>\n"
                );
                xml(status, body)
            }
            Self::Method(allowed) => Response::from(StatusCode::METHOD_NOT_ALLOWED)
                .field(http::header::ALLOW, HeaderValue::from_static(allowed)),
            Self::Io(e) => {
                let status = status_of(&e);
                if status == StatusCode::INTERNAL_SERVER_ERROR {
                    error!("cannot serve by WebDAV: {e}");
                }
                status.into()
            }
            Self::Several(several) => several.respond(),
        }
    }
}

/// What is said to what the system says.
pub(super) fn status_of(e: &io::Error) -> StatusCode {
    use io::ErrorKind;
    match e.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::IsADirectory => {
            StatusCode::CONFLICT
        }
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::Unsupported
        | ErrorKind::InvalidFilename => StatusCode::FORBIDDEN,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        ErrorKind::CrossesDevices => StatusCode::BAD_GATEWAY,
        _ => match e.raw_os_error() {
            // A link, which is not followed.
            Some(40) => StatusCode::FORBIDDEN,
            // No memory, or no descriptor, now.
            Some(12 | 23 | 24) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// An answer with XML.
pub(super) fn xml(status: StatusCode, body: impl Into<hemi_web::Body>) -> Response {
    let media_type = HeaderValue::from_static("application/xml; charset=utf-8");
    Response::typed(media_type, body).with_status(status)
}

/// 207, with the state of several resources.
#[derive(Debug)]
pub(super) struct Multistatus(String);

impl Multistatus {
    pub(super) const BEGIN: &str =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">";
    pub(super) const END: &str = "</D:multistatus>\n";

    fn new() -> Self {
        Self(Self::BEGIN.to_owned())
    }

    /// What came of one resource as a whole.
    fn status(&mut self, href: &str, status: StatusCode) {
        let line = status_line(status);
        let entry = format!("<D:response><D:href>{href}</D:href>{line}</D:response>");
        self.0.push_str(&entry);
    }

    fn respond(mut self) -> Response {
        self.0.push_str(Self::END);
        xml(StatusCode::MULTI_STATUS, self.0)
    }
}

/// A status as an element.
fn status_line(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("<D:status>HTTP/1.1 {} {reason}</D:status>", status.as_u16())
}

/// Appends properties and what came of them; nothing if there are none.
pub(super) fn push_propstat(out: &mut String, properties: &str, status: StatusCode) {
    if !properties.is_empty() {
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "<D:propstat><D:prop>{properties}</D:prop>{}</D:propstat>",
            status_line(status)
        );
    }
}

/// What is allowed.
pub(super) const ALL: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";
pub(super) const READING: &str = "OPTIONS, GET, HEAD, PROPFIND";

/// Whether the method only reads.
pub(super) fn is_reading(method: &Method) -> bool {
    matches!(method.as_str(), "OPTIONS" | "GET" | "HEAD" | "PROPFIND")
}
