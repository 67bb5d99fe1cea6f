//! Other people's programs that tests and the bench talk to: curl, nginx, wrk and so on.
//!
//! A test asks with [`peer`] and returns early when the program is not there. Where
//! [`REQUIRE`] is `1` in the environment (CI), a missing peer fails the test instead, so that
//! nothing is skipped unseen.

mod go;
pub mod modules;

use std::env;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

pub use go::go;

/// Set this to `1` to make a missing peer an error.
pub const REQUIRE: &str = "GOROX_REQUIRE_PEERS";

/// Whether the tests can be complete without a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Some test, or the bench, is incomplete without it.
    Always,
    /// Large, and only for tests that are run on demand.
    OnDemand,
}

/// A program that tests or the bench use, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The program's name, looked for in `PATH` and the system's own directories; or the path of a file.
    pub program: &'static str,
    /// The Debian package that installs it, or `MODULE@VERSION/PATH`: the package PATH of a Go module.
    pub package: &'static str,
    /// What it is used for.
    pub purpose: &'static str,
    /// Whether it can be left out.
    pub need: Need,
}

/// Every peer there is; [`peer`] knows no others.
pub const PEERS: &[Peer] = &[
    always("curl", "curl", "an independent HTTP/1 client"),
    always("nginx", "nginx-light", "the server to beat, an upstream"),
    always("haproxy", "haproxy", "the proxy to beat"),
    always("caddy", "caddy", "the server of HTTP/3 to beat"),
    always("htpasswd", "apache2-utils", "makes files of users and passwords"),
    always("wrk", "wrk", "the client of the bench"),
    always("h2load", "nghttp2-client", "an independent HTTP/2 client"),
    always(
        "h2spec",
        "github.com/summerwind/h2spec@v2.2.1+incompatible/cmd/h2spec",
        "tries out every rule of HTTP/2",
    ),
    always(
        "pebble",
        "github.com/letsencrypt/pebble/v2@v2.10.3/cmd/pebble",
        "a CA that certificates are obtained from by ACME",
    ),
    always(
        "pebble-challtestsrv",
        "github.com/letsencrypt/pebble/v2@v2.10.3/cmd/pebble-challtestsrv",
        "the DNS that this CA asks",
    ),
    always(
        "grpcurl",
        "github.com/fullstorydev/grpcurl@v1.9.4/cmd/grpcurl",
        "asks services of gRPC by what they say of themselves",
    ),
    always("php-fpm8.2", "php8.2-fpm", "runs scripts for a FastCGI client"),
    always("uwsgi_python3", "uwsgi-plugin-python3", "runs a program for clients of uwsgi and SCGI"),
    always("java", "tomcat10", "runs Tomcat for a client of AJP"),
    always("litmus", "litmus", "a client that tries out WebDAV"),
    always("promtool", "prometheus", "reads what is told in metrics"),
    always("redis-server", "redis-server", "keeps what instances share"),
    always("redis-cli", "redis-tools", "a client of Redis"),
    always("redis-benchmark", "redis-tools", "a client of Redis with many connections"),
    always("etcd", "etcd-server", "keeps nodes of services"),
    always("etcdctl", "etcd-client", "tells it who may ask"),
    always("/usr/share/java/zookeeper.jar", "libzookeeper-java", "keeps nodes of services"),
    always("postgres", "postgresql", "a database that is spoken to through routers"),
    always("initdb", "postgresql", "begins such a database"),
    always("pgbench", "postgresql", "a client of it with many connections"),
    always("psql", "postgresql-client", "a client of it"),
    always("mariadbd", "mariadb-server", "a database that is spoken to through routers"),
    always("mariadb-install-db", "mariadb-server", "begins such a database"),
    always("mariadb", "mariadb-client", "a client of it"),
    always("sshd", "openssh-server", "a server that speaks first"),
    always("sftp", "openssh-client", "a client of it"),
    always("ssh-keygen", "openssh-client", "makes keys for it"),
    always("iperf3", "iperf3", "moves many bytes and datagrams"),
    always("dig", "bind9-dnsutils", "an independent client of DNS"),
    always("ip", "iproute2", "makes networks of their own for tests"),
    always("nft", "nftables", "has the kernel give connections to other addresses"),
    always(
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        "libnginx-mod-stream",
        "has nginx relay below HTTP",
    ),
    always("groff", "groff-base", "sets man pages"),
    always("systemd-socket-activate", "systemd", "opens sockets for those it starts"),
    always("zsh", "zsh", "a shell that completes command lines"),
    always("fish", "fish", "a shell that completes command lines"),
    always("openssl", "openssl", "an independent client of TLS, reads certificates"),
    always("c++", "g++", "builds libFuzzer"),
    always("python3", "python3-venv", "runs clients in Python"),
    always("node", "nodejs", "runs clients in JavaScript"),
    always("npm", "npm", "installs those"),
    always("go", "golang-go", "builds programs that tests and the bench use"),
    Peer {
        program: "connectconformance",
        package: "connectrpc.com/conformance@v1.0.7/cmd/connectconformance",
        purpose: "tries out servers of Connect, gRPC and gRPC-Web",
        need: Need::OnDemand,
    },
    Peer { program: "chromium", package: "chromium", purpose: "a browser", need: Need::OnDemand },
];

impl Peer {
    /// The module, its version and the path of the package in it, where Go's tools install it.
    pub fn go_module(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let (module, rest) = self.package.split_once('@')?;
        let (version, path) = rest.split_once('/')?;
        Some((module, version, path))
    }
}

const fn always(program: &'static str, package: &'static str, purpose: &'static str) -> Peer {
    Peer { program, package, purpose, need: Need::Always }
}

/// Where the program `name` is; `None`, with a line on stderr, when it is not installed.
///
/// # Panics
/// When it is missing though [`REQUIRE`] is `1` and it is needed [always](Need::Always), and when
/// [`PEERS`] has no such program (it would then be installed nowhere).
pub fn peer(name: &str) -> Option<PathBuf> {
    let known = PEERS.iter().find(|peer| peer.program == name);
    let Some(known) = known else { panic!("{name} is not in hemi_test's PEERS") };
    find(name).or_else(|| missing(name, known.need))
}

/// Says that something is not installed, or fails if it has to be.
fn missing<T>(name: &str, need: Need) -> Option<T> {
    assert!(
        !(required() && need == Need::Always),
        "{name} is not installed and {REQUIRE}=1 (see `cargo xtask peers`)"
    );
    let thread = thread::current();
    let test = thread.name().unwrap_or("unnamed test");
    // Not `eprintln!`: the test harness would swallow it, and the skipping must be seen.
    let _ = writeln!(io::stderr(), "skipped: {name} is not installed ({test})");
    None
}

/// The program's path, without any judgement.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|file| file.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers are outside of an ordinary user's PATH on Debian, those of PostgreSQL by version.
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = versions.map(|version| version.path().join("bin"));
    let places = env::split_paths(&path).chain(system).chain(versions);
    places.map(|dir| dir.join(program)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// Whether the environment says that no peer may be missing.
pub fn required() -> bool {
    env::var_os(REQUIRE).is_some_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_every_system_has_and_nothing_else() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn who_installs_a_peer_is_known() {
        for peer in PEERS {
            let is_debian = !peer.package.contains(['/', '@']);
            assert!(is_debian != peer.go_module().is_some(), "{}", peer.package);
        }
    }

    #[test]
    #[should_panic(expected = "not in hemi_test's PEERS")]
    fn a_peer_outside_the_table_is_a_mistake() {
        let _ = peer("sh");
    }
}
