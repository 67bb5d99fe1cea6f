//! The logger `syslogLogger`: records to a syslog daemon (RFC 5424), on this machine or elsewhere.
//!
//! ```gorox
//! stage {
//! 	syslogLogger "access" {
//! 		.address = "127.0.0.1:601"
//! 		.transport = "stream"
//! 		.facility = "local0"
//! 		.appName = "shop"
//! 		.format = "combined"
//! 	}
//! 	webapp "site" { .hostnames = ("*")  .useLogger = "access"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! No request waits for the daemon. While it can't be reached, records are gathered, and dropped and
//! counted when there are too many; it is tried again after a tenth of a second, and ever more rarely, up
//! to every half minute. Over streams each message has its length before it (RFC 6587, octet counting).
//! Messages that are too long for a datagram are dropped.

mod link;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hemi_core::config::ConfigType;
use hemi_core::logger::{Level, LogConfig, LogSpec, Logger};
use hemi_core::metrics::Measures;
use hemi_core::resolv::ResolvKind;
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run, clock};
use hemi_proto::ascii::push_decimal;
use serde::Deserialize;

use self::link::Link;
pub use self::link::{Daemon, DaemonError, Transport};
use super::gather::{GatherConfig, Gathered, Trouble};

/// Sends records to a syslog daemon.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct SyslogConfig {
    /// Where the daemon is: the path of a Unix socket, or `"HOST:PORT"`.
    pub address: Daemon,
    /// How it is spoken to: `"datagram"` over Unix datagram sockets or UDP, `"stream"` over Unix stream
    /// sockets or TCP, `"tls"` over TLS (RFC 5425).
    pub transport: Transport,
    /// What the daemon files records under.
    pub facility: Facility,
    /// How bad all records are; unset, `err` for status 500 and above, `warning` for 400 and above, else
    /// `info`.
    pub severity: Option<Severity>,
    /// Who says so: at most 48 printable ASCII characters, without spaces.
    pub app_name: AppName,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        Self {
            address: Daemon::Unix("/dev/log".into()),
            transport: Transport::Datagram,
            facility: Facility::Local7,
            severity: None,
            app_name: AppName("hemi".into()),
        }
    }
}

/// What a daemon files messages under (RFC 5424, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of syslog(3)")]
pub enum Facility {
    Kern = 0,
    User = 1,
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Lpr = 6,
    News = 7,
    Uucp = 8,
    Cron = 9,
    Authpriv = 10,
    Ftp = 11,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// How bad what a message tells of is (RFC 5424, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of syslog(3)")]
pub enum Severity {
    Emerg = 0,
    Alert = 1,
    Crit = 2,
    Err = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// The name of an application: 1 to 48 printable ASCII characters, without spaces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AppName(String);

/// Text that is no such name.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no name for syslog: write 1 to 48 ASCII letters, digits and signs, without spaces"
)]
pub struct BadAppName(String);

impl TryFrom<String> for AppName {
    type Error = BadAppName;

    fn try_from(name: String) -> Result<Self, BadAppName> {
        if is_name(name.as_bytes(), 48) { Ok(Self(name)) } else { Err(BadAppName(name)) }
    }
}

impl ConfigType for AppName {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// Whether it may stand in the head of a message (RFC 5424, section 6).
fn is_name(name: &[u8], most: usize) -> bool {
    (1..=most).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

/// The logger.
#[derive(Debug)]
pub struct SyslogLogger {
    config: SyslogConfig,
    spec: LogSpec,
    gathered: Gathered,
    /// What stands in every message between the time and the record.
    head: OnceLock<String>,
    link: tokio::sync::Mutex<Link>,
    /// The connection is to be made anew.
    reopen: AtomicBool,
}

impl Component for SyslogLogger {
    const SIGN: &'static str = "syslogLogger";
    type Config = (SyslogConfig, GatherConfig, LogConfig, ConnectorConfig);

    fn create((config, gather, log, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let daemon = match &config.address {
            Daemon::Unix(path) => Daemon::Unix(cx.path(path)),
            host => host.clone(),
        };
        if let (Daemon::Unix(_), Transport::Tls) = (&daemon, config.transport) {
            let message = "TLS is spoken to a daemon elsewhere, not on a Unix socket";
            return Err(Error::config(cx.span(), message));
        }
        let connector = Connector::new(tls, &[], cx)?;
        let link = Link::new(daemon, config.transport, cx.fixture::<ResolvKind>()?, connector);
        Ok(Self {
            config,
            spec: LogSpec::new(log, cx)?,
            gathered: Gathered::new(&gather, cx),
            head: OnceLock::new(),
            link: tokio::sync::Mutex::new(link),
            reopen: AtomicBool::new(false),
        })
    }
}

/// How long the last records may take to be sent when the stage ends.
const LAST: Duration = Duration::from_secs(2);

/// How soon a daemon that can't be reached is tried again; then after twice as long, and so on.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How long is waited at most before that.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Lifecycle for SyslogLogger {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_str().ok().filter(|host| is_name(host.as_bytes(), 255));
        let (host, app) = (host.unwrap_or("-"), &self.config.app_name.0);
        // No id of the message, and no structured data.
        let _ = self.head.set(format!(" {host} {app} {} - - ", std::process::id()));
        // Nobody has it yet.
        self.link.try_lock().map_or(Ok(()), |link| link.prepare())
    }

    async fn run(&self, cx: &Run) {
        let mut link = self.link.lock().await;
        let (mut trouble, mut spare) = (Trouble::new(&self.gathered), Vec::new());
        loop {
            tokio::select! {
                () = cx.shut().cancelled() => break,
                () = self.gathered.due() => {}
            }
            self.gathered.take(&mut spare, |lines| link.add(lines));
            tokio::select! {
                () = cx.shut().cancelled() => break,
                () = self.send(&mut link, &mut trouble) => {}
            }
        }
        self.gathered.take(&mut spare, |lines| link.add(lines));
        tokio::select! {
            () = cx.stop().cancelled() => {}
            _ = tokio::time::timeout(LAST, self.send(&mut link, &mut trouble)) => {}
        }
        self.gathered.count_dropped(link.give_up());
    }

    fn measure(&self, out: &mut Measures) {
        self.gathered.measure(out);
    }
}

impl SyslogLogger {
    /// Sends all that the link has, however long that takes.
    async fn send(&self, link: &mut Link, trouble: &mut Trouble) {
        if self.reopen.swap(false, Ordering::Relaxed) {
            link.close();
        }
        let mut wait = FIRST_WAIT;
        loop {
            let result = link.send(&self.gathered).await;
            let failed = result.is_err();
            trouble.hear(&self.config.address, result, self.gathered.dropped());
            if !failed {
                return;
            }
            self.gathered.count_failure();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Logger for SyslogLogger {
    fn spec(&self) -> &LogSpec {
        &self.spec
    }

    fn log(&self, level: Level, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let severity = self.config.severity.unwrap_or(match level {
            Level::Info => Severity::Info,
            Level::Warning => Severity::Warning,
            Level::Error => Severity::Err,
        });
        let priority = self.config.facility as u64 * 8 + severity as u64;
        self.gathered.add(|line| {
            line.push(b'<');
            push_decimal(line, priority);
            line.extend_from_slice(b">1 ");
            line.extend_from_slice(&clock::iso8601(clock::calendar()));
            line.extend_from_slice(
                self.head.get().map_or(" - - - - - ", String::as_str).as_bytes(),
            );
            write(line);
        });
    }

    fn dropped(&self) -> u64 {
        self.gathered.dropped()
    }

    fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }
}
