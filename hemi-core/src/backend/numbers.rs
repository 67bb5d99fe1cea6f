//! Numbers of a config that can't be wrong.

use std::borrow::Cow;

use serde::Deserialize;

use crate::config::ConfigType;

/// How much of the requests a node gets, compared with the others: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Weight(u16);

/// A number that is no weight.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is not a weight: write 1 to 1000, and `.drain = true` for a node that is to get nothing"
)]
pub struct BadWeight(u16);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u16> for Weight {
    type Error = BadWeight;

    fn try_from(weight: u16) -> Result<Self, BadWeight> {
        if (1..=1000).contains(&weight) { Ok(Self(weight)) } else { Err(BadWeight(weight)) }
    }
}

impl Weight {
    pub(super) fn get(self) -> f64 {
        self.0.into()
    }
}

impl ConfigType for Weight {
    fn kind() -> Cow<'static, str> {
        u16::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// A part of a whole: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Percent(u8);

/// A number that is no part of a hundred.
#[derive(Debug, thiserror::Error)]
#[error("{0} is more than 100 percent")]
pub struct BadPercent(u8);

impl Percent {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// A half.
    pub const HALF: Self = Self(50);

    /// A fifth.
    pub const FIFTH: Self = Self(20);

    /// As a part of 1.
    pub(super) fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// How many of a hundred.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// The part of a number, rounded down.
    pub(super) fn of(self, whole: usize) -> usize {
        whole * usize::from(self.0) / 100
    }
}

impl TryFrom<u8> for Percent {
    type Error = BadPercent;

    fn try_from(percent: u8) -> Result<Self, BadPercent> {
        if percent <= 100 { Ok(Self(percent)) } else { Err(BadPercent(percent)) }
    }
}

impl ConfigType for Percent {
    fn kind() -> Cow<'static, str> {
        "percent".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}
