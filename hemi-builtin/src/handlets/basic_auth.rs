//! The handlet `basicAuth`: lets in who knows a name and its password (RFC 7617).
//!
//! ```gorox
//! stage {
//! 	webapp "admin" {
//! 		.hostnames = ("*")
//! 		rule { basicAuth { .realm = "admins"  .file = %topDir + "/conf/htpasswd" } }
//! 		rule { .returnCode = 200  .returnText = "Hello, " + $remoteUser }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("admin") }
//! }
//! ```
//!
//! Who is let in is `$remoteUser` for all that comes after; others are answered 401. Passwords are kept
//! as hashes in the forms that `htpasswd`, `openssl passwd` and `argon2` write: bcrypt (`$2y$`), Argon2
//! (`$argon2id$`), SHA-crypt (`$5$`, `$6$`), and for old files MD5 (`$apr1$`, `$1$`) and `{SHA}`. Names
//! and passwords are compared byte by byte, in UTF-8.
//!
//! A hash that is worth something takes long to compute: that is done on threads of its own, a few at a
//! time, and what was found right is remembered for a while. Over 256 requests that wait for it are
//! answered 503. A name that is not known costs as much as one that is.

use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use crate::realm::Realm;
use crate::users::{Credentials, UserList, UsersConfig};

/// Lets in who knows a name and its password.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicAuthConfig {
    /// What the client is told it needs a password for.
    realm: Realm,
}

/// Lets in who knows a name and its password.
#[derive(Debug)]
pub struct BasicAuth {
    challenge: HeaderValue,
    users: UserList,
}

impl Component for BasicAuth {
    const SIGN: &'static str = "basicAuth";
    type Config = (BasicAuthConfig, UsersConfig);

    fn create((config, users): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        if users.is_empty() {
            let message = "nobody could be let in: there are neither `.users` nor a `.file`";
            return Err(Error::config(cx.span(), message));
        }
        let challenge = config.realm.challenge("Basic", ", charset=\"UTF-8\"");
        Ok(Self { challenge, users: UserList::create(users, cx)? })
    }
}

impl Lifecycle for BasicAuth {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.users.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.users.run(cx).await;
    }
}

impl Handlet for BasicAuth {
    async fn handle(&self, req: &mut Request) -> Reply {
        let Some(credentials) = credentials_of(req) else { return self.refuse() };
        match self.users.check(&credentials).await {
            Ok(true) => {
                req.set_user(credentials.name);
                Reply::Next
            }
            Ok(false) => self.refuse(),
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into(),
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        let Some(credentials) = credentials_of(req) else { return Some(self.refuse()) };
        if !self.users.check_now(&credentials)? {
            return Some(self.refuse());
        }
        req.set_user(credentials.name);
        Some(Reply::Next)
    }
}

impl BasicAuth {
    fn refuse(&self) -> Reply {
        Response::from(StatusCode::UNAUTHORIZED)
            .field(WWW_AUTHENTICATE, self.challenge.clone())
            .into()
    }
}

/// Those of the one field Authorization.
fn credentials_of(req: &Request) -> Option<Credentials> {
    let mut fields = req.headers().get_all(AUTHORIZATION).iter();
    let (field, None) = (fields.next()?.as_bytes(), fields.next()) else { return None };
    Credentials::of_basic(field)
}
