//! What is changed of an answer besides its fields that the config names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hemi_web::{Response, StatusPattern};
use http::header::{
    ALLOW, CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE,
};

/// Changes to answers.
#[derive(Debug, Default)]
pub(super) struct AnswerEdits {
    /// Answers that are replaced by pages of ours.
    pub(super) intercepted: Vec<StatusPattern>,
    /// How URLs begin, and are to begin.
    pub(super) locations: BTreeMap<String, String>,
    /// Domains of cookies.
    pub(super) cookie_domains: BTreeMap<String, String>,
    /// How paths of cookies begin, and are to begin.
    pub(super) cookie_paths: BTreeMap<String, String>,
}

/// What a client needs of an answer whose content is replaced.
const NEEDED: [HeaderName; 3] = [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE];

impl AnswerEdits {
    pub(super) fn apply(&self, mut response: Response) -> Response {
        let status = response.status();
        if self.intercepted.iter().any(|pattern| pattern.matches(status)) {
            let mut page = Response::from(status);
            for name in NEEDED {
                for value in response.headers().get_all(&name) {
                    page.headers_mut().append(&name, value.clone());
                }
            }
            return page;
        }
        if !self.locations.is_empty() {
            for name in [LOCATION, CONTENT_LOCATION] {
                self.relocate(&mut response, &name);
            }
        }
        let cookies = !(self.cookie_domains.is_empty() && self.cookie_paths.is_empty());
        if cookies && response.headers().contains_key(SET_COOKIE) {
            self.revise_cookies(response.headers_mut());
        }
        response
    }

    fn relocate(&self, response: &mut Response, name: &HeaderName) {
        let Some(value) = response.headers().get(name).and_then(|value| value.to_str().ok()) else {
            return;
        };
        let revised = begin_anew(value, &self.locations).map(HeaderValue::try_from);
        if let Some(Ok(revised)) = revised {
            response.headers_mut().insert(name, revised);
        }
    }

    fn revise_cookies(&self, fields: &mut HeaderMap) {
        let revise = |cookie: &HeaderValue| {
            let Ok(text) = cookie.to_str() else { return cookie.clone() };
            HeaderValue::try_from(self.revise_cookie(text)).unwrap_or_else(|_| cookie.clone())
        };
        let cookies: Vec<_> = fields.get_all(SET_COOKIE).iter().map(revise).collect();
        fields.remove(SET_COOKIE);
        for cookie in cookies {
            fields.append(SET_COOKIE, cookie);
        }
    }

    fn revise_cookie(&self, cookie: &str) -> String {
        let mut parts = cookie.split(';');
        let mut revised = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, ""), |(n, v)| (n, v.trim()));
            let value = match name.trim() {
                n if n.eq_ignore_ascii_case("domain") => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    self.cookie_domains.get(&domain).map(|new| Cow::Borrowed(new.as_str()))
                }
                n if n.eq_ignore_ascii_case("path") => {
                    begin_anew(value, &self.cookie_paths).map(Cow::Owned)
                }
                _ => None,
            };
            match value {
                // The host that has set it, alone.
                Some(value) if value.is_empty() => {}
                Some(value) => revised += &format!(";{name}={value}"),
                None => revised += &format!(";{part}"),
            }
        }
        revised
    }
}

/// A text with another begin, by the longest that it has.
fn begin_anew(text: &str, begins: &BTreeMap<String, String>) -> Option<String> {
    let known = begins.iter().filter(|(old, _)| text.starts_with(old.as_str()));
    let (old, new) = known.max_by_key(|(old, _)| old.len())?;
    Some(format!("{new}{}", &text[old.len()..]))
}
