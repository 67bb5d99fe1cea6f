//! The kind `hstate`: stores in which sessions outlive their requests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};

use crate::body::BoxError;

/// The kind of stores for sessions.
#[derive(Debug)]
pub struct HstateKind;

impl KindName for HstateKind {
    const NAME: &'static str = "hstate";
}

impl Kind for HstateKind {
    type Object = dyn DynHstate;
    const RANK: Rank = Rank::STORE;
    const PLACE: Place = Place::Referred;
}

/// Keeps bytes under keys for a time.
///
/// A key is 64 hexadecimal digits: the hash of what the client's cookie says, so that who reads the store
/// can't take over sessions.
pub trait Hstate: Lifecycle {
    /// What is kept under a key, if its time is not over.
    ///
    /// # Errors
    /// When the store can't be asked.
    fn load(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, BoxError>> + Send;

    /// Keeps `state` under a key for `keep`, in the place of what was there.
    ///
    /// # Errors
    /// When the store does not take it.
    fn save(
        &self,
        key: &str,
        state: Bytes,
        keep: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The same, but only if something is kept under the key: false if not. What was removed while a
    /// request was under way, as by a logout, does not come back so.
    ///
    /// # Errors
    /// When the store does not take it.
    fn update(
        &self,
        key: &str,
        state: Bytes,
        keep: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send;

    /// Forgets what is kept under a key, if anything is.
    ///
    /// # Errors
    /// When the store can't be asked.
    fn remove(&self, key: &str) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// The form of [`Hstate`] that a webapp stores.
pub trait DynHstate: Send + Sync {
    /// See [`Hstate::load`].
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BoxError>>;

    /// See [`Hstate::save`].
    fn save<'a>(
        &'a self,
        key: &'a str,
        state: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<(), BoxError>>;

    /// See [`Hstate::update`].
    fn update<'a>(
        &'a self,
        key: &'a str,
        state: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>>;

    /// See [`Hstate::remove`].
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;
}

impl<H: Hstate> DynHstate for H {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BoxError>> {
        Box::pin(Hstate::load(self, key))
    }

    fn save<'a>(
        &'a self,
        key: &'a str,
        state: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(Hstate::save(self, key, state, keep))
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        state: Bytes,
        keep: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(Hstate::update(self, key, state, keep))
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(Hstate::remove(self, key))
    }
}

/// Registers stores for sessions.
pub trait HstateRegistry {
    /// Adds a store.
    fn hstate<H: Hstate + Component>(&mut self) -> &mut Self;
}

impl HstateRegistry for Registry {
    fn hstate<H: Hstate + Component>(&mut self) -> &mut Self {
        self.add::<HstateKind, H>(|hstate: Arc<H>| hstate)
    }
}
