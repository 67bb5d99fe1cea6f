//! What systemd and its services say to each other: sd_notify(3) and sd_listen_fds(3).
//!
//! Without systemd the variables of the environment are not there, and nothing is said.

use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use hemi_core::listen::Inherited;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Variables of the environment that are meant for this process, and not for its children.
pub(crate) const VARIABLES: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// Tells the service manager how things are.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that the environment names; `pid` is this process.
    pub(crate) fn new(env: &BTreeMap<String, String>, pid: u32) -> Self {
        let to = env.get("NOTIFY_SOCKET").and_then(|name| {
            let opened = address(name).and_then(|to| Ok((UnixDatagram::unbound()?, to)));
            opened.inspect_err(|e| warn!("cannot notify {name}: {e}")).ok()
        });
        let mine = env.get("WATCHDOG_PID").is_none_or(|watched| *watched == pid.to_string());
        let micros =
            env.get("WATCHDOG_USEC").filter(|_| mine).and_then(|micros| micros.parse().ok());
        Self { to, watchdog: micros.filter(|micros| *micros > 0).map(Duration::from_micros) }
    }

    /// How often [`Notifier::alive`] is to be called: twice in the time after which the process is ended.
    pub(crate) fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// It serves; `main` is the process to look at.
    pub(crate) fn ready(&self, main: u32, status: &str) {
        self.say(&format!("READY=1\nMAINPID={main}\nSTATUS={}", line(status)));
    }

    /// It loads its config anew. [`Notifier::ready`] is to follow, whatever comes of it.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// It drains, and ends then.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    /// How it is, in a line for people.
    pub(crate) fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", line(status)));
    }

    /// It is alive.
    pub(crate) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, message: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(e) = socket.send_to_addr(message.as_bytes(), to)
        {
            warn!("cannot notify the service manager: {e}");
        }
    }
}

/// `/path`, or `@name` in the abstract namespace (unix(7)).
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// The first line: the protocol has one for each of its fields.
fn line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The sockets that the service manager has opened for this process, from descriptor 3 on.
///
/// # Errors
/// When they can't be taken over.
pub(crate) fn sockets(env: &BTreeMap<String, String>, pid: u32) -> Result<Inherited, String> {
    let (count, names) = named(env, pid);
    Inherited::take(count, &names)
        .map_err(|e| format!("cannot take over the sockets that this was started with: {e}"))
}

/// How many sockets there are for this process, and their names.
fn named(env: &BTreeMap<String, String>, pid: u32) -> (usize, Vec<&str>) {
    let mine = env.get("LISTEN_PID").is_some_and(|of| *of == pid.to_string());
    let count = env.get("LISTEN_FDS").filter(|_| mine).and_then(|count| count.parse().ok());
    let names = env.get("LISTEN_FDNAMES").filter(|_| mine);
    let names = names.map(|names| names.split(':').collect());
    (count.unwrap_or(0), names.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_service_manager_is_told() {
        let path = std::env::temp_dir().join(format!("hemi-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::new(&env(&[("NOTIFY_SOCKET", path.to_str().unwrap())]), 7);
        let heard = || {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        notifier.ready(17, "serves\nwell");
        assert_eq!(heard(), "READY=1\nMAINPID=17\nSTATUS=serves");
        notifier.reloading();
        let micros = heard();
        let micros = micros.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.lines().next().unwrap().parse::<u64>().unwrap() > 0);
        notifier.alive();
        assert_eq!(heard(), "WATCHDOG=1");
        notifier.stopping();
        assert!(heard().starts_with("STOPPING=1\n"));
        std::fs::remove_file(path).unwrap();
        // Nobody hears it any more, which is no reason to fail.
        notifier.status("alone");
    }

    #[test]
    fn abstract_names_are_known() {
        let name = format!("hemi-notify-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&at).unwrap();
        Notifier::new(&env(&[("NOTIFY_SOCKET", &format!("@{name}"))]), 7).status("well");
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STATUS=well");
    }

    #[test]
    fn what_is_meant_for_others_is_left_alone() {
        let pulse = |variables: &[_]| Notifier::new(&env(variables), 7).pulse();
        let watchdog = ("WATCHDOG_USEC", "3000000");
        assert_eq!(pulse(&[watchdog]), Some(Duration::from_millis(1500)));
        assert_eq!(pulse(&[watchdog, ("WATCHDOG_PID", "7")]), Some(Duration::from_millis(1500)));
        assert_eq!(pulse(&[watchdog, ("WATCHDOG_PID", "8")]), None);
        assert_eq!(pulse(&[("WATCHDOG_USEC", "0")]), None);
        let two = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:admin")];
        let of = |pid| env(&[&two[..], &[("LISTEN_PID", pid)]].concat());
        assert_eq!(named(&of("7"), 7), (2, vec!["web", "admin"]));
        assert_eq!(named(&of("8"), 7), (0, vec![]));
        assert_eq!(named(&env(&two), 7), (0, vec![]));
    }
}
