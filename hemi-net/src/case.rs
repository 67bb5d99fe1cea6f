//! The component `case`: the condition under which some dealets of a router are asked, in the order written.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "shop" { node { .address = "127.0.0.1:7443" } }
//! 	tcpxRouter "front" {
//! 		.address = "127.0.0.1:3443"
//! 		case "shop" $serverName == ("shop.test", "www.shop.test") {
//! 			tcpxProxy { .toBackend = "shop" }
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;

use hemi_core::config::{Condition, Diagnostic, KindName, Lookup, Span};
use hemi_core::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Result};
use serde::Deserialize;

use crate::NetVar;
use crate::dealet::{AnyDealet, DealetKind};

/// The kind of the one component [`Case`].
#[derive(Debug)]
pub struct CaseKind;

impl KindName for CaseKind {
    const NAME: &'static str = "case";
}

impl Kind for CaseKind {
    type Object = Case;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// Has the dealets inside it deal with connections that fulfil its condition; without one, with all.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct CaseConfig {
    /// Whether connections that match are written to the log of the router.
    pub log_access: bool,
}

impl Default for CaseConfig {
    fn default() -> Self {
        Self { log_access: true }
    }
}

/// A case of a router.
pub struct Case {
    name: String,
    span: Span,
    condition: Option<Condition<NetVar>>,
    dealets: Vec<Arc<AnyDealet>>,
    logged: bool,
}

impl Component for Case {
    const SIGN: &'static str = "case";
    type Config = CaseConfig;

    fn create(config: CaseConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let condition = cx.condition::<NetVar>()?;
        if condition.as_ref().is_some_and(Condition::tests_files) {
            let message = "the condition of a case cannot test files";
            let help = "compare variables, such as `$serverName`";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
        let dealets = cx.children::<DealetKind>();
        let name = cx.given_name().unwrap_or_default().to_owned();
        Ok(Self { name, span: cx.span(), condition, dealets, logged: config.log_access })
    }
}

impl Lifecycle for Case {}

impl Case {
    /// Whether the connection, or flow, is for it.
    pub(crate) fn matches(&self, what: &impl Lookup<NetVar>) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.matches(what))
    }

    /// Whether its condition asks for such a variable.
    pub(crate) fn asks(&self, such: impl Fn(&NetVar) -> bool) -> bool {
        self.condition.as_ref().is_some_and(|condition| condition.uses(such))
    }

    /// Its dealets as a router asks them, who knows what they are to deal with.
    ///
    /// # Errors
    /// When one does not deal with `what`.
    pub(crate) fn dealets<D>(
        &self,
        what: &str,
        of: impl Fn(&AnyDealet) -> Option<D>,
    ) -> Result<Vec<D>> {
        let each = self.dealets.iter().map(|dealet| {
            of(dealet).ok_or_else(|| {
                let message = format!("`{}` does not deal with {what}", dealet.sign);
                Diagnostic::new(self.span, message).into()
            })
        });
        each.collect()
    }

    /// That its condition can't be fulfilled, for `why`.
    pub(crate) fn mistake(&self, why: &str, help: &str) -> hemi_core::Error {
        Diagnostic::new(self.span, why).help(help).into()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_logged(&self) -> bool {
        self.logged
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("condition", &self.condition).finish_non_exhaustive()
    }
}
