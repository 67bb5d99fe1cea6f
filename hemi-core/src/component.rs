//! What a component is: a sign in the config, typed properties, a constructor, a life.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::config::{
    Condition, Diagnostic, Diagnostics, KindName, Ref, Scope, Span, Spanned, Variable,
};
use crate::listen::Address;
use crate::metrics::Measures;
use crate::stage::{Build, Claim, Identity};
use crate::{Error, Explain, Prepare, Registry, Result, Run};

/// A kind of components, which can stand in for each other: handlet, server, logger, ...
///
/// A marker type in the crate that defines the kind, with the trait its components implement.
pub trait Kind: KindName + 'static {
    /// What others hold of a component of this kind: most often `dyn Trait`.
    type Object: ?Sized + Send + Sync + 'static;
    /// When it starts.
    const RANK: Rank;
    /// Where it stands.
    const PLACE: Place;
}

/// The order in which a stage creates, prepares and starts its components; it ends them in reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u8);

impl Rank {
    /// Clock, file cache, resolver: there for all others.
    pub const FIXTURE: Self = Self(0);
    /// Writes what others report.
    pub const LOGGER: Self = Self(5);
    /// Groups of nodes that others talk to.
    pub const BACKEND: Self = Self(10);
    /// RPC services.
    pub const SERVICE: Self = Self(20);
    /// Session and cache stores.
    pub const STORE: Self = Self(30);
    /// Handlets, revisers, socklets, rules: parts of a webapp.
    pub const PART: Self = Self(38);
    /// Webapps.
    pub const WEBAPP: Self = Self(40);
    /// Routers of connections.
    pub const ROUTER: Self = Self(50);
    /// Servers.
    pub const SERVER: Self = Self(60);
    /// Work done by the clock.
    pub const CRONJOB: Self = Self(70);
}

/// Where components of a kind stand in a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the stage, once, without a name; there with its defaults if it is not written.
    Fixture,
    /// In the stage, by a name that no other of its kind has.
    Stage,
    /// The same, and some other component must refer to it: one that nobody uses is a mistake.
    Referred,
    /// Inside another component; a name is optional.
    Inside,
}

/// A component as its author writes it. Where [`Component::create`] has nothing to do and there is no
/// life to lead, `#[derive(Component)]` writes both: see the `hello` example.
///
/// ```
/// use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result, Run};
///
/// /// Says that it lives.
/// #[derive(serde::Deserialize, Explain)]
/// struct Beacon {
///     /// What to say.
///     text: String,
/// }
/// impl Component for Beacon {
///     const SIGN: &'static str = "beacon";
///     type Config = Self;
///     fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
///         Ok(config)
///     }
/// }
/// impl Lifecycle for Beacon {
///     async fn run(&self, cx: &Run) {
///         tracing::info!("{}", self.text);
///         cx.shut().cancelled().await;
///     }
/// }
/// ```
pub trait Component: Lifecycle + Sized {
    /// Its keyword in the config.
    const SIGN: &'static str;
    /// What it is for, in a sentence or more; else the doc comment of its (first) config struct says so.
    const ABOUT: Option<&'static str> = None;
    /// Its properties; a tuple of several groups reads them all from the same component.
    type Config: DeserializeOwned + Explain;

    /// Makes it: no sockets, no files, no tasks, for `check` does this too.
    ///
    /// # Errors
    /// When properties contradict each other: best with the place, by [`Error::config`].
    fn create(config: Self::Config, cx: &mut CreateCx<'_>) -> Result<Self>;
}

/// What a stage asks of a created component.
pub trait Lifecycle: Send + Sync + 'static {
    /// Binds sockets, opens files. An error refuses the whole stage, and an earlier one keeps serving.
    ///
    /// # Errors
    /// When what the component needs of its surroundings is not there.
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Works until [`Run::shut`] fires, then finishes what is under way, by [`Run::stop`] at the latest.
    fn run(&self, cx: &Run) -> impl Future<Output = ()> + Send {
        let _ = cx;
        async {}
    }

    /// Tells what it has counted, whenever somebody collects that.
    fn measure(&self, out: &mut Measures) {
        let _ = out;
    }
}

/// A boxed future, as the engine stores what users write as `async fn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The form of [`Lifecycle`] that the engine stores.
pub trait DynLifecycle: Send + Sync + 'static {
    /// See [`Lifecycle::prepare`].
    ///
    /// # Errors
    /// The same.
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()>;

    /// See [`Lifecycle::run`].
    fn run<'a>(&'a self, cx: &'a Run) -> BoxFuture<'a, ()>;

    /// See [`Lifecycle::measure`].
    fn measure(&self, out: &mut Measures);
}

impl<T: Lifecycle> DynLifecycle for T {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        Lifecycle::prepare(self, cx)
    }

    fn run<'a>(&'a self, cx: &'a Run) -> BoxFuture<'a, ()> {
        Box::pin(Lifecycle::run(self, cx))
    }

    fn measure(&self, out: &mut Measures) {
        Lifecycle::measure(self, out);
    }
}

/// What a constructor may ask for.
pub struct CreateCx<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) scope: Scope<'a>,
    pub(crate) build: &'a mut Build,
    pub(crate) identity: Identity,
}

impl CreateCx<'_> {
    /// The component's name, or what stands for one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The name that the config gives the component, if it does.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        self.scope.name()
    }

    /// Where the component stands in the config.
    #[must_use]
    pub fn span(&self) -> Span {
        self.scope.span()
    }

    /// Creates the components of kind `K` that stand inside this one, in their order. Of those that
    /// fail the errors are kept, and refuse the stage.
    pub fn children<K: Kind>(&mut self) -> Vec<Arc<K::Object>> {
        self.placed_children::<K>().into_iter().map(|(_, child)| child).collect()
    }

    /// Whether components of kind `K` stand inside this one, good ones or bad ones.
    #[must_use]
    pub fn has_children<K: Kind>(&self) -> bool {
        self.scope.children().any(|child| self.registry.find::<K>(child.sign()).is_some())
    }

    /// Those of [`children`](Self::children), each with its place among the components of all kinds that stand
    /// inside this one.
    pub fn placed_children<K: Kind>(&mut self) -> Vec<(usize, Arc<K::Object>)> {
        let made = self.scope.children().enumerate().filter_map(|(place, child)| {
            let factory = self.registry.find::<K>(child.sign())?;
            Some((place, self.build.create::<K>(self.registry, factory, child)?))
        });
        made.collect()
    }

    /// The signs of the components in the same place, this one among them, in their order.
    pub fn beside(&self) -> impl Iterator<Item = &str> {
        self.scope.outer().into_iter().flat_map(|outer| outer.children()).map(|child| child.sign())
    }

    /// The component that a property refers to.
    ///
    /// # Errors
    /// When there is none of that kind and name.
    pub fn follow<K: Kind>(&mut self, to: &Ref<K>) -> Result<Arc<K::Object>> {
        self.build.find::<K>(to.name(), || self.build.parts.dangling(to).into())
    }

    /// The same for several properties, or a list; every one that there is none for is told.
    ///
    /// # Errors
    /// When there is one that refers to nothing.
    pub fn follow_all<'r, K: Kind>(
        &mut self,
        to: impl IntoIterator<Item = &'r Ref<K>>,
    ) -> Result<Vec<Arc<K::Object>>> {
        let (mut found, mut errors, mut failed) = (Vec::new(), Diagnostics::default(), false);
        for to in to {
            match self.follow(to) {
                Ok(object) => found.push(object),
                Err(e) => {
                    errors.extend(e.into_diagnostics(to.span()));
                    failed = true;
                }
            }
        }
        if failed { Err(errors.into()) } else { Ok(found) }
    }

    /// All components of a kind of lower rank, with their names, in the order of these.
    #[must_use]
    pub fn all<K: Kind>(&self) -> Vec<(&str, Arc<K::Object>)> {
        self.build.parts.all::<K>()
    }

    /// The address of a property to listen on, which no other component of the stage does; the path of
    /// a Unix socket as by [`CreateCx::path`].
    ///
    /// # Errors
    /// When another does.
    pub fn listen_on(&mut self, address: Spanned<Address>) -> Result<Address> {
        let Spanned { value, span } = address;
        let value = match value {
            Address::Unix(path) => Address::Unix(self.path(path)),
            other => other,
        };
        self.claim(Claim::Listen, &value, span)?;
        Ok(value)
    }

    /// The address of a property to receive datagrams on, which no other component of the stage does; the path of a Unix
    /// socket as by [`CreateCx::path`].
    ///
    /// # Errors
    /// When another does, or it is the name of a socket that the program was started with.
    pub fn receive_at(&mut self, address: Spanned<Address>) -> Result<Address> {
        match address.value {
            Address::Unix(path) => {
                let value = Address::Unix(self.path(path));
                self.claim(Claim::Receive, &value, address.span)?;
                Ok(value)
            }
            _ => self.receive_on(address).map(Address::Tcp),
        }
    }

    /// The same of those that come by UDP.
    ///
    /// # Errors
    /// When another does, or it is that of a Unix socket.
    pub fn receive_on(&mut self, address: Spanned<Address>) -> Result<SocketAddr> {
        let Address::Tcp(udp) = address.value else {
            let diagnostic = Diagnostic::new(address.span, "datagrams come by UDP only");
            return Err(diagnostic.help("write an address such as \"127.0.0.1:53\"").into());
        };
        self.claim(Claim::Receive, &address.value, address.span)?;
        Ok(udp)
    }

    fn claim(&mut self, claim: Claim, address: &Address, span: Span) -> Result<()> {
        let key = (claim, address.clone());
        let Some(first) = self.build.claimed.get(&key) else {
            self.build.claimed.insert(key, span);
            self.build.needs.borrow_mut().addresses.insert(address.clone());
            return Ok(());
        };
        let does = match claim {
            Claim::Listen => "listen",
            Claim::Receive => "receive",
        };
        Err(Diagnostic::new(span, format!("two servers {does} on {address}"))
            .help("give one of them another address")
            .note(*first, "the first is here")
            .into())
    }

    /// A fixture of the stage.
    ///
    /// # Errors
    /// When the program has not registered it.
    pub fn fixture<K: Kind>(&mut self) -> Result<Arc<K::Object>> {
        self.build.find::<K>(K::NAME, || {
            Error::config(self.span(), format!("this program has no {}", K::NAME))
        })
    }

    /// The condition written between the component's name and its `{`.
    ///
    /// # Errors
    /// When it names an unknown variable, or has a bad regular expression.
    pub fn condition<V: Variable>(&self) -> Result<Option<Condition<V>>> {
        Ok(self.scope.condition()?)
    }

    /// State that outlives a reload as long as the component stays as it is: what that of the same
    /// kind, name and properties had in the stage before, else what `make` makes.
    pub fn carry<T: Send + Sync + 'static>(&mut self, make: impl FnOnce() -> T) -> Arc<T> {
        self.build.carry(self.identity.clone(), make)
    }

    /// State that outlives every reload, such as counters: what the component of the same kind and name
    /// had in the stage before, else what `make` makes.
    pub fn keep<T: Send + Sync + 'static>(&mut self, make: impl FnOnce() -> T) -> Arc<T> {
        let identity = Identity { digest: 0, ..self.identity.clone() };
        self.build.carry(identity, make)
    }

    /// A path from the config as the process can open it: relative ones start at the top directory. What is
    /// there is only read.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.build.dirs.top_dir.join(path);
        self.build.needs.borrow_mut().read.insert(path.clone());
        path
    }

    /// The same for what is written: a file that may not be there yet, or a directory with all that is in it.
    #[must_use]
    pub fn written(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.build.dirs.top_dir.join(path);
        self.build.needs.borrow_mut().written.insert(path.clone());
        path
    }

    /// The same for what is kept below `%varDir` unless the config says otherwise.
    #[must_use]
    pub fn kept(&self, path: impl AsRef<Path>) -> PathBuf {
        self.written(self.build.dirs.var_dir.join(path))
    }

    /// How many cores the engine has.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.build.cores
    }
}
