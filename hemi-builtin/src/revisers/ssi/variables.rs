//! The variables of a page, and how they are written.

use std::collections::HashMap;
use std::time::SystemTime;

use hemi_core::clock;
use hemi_proto::date::parse_date;
use hemi_proto::ssi::{is_variable, substitute};
use hemi_web::Request;
use http::header::LAST_MODIFIED;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::fmt::strtime;

/// Variables that a page may set, at most.
const MAX_SET: usize = 64;

/// What a page knows of its request, what it has set, and how it wants things to be written.
pub(super) struct Variables {
    method: String,
    uri: String,
    path: String,
    query: String,
    host: String,
    remote: String,
    fields: HeaderMap,
    modified: Option<SystemTime>,
    set: HashMap<String, String>,
    pub(super) error: String,
    pub(super) undefined: String,
    pub(super) time_format: String,
    pub(super) sizes: Sizes,
}

/// How sizes of files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    /// All digits.
    Bytes,
    /// Rounded, with a unit.
    Abbreviated,
}

impl Variables {
    pub(super) fn new(req: &Request, answer: &HeaderMap) -> Self {
        let modified = answer.get(LAST_MODIFIED).and_then(|date| parse_date(date.as_bytes()));
        Self {
            method: req.method().as_str().to_owned(),
            uri: req.path_and_query().to_owned(),
            path: req.path().to_owned(),
            query: req.query().unwrap_or_default().to_owned(),
            host: req.hostname().to_owned(),
            remote: req.remote_ip().map(|ip| ip.to_string()).unwrap_or_default(),
            fields: req.to_headers(),
            modified,
            set: HashMap::new(),
            error: "[an error occurred while processing this directive]".to_owned(),
            undefined: "(none)".to_owned(),
            time_format: "%A, %d-%b-%Y %H:%M:%S %Z".to_owned(),
            sizes: Sizes::Abbreviated,
        }
    }

    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        if let Some(value) = self.set.get(name) {
            return Some(value.clone());
        }
        Some(match name {
            "DATE_GMT" | "DATE_LOCAL" => self.time(clock::calendar())?,
            "LAST_MODIFIED" => self.time(self.modified?)?,
            "DOCUMENT_NAME" => self.path.rsplit('/').next()?.to_owned(),
            "DOCUMENT_URI" => self.path.clone(),
            "QUERY_STRING" => self.query.clone(),
            "REMOTE_ADDR" => self.remote.clone(),
            "REQUEST_METHOD" => self.method.clone(),
            "REQUEST_URI" => self.uri.clone(),
            "SERVER_NAME" => self.host.clone(),
            _ => {
                let field = name.strip_prefix("HTTP_")?.replace('_', "-");
                let field = HeaderName::from_bytes(field.as_bytes()).ok()?;
                String::from_utf8_lossy(self.fields.get(field)?.as_bytes()).into_owned()
            }
        })
    }

    /// Sets a variable; false if it can't be one, or there are too many.
    pub(super) fn set(&mut self, name: &str, value: String) -> bool {
        let room = self.set.len() < MAX_SET || self.set.contains_key(name);
        if room && is_variable(name) {
            self.set.insert(name.to_owned(), value);
            return true;
        }
        false
    }

    /// A text with the values of its variables; none if it is too long.
    pub(super) fn substitute(&self, text: &str) -> Option<String> {
        substitute(text, |name| self.value(name))
    }

    /// A time as the page wants it written, in UTC; none if it wants what can't be.
    pub(super) fn time(&self, time: SystemTime) -> Option<String> {
        strtime::format(&self.time_format, Timestamp::try_from(time).ok()?).ok()
    }

    /// A number of bytes as the page wants it written.
    pub(super) fn size(&self, bytes: u64) -> String {
        const UNITS: [&str; 4] = ["K", "M", "G", "T"];
        if self.sizes == Sizes::Bytes || bytes < 1024 {
            return bytes.to_string();
        }
        let mut size = bytes as f64 / 1024.0;
        let mut units = UNITS.iter();
        let mut unit = units.next();
        while size >= 1023.95 {
            let Some(next) = units.next() else { break };
            (size, unit) = (size / 1024.0, Some(next));
        }
        format!("{size:.1}{}", unit.unwrap_or(&""))
    }
}
