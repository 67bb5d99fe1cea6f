//! The handlet `grpcServices`: services of gRPC in a webapp, beside what else it has.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	webapp "shop" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			grpcServices { .services = ("Echo")  .maxMessageSize = 1M }
//! 		}
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" {
//! 		.address = "127.0.0.1:3080"
//! 		.webapps = ("shop")
//! 		.h2cPriorKnowledge = true
//! 	}
//! }
//! ```

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hemi_core::config::{Diagnostic, Ref, Secret, Several, Size, Spanned};
use hemi_core::cores::available;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use hemi_web::{Handlet, Reply, Request};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tonic::Status;
use tonic_health::server::HealthReporter;

use super::called::Counters;
use super::dispatch::{Dispatch, failed};
use super::form::{Carrier, Form};
use super::replies::trailers_of;
use super::reported::{health, reflection, report, report_first};
use super::rest::{Rest, Route};
use super::{GrpcService, get, local};
use crate::guard::Tokens;
use crate::{DynService, ServiceKind};

/// Serves services to callers that speak gRPC.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct GrpcServicesConfig {
    /// The services it serves, by their names in the config. Those that tonic-build has made have the name of their
    /// package for callers, others the one in the config.
    pub services: Spanned<Vec<Ref<ServiceKind>>>,
    /// Tokens, one of which callers have to show (as `Bearer TOKEN` in `authorization`), or a list; none for calls
    /// from anybody.
    #[serde(default)]
    pub auth_tokens: Several<Secret>,
}

/// What calls of gRPC are kept to.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcLimits {
    /// Bytes of a message that a caller sends, at most, whether it is compressed or not.
    pub max_message_size: Size,
    /// How long a call may take: it is answered `DEADLINE_EXCEEDED` then, and its work is dropped. Callers may say less.
    /// 0s for no such limit, as streams may go on for long.
    pub call_timeout: Duration,
    /// Whether messages are sent compressed to all callers that take them so, and not only to those that send theirs
    /// compressed.
    pub compress_replies: bool,
    /// Whether `grpc.health.v1.Health` tells that the services serve, and when they cease to.
    pub health: bool,
    /// Whether methods whose files say so by `google.api.http` can be asked for by plain HTTP with JSON, too.
    pub http_rules: bool,
    /// Whether `grpc.reflection.v1.ServerReflection` tells what can be asked for, and `v1alpha`.
    pub reflection: bool,
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self {
            max_message_size: Size(4 << 20),
            call_timeout: Duration::ZERO,
            compress_replies: false,
            health: true,
            http_rules: true,
            reflection: true,
        }
    }
}

/// Services of gRPC, as a handlet. It leaves to others what is no call of gRPC.
#[derive(Debug)]
pub struct GrpcServices {
    pub(super) limits: GrpcLimits,
    services: HashMap<Box<str>, GrpcService>,
    tokens: Tokens,
    pub(super) counters: Arc<Counters>,
    health: Option<HealthReporter>,
    /// Those above and those that tell of them.
    all: OnceLock<HashMap<Box<str>, GrpcService>>,
    /// What can be asked for by plain HTTP.
    rest: OnceLock<Rest>,
}

impl Component for GrpcServices {
    const SIGN: &'static str = "grpcServices";
    type Config = (GrpcServicesConfig, GrpcLimits);

    fn create((own, limits): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let cores = cx.cores();
        let counters = cx.keep(|| Counters::new(cores));
        let mut made = Self { counters, ..Self::with_limits(limits) };
        let found = cx.follow_all(&own.services.value)?;
        for (service, name) in found.iter().zip(&own.services.value) {
            if !made.add(mounted(name.name(), service)) {
                let message = format!("the service \"{}\" is here twice", name.name());
                return Err(Diagnostic::new(name.span(), message).into());
            }
        }
        Ok(Self { tokens: Tokens(own.auth_tokens.0), ..made })
    }
}

/// A service of any kind as one of gRPC.
fn mounted(name: &str, service: &Arc<dyn DynService>) -> GrpcService {
    service.grpc().cloned().unwrap_or_else(|| local::of(name, service))
}

impl Default for GrpcServices {
    fn default() -> Self {
        Self::new()
    }
}

impl GrpcServices {
    /// None so far, with defaults for all else.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(GrpcLimits::default())
    }

    /// The same with these limits.
    #[must_use]
    pub fn with_limits(limits: GrpcLimits) -> Self {
        Self {
            limits,
            services: HashMap::new(),
            tokens: Tokens(Vec::new()),
            counters: Arc::new(Counters::new(available().get())),
            health: None,
            all: OnceLock::new(),
            rest: OnceLock::new(),
        }
        .with_health()
    }

    fn with_health(mut self) -> Self {
        if self.limits.health {
            let (reporter, service) = health();
            self.health = Some(reporter);
            self.add(service);
        }
        self
    }

    /// The same with a service more; of two with the same name the last is served.
    #[must_use]
    pub fn service(mut self, service: GrpcService) -> Self {
        self.services.remove(service.name());
        self.add(service);
        self
    }

    /// Adds a service, unless there is one of that name.
    fn add(&mut self, service: GrpcService) -> bool {
        if let Some(health) = &self.health {
            report_first(health, service.name());
        }
        let name = service.name().into();
        self.services.insert(name, service).is_none()
    }

    /// Who tells callers whether services serve; none if `health` is off.
    #[must_use]
    pub fn health(&self) -> Option<&HealthReporter> {
        self.health.as_ref()
    }

    /// The names of those that do something.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.services.keys().filter(|name| !name.starts_with("grpc.health."));
        names.map(|name| name.to_string()).collect()
    }

    /// Numbers for the status of a server.
    pub(super) fn counted(&self) -> Vec<(&'static str, u64)> {
        self.counters.named()
    }

    fn find<'s, 'r>(&'s self, req: &'r Request) -> Option<(&'s GrpcService, &'r str)> {
        let (service, method) = path_of(req)?;
        let services = self.all.get().unwrap_or(&self.services);
        services.get(service).map(|service| (service, method))
    }

    /// What is answered to a request that is not worth asking a service; none if it is.
    fn refuse(&self, req: &mut Request) -> Option<Reply> {
        let mut posted = req.method() == Method::POST;
        if req.method() == Method::GET && get::is_call(req) {
            let found = self.find(req).and_then(|(service, method)| service.method(method));
            posted = found.is_some_and(|method| method.changes_nothing);
            if posted && !get::unfold(req) {
                return Some(StatusCode::BAD_REQUEST.into());
            }
        }
        let plain = self.rest.get().is_some_and(|rest| !rest.is_empty());
        if plain && self.find(req).is_none() && self.route(req).is_some() {
            return self.refuse_plain(req);
        }
        let Some(form) = Form::of(req) else {
            let known = posted && self.find(req).is_some();
            let unfit = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Some(if known { unfit.into() } else { Reply::Next });
        };
        let found = self.find(req);
        // Other content in JSON is for others.
        if found.is_none() && form.carrier == Carrier::Unary {
            return Some(Reply::Next);
        }
        if !posted {
            return Some(StatusCode::METHOD_NOT_ALLOWED.into());
        }
        let refused = match found {
            None => {
                let service = path_of(req).map_or(req.path(), |(service, _)| service);
                Status::unimplemented(format!("there is no service {service}"))
            }
            Some((service, _)) if form.json && !service.speaks_json() => {
                return Some(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
            }
            Some(_) if !self.admits(req) => Status::unauthenticated("not authorized"),
            Some(_) => {
                req.body().lift_limits();
                return None;
            }
        };
        self.counters.began();
        self.counters.ended(refused.code());
        Some(Reply::Done(failed(&form, &trailers_of(&refused), HeaderMap::new())))
    }

    /// The same of one that is asked for by plain HTTP.
    fn refuse_plain(&self, req: &Request) -> Option<Reply> {
        if self.admits(req) {
            return None;
        }
        let refused = Status::unauthenticated("not authorized");
        self.counters.began();
        self.counters.ended(refused.code());
        Some(Reply::Done(failed(&Form::rest(), &trailers_of(&refused), HeaderMap::new())))
    }

    /// By what something is asked for that is no call.
    fn route(&self, req: &Request) -> Option<&Route> {
        self.rest.get()?.find(req)
    }

    fn admits(&self, req: &Request) -> bool {
        let authorization = req.field(&AUTHORIZATION).unwrap_or_default();
        let token = authorization.strip_prefix(b"Bearer ");
        self.tokens.0.is_empty() || self.tokens.have(token.unwrap_or_default())
    }
}

/// The service and the method that are asked for.
fn path_of(req: &Request) -> Option<(&str, &str)> {
    let (service, method) = req.path().strip_prefix('/')?.split_once('/')?;
    (!method.contains('/')).then_some((service, method))
}

impl Lifecycle for GrpcServices {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let mut all = self.services.clone();
        if self.limits.reflection {
            let told = reflection(self.services.values());
            let told = told.map_err(|e| Error::other(format!("descriptors of services: {e}")))?;
            all.extend(told.map(|service| (service.name().into(), service)));
        }
        let _ = self.all.set(all);
        if self.limits.http_rules {
            let _ = self.rest.set(Rest::of(self.services.values()).map_err(Error::other)?);
        }
        Ok(())
    }

    /// Who watches is told that it comes to an end.
    async fn run(&self, cx: &Run) {
        cx.shut().cancelled().await;
        if let Some(health) = &self.health {
            for name in self.services.keys().map(|name| &**name).chain([""]) {
                report(health, name, false).await;
            }
        }
    }

    fn measure(&self, out: &mut Measures) {
        self.counters.measure(out);
    }
}

impl Handlet for GrpcServices {
    async fn handle(&self, req: &mut Request) -> Reply {
        let found = self.find(req);
        let route = if found.is_none() { self.route(req) } else { None };
        let asked = match route {
            Some(route) => self.services.get(route.service()).map(|found| (found, route.method())),
            None => found,
        };
        let form = if route.is_some() { Some(Form::rest()) } else { Form::of(req) };
        let (Some(form), Some((service, method))) = (form, asked) else { return Reply::Next };
        let method = service.method(method);
        self.counters.began();
        let dispatch = Dispatch { services: self, service, form: &form, method, route };
        Reply::Done(dispatch.answer(req).await)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        self.refuse(req)
    }
}
