//! The reviser `replace`: puts other text in the place of text in contents.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		rule {
//! 			static {}
//! 			replace { .texts = ["http://old.test/": "https://new.test/"] }
//! 			replace { .patterns = ["(?i)colou?r": "paint", "([0-9]+) EUR": "€ $1"] }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Contents pass as they come, and what is replaced does not depend on the pieces they come in. What has
//! been put in is not looked at again. Contents that are compressed already stay as they are. In the
//! place where this stands no parts of contents are served (RFC 9110, 14.2): leave downloads out by the
//! rule's condition.

use std::sync::Arc;

use hemi_core::config::{Diagnostic, Spanned};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::replace::{BadReplacement, Patterns, Replacements, Replacer, Texts};
use hemi_web::{BoxError, Request, Response, Reviser};
use serde::Deserialize;

use super::filter::Filter;
use super::{MediaRange, MiddleRank, forget_range, is_changeable, is_plain, pass_through};

/// Replaces text in contents: `texts` or `patterns`.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplaceConfig {
    /// What to put in the place of each text. Where several begin at the same place the longest counts.
    pub texts: Option<Spanned<Vec<(String, String)>>>,
    /// What to put in the place of what matches a regular expression; `$1` or `${name}` is what a group
    /// of it has matched, `$$` a dollar. Of several the one that matches first counts, then the one
    /// that is written first. A match is no longer than 4096 bytes, and not empty.
    pub patterns: Option<Spanned<Vec<(String, String)>>>,
    /// The media types of the contents: `"text/html"`, or `"text/*"` for all of a kind.
    pub on_content_types: Vec<MediaRange>,
    /// Where it stands among the revisers, from 6 to 25: those of a lower rank change contents first.
    pub rank: MiddleRank,
}

impl Default for ReplaceConfig {
    fn default() -> Self {
        Self {
            texts: None,
            patterns: None,
            on_content_types: MediaRange::html(),
            rank: MiddleRank::new(14),
        }
    }
}

/// Replaces text in contents.
pub struct Replace {
    what: Arc<Replacements>,
    types: Vec<MediaRange>,
    rank: MiddleRank,
}

impl Component for Replace {
    const SIGN: &'static str = "replace";
    type Config = ReplaceConfig;

    fn create(config: ReplaceConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let what = match (config.texts, config.patterns) {
            (Some(texts), None) => {
                made(&texts, |pairs| Texts::new(pairs).map(Replacements::Texts))?
            }
            (None, Some(patterns)) => {
                made(&patterns, |pairs| Patterns::new(pairs).map(Replacements::Patterns))?
            }
            (None, None) => {
                let message = "there is nothing to replace";
                let help = "add `.texts = [\"old\": \"new\"]`, or `.patterns`";
                return Err(Diagnostic::new(cx.span(), message).help(help).into());
            }
            (Some(_), Some(patterns)) => {
                let message = "there are both `.texts` and `.patterns`";
                let help = "write two `replace`, one with each";
                return Err(Diagnostic::new(patterns.span, message).help(help).into());
            }
        };
        Ok(Self { what: Arc::new(what), types: config.on_content_types, rank: config.rank })
    }
}

/// What these pairs say to replace.
fn made<'a, F>(pairs: &'a Spanned<Vec<(String, String)>>, make: F) -> Result<Replacements>
where
    F: FnOnce(&mut dyn Iterator<Item = (&'a str, &'a str)>) -> Result<Replacements, BadReplacement>,
{
    let mut texts = pairs.value.iter().map(|(old, new)| (old.as_str(), new.as_str()));
    Ok(make(&mut texts).map_err(|e| Diagnostic::new(pairs.span, e.to_string()))?)
}

impl Lifecycle for Replace {}

impl Reviser for Replace {
    fn rank(&self) -> u8 {
        self.rank.number()
    }

    fn request(&self, req: &mut Request) {
        forget_range(req);
    }

    fn response(&self, req: &Request, response: &mut Response) {
        if is_changeable(response, &self.types) && is_plain(response) {
            pass_through(req, response, Replacing(Replacer::new(self.what.clone())));
        }
    }
}

/// Bytes taken at once, so that what they become is looked at before there is more.
const SLICE: usize = 4 << 10;

struct Replacing(Replacer);

impl Filter for Replacing {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BoxError> {
        let used = input.len().min(SLICE);
        self.0.push(&input[..used], out);
        Ok(used)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.0.end(out);
        Ok(())
    }
}
