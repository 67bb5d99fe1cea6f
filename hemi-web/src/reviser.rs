//! The kind `reviser`: changes requests before they are handled, and responses before they are sent.

use std::sync::Arc;

use hemi_core::config::KindName;
use hemi_core::{Component, Kind, Lifecycle, Place, Rank, Registry};

use crate::{Request, Response};

/// The kind of revisers.
#[derive(Debug)]
pub struct ReviserKind;

impl KindName for ReviserKind {
    const NAME: &'static str = "reviser";
}

impl Kind for ReviserKind {
    type Object = dyn Reviser;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// Changes requests and responses. To change content as it streams, wrap the body.
pub trait Reviser: Send + Sync {
    /// Where it stands among the revisers of a rule or webapp: requests and responses pass from low to
    /// high, so that who decodes content is the first for both, and who encodes it the last. Those of
    /// equal rank pass in the order they are written.
    fn rank(&self) -> u8;

    /// Sees a request before the handlets.
    fn request(&self, req: &mut Request) {
        let _ = req;
    }

    /// Sees the response to it.
    fn response(&self, req: &Request, response: &mut Response) {
        let _ = (req, response);
    }
}

/// Registers revisers.
pub trait ReviserRegistry {
    /// Adds a reviser.
    fn reviser<R: Reviser + Lifecycle + Component>(&mut self) -> &mut Self;
}

impl ReviserRegistry for Registry {
    fn reviser<R: Reviser + Lifecycle + Component>(&mut self) -> &mut Self {
        self.add::<ReviserKind, R>(|reviser: Arc<R>| reviser)
    }
}
