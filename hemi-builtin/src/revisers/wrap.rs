//! The reviser `wrap`: puts text before and after contents, such as a banner.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		rule {
//! 			static {}
//! 			wrap { .after = "<p>This is " + $hostname + "</p>" }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Variables are put in as they are: what the client can choose, such as `$path`, does not belong into
//! a page. Contents that are compressed already stay as they are. In the place where this stands no
//! parts of contents are served (RFC 9110, 14.2): leave downloads out by the rule's condition.

use hemi_core::config::Template;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{BoxError, Request, Response, Reviser, WebVar};
use serde::Deserialize;

use super::filter::Filter;
use super::{MediaRange, MiddleRank, forget_range, is_changeable, is_plain, pass_through};

/// Puts text before and after contents.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct WrapConfig {
    /// What comes before the content.
    pub before: Template<WebVar>,
    /// What comes after it.
    pub after: Template<WebVar>,
    /// The media types of the contents: `"text/html"`, or `"text/*"` for all of a kind.
    pub on_content_types: Vec<MediaRange>,
    /// Where it stands among the revisers, from 6 to 25: those of a lower rank change contents first.
    pub rank: MiddleRank,
}

impl Default for WrapConfig {
    fn default() -> Self {
        Self {
            before: Template::default(),
            after: Template::default(),
            on_content_types: MediaRange::html(),
            rank: MiddleRank::new(10),
        }
    }
}

/// Puts text around contents.
pub struct Wrap {
    config: WrapConfig,
}

impl Component for Wrap {
    const SIGN: &'static str = "wrap";
    type Config = WrapConfig;

    fn create(config: WrapConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { config })
    }
}

impl Lifecycle for Wrap {}

impl Reviser for Wrap {
    fn rank(&self) -> u8 {
        self.config.rank.number()
    }

    fn request(&self, req: &mut Request) {
        forget_range(req);
    }

    fn response(&self, req: &Request, response: &mut Response) {
        let Self { config } = self;
        if is_changeable(response, &config.on_content_types) && is_plain(response) {
            let [before, after] =
                [&config.before, &config.after].map(|text| text.render(req).into_owned());
            pass_through(req, response, Around { before, after });
        }
    }
}

/// Puts bytes around those that come.
struct Around {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Filter for Around {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BoxError> {
        out.append(&mut self.before);
        out.extend_from_slice(input);
        Ok(input.len())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.append(&mut self.before);
        out.append(&mut self.after);
        Ok(())
    }
}
