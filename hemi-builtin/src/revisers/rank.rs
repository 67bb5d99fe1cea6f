//! Where revisers stand that the config may order.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use serde::Deserialize;

/// A rank from 6 to 25: responses pass those of low rank first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct MiddleRank(u8);

/// A number that is no such rank.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no rank for this reviser: write one from 6 to 25")]
pub struct NoMiddleRank(u64);

impl MiddleRank {
    pub(super) const fn new(rank: u8) -> Self {
        assert!(rank >= 6 && rank <= 25, "such ranks are 6 to 25");
        Self(rank)
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for MiddleRank {
    type Error = NoMiddleRank;

    fn try_from(rank: u64) -> Result<Self, NoMiddleRank> {
        let known = u8::try_from(rank).ok().filter(|rank| (6..=25).contains(rank));
        known.map(Self).ok_or(NoMiddleRank(rank))
    }
}

impl ConfigType for MiddleRank {
    fn kind() -> Cow<'static, str> {
        "6 to 25".into()
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}
