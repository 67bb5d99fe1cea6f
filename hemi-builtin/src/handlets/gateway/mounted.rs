//! Proxies to programs that answer for all paths, or for those beneath one.

use std::fmt::Debug;
use std::marker::PhantomData;

use hemi_core::{Component, CreateCx, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};

use super::{GatewayConfig, Mount, MountConfig, Passing, SpecialConfig};
use crate::sticky::StickyConfig;

/// By which protocol programs are asked.
pub trait Program: Debug + Send + Sync + 'static {
    /// The sign of the proxy.
    const SIGN: &'static str;
    /// What the proxy is for.
    const ABOUT: &'static str;
    /// What backends say that they speak.
    const PROTOCOL: &'static str;
}

/// Has requests be answered by a program that is asked so.
#[derive(Debug)]
pub struct MountedProxy<P> {
    passing: Passing,
    mount: Mount,
    program: PhantomData<P>,
}

impl<P: Program> Component for MountedProxy<P> {
    const SIGN: &'static str = P::SIGN;
    const ABOUT: Option<&'static str> = Some(P::ABOUT);
    type Config = (GatewayConfig, SpecialConfig, StickyConfig, MountConfig);

    fn create(
        (gateway, special, sticky, mount): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let passing = Passing::create((gateway, special, sticky), P::PROTOCOL, cx)?;
        Ok(Self { passing, mount: mount.into(), program: PhantomData })
    }
}

impl<P: Program> Lifecycle for MountedProxy<P> {}

impl<P: Program> Handlet for MountedProxy<P> {
    async fn handle(&self, req: &mut Request) -> Reply {
        match self.mount.script_of(req.path()) {
            Some(script) => self.passing.pass_on(req, &script.into_owned()).await,
            None => Reply::Next,
        }
    }
}
