//! The dealet `udpxProxy`: passes datagrams on to the nodes of a backend.
//!
//! ```gorox
//! stage {
//! 	udpxBackend "voice" { .balancer = "ipHash"  node { .address = "127.0.0.1:5060" } }
//! 	udpxRouter "voice" {
//! 		.address = "127.0.0.1:3060"
//! 		case { udpxProxy { .toBackend = "voice"  .idleTimeout = 5m } }
//! 	}
//! }
//! ```
//!
//! What a client sends from one port goes to one node, and what that answers comes back; in a `quixRouter` that is what
//! it sends of one connection, from wherever. Many datagrams go by one system call where the kernel has it so.

use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::By;
use hemi_core::config::{Ref, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{Deal, NetVar, UdpxBackend, UdpxBackendKind, UdpxDealet, UdpxFlow, UdpxRelay};
use serde::Deserialize;

/// Passes datagrams on to a backend.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct UdpxProxyConfig {
    /// The backend.
    to_backend: Ref<UdpxBackendKind>,
    /// How long nothing may pass either way until a session is over.
    #[serde(default = "one_minute")]
    idle_timeout: Duration,
    /// After how many datagrams of the node a session is over, such as 1 where each question has one answer; 0
    /// for any number.
    #[serde(default)]
    answers: u64,
    /// What sessions that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<NetVar>>,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

/// Passes datagrams on.
#[derive(Debug)]
pub struct UdpxProxy {
    backend: Arc<UdpxBackend>,
    idle: Duration,
    answers: u64,
    hash_key: Option<Template<NetVar>>,
}

impl Component for UdpxProxy {
    const SIGN: &'static str = "udpxProxy";
    const ABOUT: Option<&'static str> = Some("Passes datagrams on to the nodes of a backend.");
    type Config = UdpxProxyConfig;

    fn create(config: UdpxProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self {
            backend: cx.follow(&config.to_backend)?,
            idle: config.idle_timeout,
            answers: config.answers,
            hash_key: config.hash_key,
        })
    }
}

impl Lifecycle for UdpxProxy {}

impl UdpxDealet for UdpxProxy {
    fn deal_flow(&self, flow: &mut UdpxFlow<'_>) -> Deal {
        let key = self.hash_key.as_ref().map(|key| key.render(&*flow).into_owned());
        let client = flow.ip();
        let by = By { client, key: key.as_deref(), node: flow.node(), ..By::default() };
        match self.backend.pick(&by, &[]) {
            Ok(pick) => {
                let backend = self.backend.clone();
                flow.relay(pick, UdpxRelay { backend, idle: self.idle, answers: self.answers });
            }
            Err(_) => flow.end_as("unreachable"),
        }
        Deal::Done
    }

    fn peeks_flow(&self) -> bool {
        let mut variables = self.hash_key.iter().flat_map(Template::variables);
        variables.any(NetVar::is_peeked)
    }
}
