//! Routes: which handle answers which path and method.

mod handle;
mod params;

use std::fmt;
use std::sync::Arc;

use hemi_core::{BoxFuture, DynLifecycle, Lifecycle, Prepare, Result, Run};
use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};

use self::handle::{Bound, Endpoint, Found, Mounted};
use self::params::{MAX_PARAMS, names};
use crate::{Handlet, Reply, Request, Response, trace};

pub use self::handle::{AtOnce, Handle, Waits};
pub(crate) use self::params::Params;

/// Finds the handle for the path and method of a request.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Json, Mapper, Path, State, WebError};
/// use http::StatusCode;
/// use std::sync::Mutex;
///
/// type Names = Mutex<Vec<String>>;
///
/// async fn all(names: State<Names>) -> Json<Vec<String>> {
///     Json(names.lock().unwrap().clone())
/// }
///
/// async fn one(Path(number): Path<usize>, names: State<Names>) -> Option<String> {
///     names.lock().unwrap().get(number).cloned()
/// }
///
/// async fn add(names: State<Names>, name: String) -> Result<StatusCode, WebError> {
///     if name.is_empty() {
///         return Err(WebError::new(StatusCode::BAD_REQUEST, "no name"));
///     }
///     names.lock().unwrap().push(name);
///     Ok(StatusCode::CREATED)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let names = Mapper::with_state(Names::default())
///     .get("/", all)
///     .post("/", add)
///     .get("/{number}", one);
/// let mapper = Mapper::new().get("/", async || "Hello").nest("/names", names);
///
/// let client = Client::of(mapper);
/// assert_eq!(client.post("/names").body("Ada").send().await.status(), 201);
/// assert_eq!(client.get("/names/0").send().await.text(), "Ada");
/// assert_eq!(client.get("/names/1").send().await.status(), 404);
/// assert_eq!(client.put("/names").send().await.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
/// # }
/// ```
///
/// A route is a path with parameters, `{name}` in a segment or `{*name}` for one or more segments at the
/// end; literal segments go before parameters. It is compared with [`Request::path`]: decoded and
/// normalised. HEAD is answered as GET is, without the content; OPTIONS with the methods there are; another
/// method with 405 and these methods. A path without a route is left to the next handlet, or rule, unless
/// there is a [`Mapper::fallback`].
///
/// It is a [`Handlet`]: a program puts it in a rule by [`crate::Rule::handlet`]; or a component with a sign
/// and properties makes one of them, and delegates to it:
///
/// ```
/// use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
/// use hemi_web::{Handlet, Mapper, Reply, Request, State};
///
/// /// Greets.
/// #[derive(serde::Deserialize, Explain)]
/// struct GreeterConfig {
///     /// What to say.
///     greeting: String,
/// }
///
/// struct Greeter(Mapper<String>);
///
/// impl Component for Greeter {
///     const SIGN: &'static str = "greeter";
///     type Config = GreeterConfig;
///
///     fn create(config: GreeterConfig, _: &mut CreateCx<'_>) -> Result<Self> {
///         Ok(Self(Mapper::with_state(config.greeting).get("/greet", greet)))
///     }
/// }
///
/// impl Lifecycle for Greeter {}
///
/// impl Handlet for Greeter {
///     async fn handle(&self, req: &mut Request) -> Reply {
///         self.0.handle(req).await
///     }
/// }
///
/// async fn greet(greeting: State<String>) -> String {
///     greeting.to_string()
/// }
/// ```
///
/// A mistake of the program, such as two handles for the same request, is a panic when the route is added:
/// at the start, and with the place.
pub struct Mapper<S = ()> {
    state: Arc<S>,
    routes: Table<Route>,
    fallbacks: Table<Entry>,
    max_content: u64,
    /// Whether some endpoint may answer without waiting.
    at_once: bool,
    /// Those of the handlets at the ends of routes.
    lives: Vec<Arc<dyn DynLifecycle>>,
}

/// What is found by paths.
struct Table<T> {
    /// Where in `all` it is.
    places: matchit::Router<usize>,
    all: Vec<Routed<T>>,
}

struct Routed<T> {
    path: String,
    /// Of its parameters.
    names: Vec<String>,
    to: T,
}

/// All that answers one path.
struct Route {
    /// By method; none for any.
    entries: Vec<(Option<Method>, Entry)>,
    allow: HeaderValue,
}

#[derive(Clone)]
struct Entry {
    endpoint: Arc<dyn Endpoint>,
    /// That of the mapper, if none.
    max_content: Option<u64>,
}

/// Bytes of content that helpers hold in memory, at most, unless said otherwise.
const MAX_CONTENT: u64 = 2 << 20;

impl Mapper {
    /// One without routes or state.
    #[must_use]
    pub fn new() -> Self {
        Self::with_state(())
    }
}

impl Default for Mapper {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! methods {
    ($($name:ident $method:ident)+) => {
        $(
            #[doc = concat!("The same with a handle for ", stringify!($method), " of this path.")]
            ///
            /// # Panics
            /// See [`Mapper::on`].
            #[must_use]
            #[track_caller]
            pub fn $name<Args: 'static>(self, path: &str, handle: impl Handle<S, Args>) -> Self {
                self.on(Method::$method, path, handle)
            }
        )+
    };
}

impl<S: Send + Sync + 'static> Mapper<S> {
    /// One whose handles may take [`crate::State`] of this type.
    #[must_use]
    pub fn with_state(state: S) -> Self {
        Self::with_shared(Arc::new(state))
    }

    /// The same with a state that others have too.
    #[must_use]
    pub fn with_shared(state: Arc<S>) -> Self {
        Self {
            state,
            routes: Table::new(),
            fallbacks: Table::new(),
            max_content: MAX_CONTENT,
            at_once: false,
            lives: Vec::new(),
        }
    }

    methods! { get GET  post POST  put PUT  delete DELETE  patch PATCH }

    /// The same with a handle for a method of this path.
    ///
    /// # Panics
    /// When the path does not start with `/`, has more than eight parameters, or one that is not written
    /// as such; when there is a handle for the method already; when a parameter stands where another route
    /// has one of another name.
    #[must_use]
    #[track_caller]
    pub fn on<Args: 'static>(
        mut self,
        method: Method,
        path: &str,
        handle: impl Handle<S, Args>,
    ) -> Self {
        let entry = self.entry(handle);
        self.route(path, Some(method), entry);
        self
    }

    /// The same with a handle for all methods of this path that have none of their own.
    ///
    /// # Panics
    /// See [`Mapper::on`].
    #[must_use]
    #[track_caller]
    pub fn any<Args: 'static>(mut self, path: &str, handle: impl Handle<S, Args>) -> Self {
        let entry = self.entry(handle);
        self.route(path, None, entry);
        self
    }

    /// The same with a handlet for all methods of this path that have no handle.
    ///
    /// # Panics
    /// See [`Mapper::on`].
    #[must_use]
    #[track_caller]
    pub fn handlet<H: Handlet>(mut self, path: &str, handlet: H) -> Self {
        let handlet = Arc::new(handlet);
        self.lives.push(handlet.clone());
        let endpoint = Arc::new(Mounted(handlet));
        self.route(path, None, Entry { endpoint, max_content: None });
        self
    }

    /// The same with a handle for what has no route, in the place of the handlets and rules after it.
    ///
    /// # Panics
    /// When there is one.
    #[must_use]
    #[track_caller]
    pub fn fallback<Args: 'static>(mut self, handle: impl Handle<S, Args>) -> Self {
        let entry = self.entry(handle);
        for path in ["/", "/{*rest}"] {
            self.fall_back(path, entry.clone());
        }
        self
    }

    /// The same with all routes of another mapper, which keeps its own state.
    ///
    /// # Panics
    /// See [`Mapper::on`]; and when both have a fallback.
    #[must_use]
    #[track_caller]
    pub fn merge<T>(self, other: Mapper<T>) -> Self {
        self.include("", other)
    }

    /// The same with all routes of another mapper below a path: its `/` is that path, its `/x` that path
    /// with `/x`. Its fallback is for what is below the path. It keeps its own state.
    ///
    /// # Panics
    /// When the path does not start with `/`, or ends in one; see [`Mapper::on`].
    #[must_use]
    #[track_caller]
    pub fn nest<T>(self, path: &str, other: Mapper<T>) -> Self {
        let fits = path.starts_with('/') && !path.ends_with('/');
        assert!(fits, "cannot nest at \"{path}\": it must start with `/` and not end in one");
        self.include(path, other)
    }

    /// The same with another limit on the bytes of content that helpers such as [`crate::Json`] hold in
    /// memory: 413 beyond. 2 MiB if it is not set. What streams is limited by `maxBodySize` of the webapp
    /// alone, which this can't exceed.
    #[must_use]
    pub fn max_content(mut self, bytes: u64) -> Self {
        self.max_content = bytes;
        self
    }

    fn entry<Args: 'static>(&mut self, handle: impl Handle<S, Args>) -> Entry {
        let endpoint = Arc::new(Bound::new(handle, self.state.clone()));
        Entry { endpoint, max_content: None }
    }

    #[track_caller]
    fn include<T>(mut self, prefix: &str, other: Mapper<T>) -> Self {
        let below = |path: &str| match path {
            "/" if !prefix.is_empty() => prefix.to_owned(),
            path => format!("{prefix}{path}"),
        };
        let own = |entry: Entry| Entry {
            max_content: entry.max_content.or(Some(other.max_content)),
            ..entry
        };
        for route in other.routes.all {
            for (method, entry) in route.to.entries {
                self.route(&below(&route.path), method, own(entry));
            }
        }
        for Routed { path, to, .. } in other.fallbacks.all {
            let entry = own(to);
            if !prefix.is_empty() && path == "/" {
                self.fall_back(&format!("{prefix}/"), entry.clone());
            }
            self.fall_back(&below(&path), entry);
        }
        self.lives.extend(other.lives);
        self
    }

    #[track_caller]
    fn route(&mut self, path: &str, method: Option<Method>, entry: Entry) {
        self.at_once |= entry.endpoint.at_once();
        let route = self.routes.at_or_insert(path, Route::new);
        if route.entries.iter().any(|(other, _)| *other == method) {
            let method = method.as_ref().map_or("any method", Method::as_str);
            panic!("there are two handles for {method} of \"{path}\"");
        }
        route.entries.push((method, entry));
        route.allow = route.allowed();
    }

    #[track_caller]
    fn fall_back(&mut self, path: &str, entry: Entry) {
        self.at_once |= entry.endpoint.at_once();
        let mut is_new = false;
        self.fallbacks.at_or_insert(path, || {
            is_new = true;
            entry
        });
        assert!(is_new, "there are two fallbacks for \"{path}\"");
    }

    /// Who is to answer.
    fn find(&self, req: &Request) -> Target<'_> {
        let path = req.path();
        if let Some((route, params)) = self.routes.find(path) {
            return match route.entry(req.method()) {
                Some(entry) => Target::Endpoint(&*entry.endpoint, self.found(entry, params)),
                None => Target::Methods(&route.allow),
            };
        }
        match self.fallbacks.find(path) {
            Some((entry, params)) => Target::Endpoint(&*entry.endpoint, self.found(entry, params)),
            None => Target::None,
        }
    }

    /// Tells the trace of a request, if it has one, by which route it came.
    fn trace_route(&self, req: &mut Request) {
        if req.trace().is_none() {
            return;
        }
        let (route, method) = (self.routes.path_of(req.path()), req.method().clone());
        if let (Some(route), Some(span)) = (route, req.trace_mut()) {
            trace::tell_route(span, &method, route);
        }
    }

    fn found<'a>(&'a self, entry: &Entry, params: Params<'a>) -> Found<'a> {
        Found { params, max_content: entry.max_content.unwrap_or(self.max_content) }
    }
}

/// What a mapper has for a request.
enum Target<'a> {
    Endpoint(&'a dyn Endpoint, Found<'a>),
    /// The path has a route, but only for these methods.
    Methods(&'a HeaderValue),
    None,
}

impl<S: Send + Sync + 'static> Handlet for Mapper<S> {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.handle_boxed(req).await
    }

    fn handle_boxed<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply> {
        self.trace_route(req);
        match self.find(req) {
            Target::Endpoint(endpoint, found) => endpoint.call(req, found),
            Target::Methods(allow) => {
                let reply = methods(req.method(), allow);
                Box::pin(async { reply })
            }
            Target::None => Box::pin(async { Reply::Next }),
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        if !self.at_once {
            return None;
        }
        self.trace_route(req);
        match self.find(req) {
            Target::Endpoint(endpoint, found) => endpoint.call_now(req, found),
            Target::Methods(allow) => Some(methods(req.method(), allow)),
            Target::None => Some(Reply::Next),
        }
    }
}

/// Says which methods there are.
fn methods(asked: &Method, allow: &HeaderValue) -> Reply {
    let status = match *asked {
        Method::OPTIONS => StatusCode::NO_CONTENT,
        _ => StatusCode::METHOD_NOT_ALLOWED,
    };
    Response::from(status).field(ALLOW, allow.clone()).into()
}

/// Leads the lives of the handlets at the ends of its routes.
impl<S: Send + Sync + 'static> Lifecycle for Mapper<S> {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.lives.iter().try_for_each(|life| life.prepare(cx))
    }

    async fn run(&self, run: &Run) {
        let mut lives: Vec<_> = self.lives.iter().map(|life| life.run(run)).collect();
        std::future::poll_fn(|cx| {
            lives.retain_mut(|life| life.as_mut().poll(cx).is_pending());
            if lives.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl<T> Table<T> {
    fn new() -> Self {
        Self { places: matchit::Router::new(), all: Vec::new() }
    }

    #[track_caller]
    fn at_or_insert(&mut self, path: &str, make: impl FnOnce() -> T) -> &mut T {
        let place = self.all.iter().position(|known| known.path == path);
        let place = place.unwrap_or_else(|| {
            assert!(path.starts_with('/'), "the route \"{path}\" does not start with `/`");
            let names = names(path);
            assert!(names.len() <= MAX_PARAMS, "\"{path}\" has more than {MAX_PARAMS} parameters");
            if let Err(e) = self.places.insert(path, self.all.len()) {
                panic!("cannot route \"{path}\": {e}");
            }
            self.all.push(Routed { path: path.to_owned(), names, to: make() });
            self.all.len() - 1
        });
        &mut self.all[place].to
    }

    fn find<'a>(&'a self, path: &str) -> Option<(&'a T, Params<'a>)> {
        let found = self.places.at(path).ok()?;
        let routed = self.all.get(*found.value)?;
        Some((&routed.to, Params::found(path, &routed.names, &found.params)))
    }

    /// The path that a place was made with.
    fn path_of(&self, path: &str) -> Option<&str> {
        let found = self.places.at(path).ok()?;
        self.all.get(*found.value).map(|routed| &*routed.path)
    }
}

impl Route {
    fn new() -> Self {
        Self { entries: Vec::new(), allow: HeaderValue::from_static("") }
    }

    /// The entry for a method: its own, that of GET for HEAD, or that for any.
    fn entry(&self, method: &Method) -> Option<&Entry> {
        let of = |wanted: Option<&Method>| {
            self.entries.iter().find(|(own, _)| own.as_ref() == wanted).map(|(_, entry)| entry)
        };
        let get = || of(Some(&Method::GET)).filter(|_| *method == Method::HEAD);
        of(Some(method)).or_else(get).or_else(|| of(None))
    }

    /// The methods that are answered.
    fn allowed(&self) -> HeaderValue {
        let own = self.entries.iter().filter_map(|(method, _)| method.as_ref());
        let mut names: Vec<_> = own.map(Method::as_str).chain(["OPTIONS"]).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.dedup();
        HeaderValue::try_from(names.join(", "))
            .unwrap_or_else(|_| unreachable!("tokens and commas"))
    }
}

impl<S> fmt::Debug for Mapper<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.all.iter().map(|route| (&route.path, &route.to.allow));
        f.debug_map().entries(routes).finish()
    }
}
