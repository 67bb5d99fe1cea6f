//! The servers that can be measured, and how each is started.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hemi_test::tls::{Authority, Identity, KeyKind};
use hemi_test::{Program, Site, TempDir, free_port, peer};
use rustls::ClientConfig;
use rustls::version::TLS13;

use super::rows::{Over, Row};
use super::{CLIENT_CORE, SERVER_CORE};
use crate::Result;
use crate::cargo::{build, cargo, command, output_of, pinned, root, run};

/// The server that the bars are for.
pub(super) const OURS: &str = "gorox";

/// A server: to compare with another one, add a line to [`SERVERS`] and its configs to
/// `bench/peers/`.
pub(super) struct Server {
    pub(super) name: &'static str,
    source: Source,
    /// How to start it in the foreground. `@CONFIG@` is its config, `@DIR@` a directory of its own.
    arguments: &'static [&'static str],
    /// How to make it tell its version.
    version: &'static [&'static str],
    /// Its best config for each row, in `bench/`. It takes no part in the others. In a config,
    /// `@PORT@` is the port to listen on, `@ROOT@` the directory of the files, and `@ECDSA@`, `@ECDSA_KEY@`,
    /// `@RSA@` and `@RSA_KEY@` are certificates and their keys. Where it says `@ORIGIN@`, an origin runs, whose
    /// address that is, and `@ORIGIN_PORT@` its port; where `@FPM@`, PHP-FPM does; where `@ECHO@`, who sends datagrams
    /// back; `@BOTH@` is a file with certificate and key.
    configs: &'static [(&'static [&'static str], &'static str)],
}

enum Source {
    /// Built here, with the release profile.
    Package(&'static str),
    /// A program in Go in this directory of `bench/peers/`, built here too.
    Go(&'static str),
    /// Installed on the machine.
    Installed(&'static str),
}

/// The rows about files as they are.
const STATIC: &[&str] = &["static-1k", "static-100k", "static-10m"];

/// The rows about RPC.
const RPCX: &[&str] = &["rpcx-50", "rpcx-500", "rpcx-500-each", "hrpc-50", "hrpc-500"];

/// The rows about gRPC.
const GRPC: &[&str] = &["grpc-50", "grpc-500"];

/// The rows about requests that are passed on, in the clear on both sides.
const PROXY: &[&str] = &["proxy-hello", "proxy-100k", "proxy-10m"];

/// The rows about connections that are relayed below HTTP.
const RELAY: &[&str] = &["relay-hello", "relay-100k", "relay-10m", "relay-close"];

/// The rows about datagrams that are relayed.
const DATAGRAMS: &[&str] = &["relay-udp", "relay-udp-16"];

/// The rows about forward proxies.
const SOCKS: &[&str] = &["socks-hello", "socks-100k"];
const CONNECT: &[&str] = &["connect-hello", "connect-100k"];

/// The package that has clients for rows about relays, and what is behind.
pub(super) const RELAY_CLIENT: &str = "bench-relay";

const SERVERS: &[Server] = &[
    Server {
        name: OURS,
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[
            (
                // With the log and the metrics rows it is what they are compared with.
                &[
                    "hello",
                    "pipeline",
                    "close",
                    "gzip-1",
                    "gzip-6",
                    "gzip-kept",
                    "websocket",
                    "websocket-16",
                    "idle",
                    "access-log",
                    "metrics",
                    "route",
                ],
                "gorox.conf",
            ),
            (STATIC, "gorox-static.conf"),
            (&["tls-hello", "tls-100k", "tls-resume", "tls-idle", "http2-idle"], "gorox-tls.conf"),
            (&["tls-p256"], "gorox-tls-p256.conf"),
            (&["http2-hello", "http2-hello-32", "http2-100k", "http2-100k-32"], "gorox-http2.conf"),
            (&["http3-hello", "http3-hello-32", "http3-100k"], "gorox-http3.conf"),
            (&["tls-rsa"], "gorox-tls-rsa.conf"),
            (PROXY, "gorox-proxy.conf"),
            (RELAY, "gorox-relay.conf"),
            (SOCKS, "gorox-relay.conf"),
            (CONNECT, "gorox-relay.conf"),
            (DATAGRAMS, "gorox-udp.conf"),
            (&["proxy-tls"], "gorox-proxy-tls.conf"),
            (&["proxy-http2-32"], "gorox-proxy-http2.conf"),
            (&["proxy-nodes"], "gorox-proxy.conf"),
            (&["fcgi-hello"], "gorox-fcgi.conf"),
            (&["relay-sni"], "gorox-relay-tls.conf"),
        ],
    },
    Server {
        name: "gorox-nodes",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(&["proxy-nodes"], "gorox-nodes.conf")],
    },
    Server {
        name: "gorox-sni",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(&["relay-sni"], "gorox-sni.conf")],
    },
    Server {
        name: "gorox-socks",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(SOCKS, "gorox-socks.conf")],
    },
    Server {
        name: "gorox-connect",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(CONNECT, "gorox-connect.conf")],
    },
    Server {
        name: "gorox-log",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(&["access-log"], "gorox-log.conf")],
    },
    Server {
        name: "gorox-metrics",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(&["metrics"], "gorox-metrics.conf")],
    },
    Server {
        name: "app",
        source: Source::Package("bench-app"),
        arguments: &["serve", "--single", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[(&["route", "axum-inside", "multipart-1m"], "app/app.conf")],
    },
    Server {
        name: "axum",
        source: Source::Package("bench-axum"),
        arguments: &["@CONFIG@"],
        version: &["version"],
        configs: &[(&["axum-inside", "multipart-1m"], "peers/axum/axum.conf")],
    },
    Server {
        name: "tungstenite",
        source: Source::Package("bench-tungstenite"),
        arguments: &["@CONFIG@"],
        version: &["version"],
        configs: &[(&["websocket", "websocket-16"], "peers/tungstenite/tungstenite.conf")],
    },
    Server {
        name: "gws",
        source: Source::Go("gws"),
        arguments: &["@CONFIG@"],
        version: &["version"],
        configs: &[(&["websocket", "websocket-16"], "peers/gws/gws.conf")],
    },
    Server {
        name: "rpc",
        source: Source::Package("bench-rpc"),
        arguments: &["serve", "@CONFIG@"],
        version: &["version"],
        configs: &[(RPCX, "rpc/rpc.conf"), (GRPC, "rpc/grpc.conf")],
    },
    Server {
        name: "rpcx",
        source: Source::Go("rpcx"),
        arguments: &["@CONFIG@"],
        version: &["version"],
        configs: &[(RPCX, "peers/rpcx/rpcx.conf")],
    },
    Server {
        name: "tonic",
        source: Source::Package("bench-tonic"),
        arguments: &["@CONFIG@"],
        version: &[],
        configs: &[(GRPC, "peers/tonic/tonic.conf")],
    },
    Server {
        name: "grpc-go",
        source: Source::Go("rpcx"),
        arguments: &["grpc", "@CONFIG@"],
        version: &["grpc-version"],
        configs: &[(GRPC, "peers/rpcx/rpcx.conf")],
    },
    Server {
        name: "gorox-epoll",
        source: Source::Package("gorox"),
        arguments: &["serve", "--single", "--io", "epoll", "--config", "@CONFIG@"],
        version: &["version"],
        configs: &[
            (&["hello", "pipeline", "close", "websocket", "websocket-16", "idle"], "gorox.conf"),
            (STATIC, "gorox-static.conf"),
            (PROXY, "gorox-proxy.conf"),
            (RELAY, "gorox-relay.conf"),
        ],
    },
    Server {
        name: "nginx",
        source: Source::Installed("nginx"),
        arguments: &["-e", "stderr", "-p", "@DIR@", "-c", "@CONFIG@"],
        version: &["-v"],
        configs: &[
            (&["hello", "pipeline", "idle"], "peers/nginx-hello.conf"),
            (&["close"], "peers/nginx-close.conf"),
            (&["static-1k"], "peers/nginx-static-small.conf"),
            (&["gzip-1", "gzip-6", "gzip-kept"], "peers/nginx-gzip.conf"),
            (&["static-100k", "static-10m"], "peers/nginx-static-large.conf"),
            (&["tls-hello", "tls-100k", "tls-resume", "tls-idle"], "peers/nginx-tls.conf"),
            (&["http2-idle"], "peers/nginx-tls-http2.conf"),
            (&["tls-p256"], "peers/nginx-tls-p256.conf"),
            (&["tls-rsa"], "peers/nginx-tls-rsa.conf"),
            (
                &["http2-hello", "http2-hello-32", "http2-100k", "http2-100k-32"],
                "peers/nginx-http2.conf",
            ),
            (PROXY, "peers/nginx-proxy.conf"),
            (RELAY, "peers/nginx-relay.conf"),
            (DATAGRAMS, "peers/nginx-udp.conf"),
            (&["proxy-tls"], "peers/nginx-proxy-tls.conf"),
            (&["proxy-http2-32"], "peers/nginx-proxy-http2.conf"),
            (&["fcgi-hello"], "peers/nginx-fcgi.conf"),
        ],
    },
    Server {
        name: "caddy",
        source: Source::Installed("caddy"),
        arguments: &["run", "--config", "@CONFIG@", "--adapter", "caddyfile"],
        version: &["version"],
        configs: &[(&["http3-hello", "http3-hello-32", "http3-100k"], "peers/caddy-http3.conf")],
    },
    Server {
        name: "haproxy",
        source: Source::Installed("haproxy"),
        arguments: &["-db", "-f", "@CONFIG@"],
        version: &["-v"],
        configs: &[
            (&["hello", "pipeline", "close"], "peers/haproxy-hello.conf"),
            (PROXY, "peers/haproxy-proxy.conf"),
            (RELAY, "peers/haproxy-relay.conf"),
            (&["proxy-tls"], "peers/haproxy-proxy-tls.conf"),
            (&["proxy-http2-32"], "peers/haproxy-proxy-http2.conf"),
        ],
    },
];

impl Server {
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        let names = || SERVERS.iter().map(|server| server.name).collect::<Vec<_>>().join(", ");
        let server = SERVERS.iter().find(|server| server.name == name);
        Ok(server.ok_or_else(|| format!("no server {name}; there are {}", names()))?)
    }

    /// Its config for a row, if it can do it.
    fn config(&self, row: &Row) -> Option<&'static str> {
        let config = self.configs.iter().find(|(rows, _)| rows.contains(&row.name));
        config.map(|(_, file)| *file)
    }
}

/// The servers that are there, and the files they serve.
pub(super) struct Bench {
    ready: Vec<Ready>,
    /// Names of servers asked for that aren't installed.
    pub(super) missing: Vec<&'static str>,
    site: Site,
    /// Who has issued the servers' certificates.
    ca: Authority,
    ecdsa: Identity,
    rsa: Identity,
    /// Where requests are passed on to, once a row has needed it.
    origin: OnceCell<(Program, TempDir)>,
    /// Who runs scripts, the same way.
    fpm: OnceCell<(Program, TempDir)>,
    /// Who sends datagrams back.
    echo: OnceCell<(Program, TempDir)>,
}

/// A server that can be started.
struct Ready {
    server: &'static Server,
    binary: PathBuf,
    version: String,
}

/// A server that has been started.
pub(super) struct Running {
    /// How it's called in the results: its name, or another where it runs against itself.
    label: String,
    /// How a client asks it for connections to the origin.
    way: &'static str,
    /// Where that is, if there is one.
    origin: Option<SocketAddr>,
    program: Program,
    _dir: TempDir,
}

impl Bench {
    pub(super) fn prepare(servers: &[&'static Server]) -> Result<Self> {
        for tool in ["wrk", "setpriv", "taskset"] {
            peer::find(tool).ok_or_else(|| format!("the bench needs {tool}"))?;
        }
        let (mut ready, mut missing) = (Vec::<Ready>::new(), Vec::new());
        for server in servers {
            let Some(binary) = binary(server)? else {
                missing.push(server.name);
                continue;
            };
            let version = version(server, &binary)?;
            ready.push(Ready { server, binary, version });
        }
        // The contents don't matter, but holes in a file might.
        let site = Site::new()?
            .file("1k.txt", "x".repeat(1 << 10))?
            .file("100k.txt", "x".repeat(100 << 10))?
            .file("10m.bin", "x".repeat(10 << 20))?
            .file("hello.php", "<?php echo \"Hello, World\";")?;
        let site = ["gzip", "gzip-1", "gzip-6"]
            .iter()
            .try_fold(site, |site, dir| site.file(format!("{dir}/page.html"), page(20 << 10)))?;
        let ca = Authority::new("bench");
        let [ecdsa, rsa] = [KeyKind::Ecdsa, KeyKind::Rsa].map(|kind| ca.server(&["bench"], kind));
        let (origin, fpm, echo) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Ok(Self { ready, missing, site, ca, ecdsa, rsa, origin, fpm, echo })
    }

    /// What clients over TLS need.
    pub(super) fn client_config(&self, over: Over) -> Option<Arc<ClientConfig>> {
        match over {
            Over::Tcp => None,
            Over::Tls => Some(Arc::new(self.ca.trusted_by(&[&TLS13], None))),
            Over::TlsHttp2 => {
                let mut config = self.ca.trusted_by(&[&TLS13], None);
                config.alpn_protocols = vec![b"h2".to_vec()];
                Some(Arc::new(config))
            }
        }
    }

    /// Name and version of every server that is there.
    pub(super) fn versions(&self) -> String {
        let mut list = String::new();
        for ready in &self.ready {
            let comma = if list.is_empty() { "" } else { ", " };
            let _ = write!(list, "{comma}{} {}", ready.server.name, ready.version);
        }
        list
    }

    /// Starts those of the servers that are there and can do this row.
    pub(super) fn start_all(&self, row: &Row, servers: &[&Server]) -> Result<Vec<Running>> {
        let mut all = Vec::<Running>::new();
        for server in servers {
            let Some(mut running) = self.start(server, row)? else { continue };
            while all.iter().any(|other| other.label == running.label) {
                running.label.push('\'');
            }
            all.push(running);
        }
        Ok(all)
    }

    /// Starts a server for a row, if it is there and can do it; it ends when the value is dropped.
    pub(super) fn start(&self, server: &Server, row: &Row) -> Result<Option<Running>> {
        let ready = self.ready.iter().find(|ready| ready.server.name == server.name);
        let (Some(ready), Some(file)) = (ready, server.config(row)) else { return Ok(None) };
        let dir = TempDir::new()?;
        let port = free_port()?;
        let config = dir.write("server.conf", self.fill_in(file, &dir, port)?)?;
        let mut command = pinned(SERVER_CORE);
        command.arg(&ready.binary).args(ready.server.arguments.iter().map(|argument| {
            argument
                .replace("@CONFIG@", &config.display().to_string())
                .replace("@DIR@", &dir.path().display().to_string())
        }));
        let program = Program::start(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .map_err(|error| format!("{}: {error}", server.name))?;
        let way = match server.name {
            "gorox-socks" => "socks5",
            "gorox-connect" => "connect",
            _ => "none",
        };
        let origin = self.origin.get().map(|(program, _)| program.addr());
        Ok(Some(Running { label: server.name.to_owned(), way, origin, program, _dir: dir }))
    }

    /// The text of a config.
    fn fill_in(&self, file: &str, dir: &TempDir, port: u16) -> Result<String> {
        let mut text = fs::read_to_string(root().join("bench").join(file))?;
        let Identity { certificate, key, .. } = &self.ecdsa;
        if text.contains("@ORIGIN") {
            let origin = self.origin()?;
            text = text.replace("@ORIGIN@", &origin.to_string());
            text = text.replace("@ORIGIN_PORT@", &origin.port().to_string());
        }
        if text.contains("@ECHO@") {
            text = text.replace("@ECHO@", &self.echo()?.to_string());
        }
        if text.contains("@FPM@") {
            text = text.replace("@FPM@", &self.fpm()?.to_string());
        }
        if text.contains("@BOTH@") {
            let both = [fs::read_to_string(certificate)?, fs::read_to_string(key)?].concat();
            text = text.replace("@BOTH@", &dir.write("both.pem", both)?.display().to_string());
        }
        Ok(text
            .replace("@PORT@", &port.to_string())
            .replace("@ROOT@", &self.site.root().display().to_string())
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@ECDSA@", &certificate.display().to_string())
            .replace("@ECDSA_KEY@", &key.display().to_string())
            .replace("@RSA@", &self.rsa.certificate.display().to_string())
            .replace("@RSA_KEY@", &self.rsa.key.display().to_string()))
    }

    /// Where nginx answers what is passed on.
    fn origin(&self) -> Result<SocketAddr> {
        let nginx = || installed("nginx");
        let arguments = ["-e", "stderr", "-p", "@DIR@", "-c"];
        self.behind(&self.origin, nginx, &arguments, "peers/nginx-origin.conf")
    }

    /// Where PHP-FPM runs scripts.
    fn fpm(&self) -> Result<SocketAddr> {
        let fpm = || installed("php-fpm8.2");
        self.behind(&self.fpm, fpm, &["-nRF", "-y"], "peers/php-fpm.conf")
    }

    /// Where datagrams are sent back.
    fn echo(&self) -> Result<SocketAddr> {
        self.behind(&self.echo, || package_binary(RELAY_CLIENT), &["echo"], "peers/echo.conf")
    }

    /// Where a program answers what is passed on, on the client's core; it is started if it does not run yet.
    fn behind(
        &self,
        place: &OnceCell<(Program, TempDir)>,
        binary: impl Fn() -> Result<PathBuf>,
        arguments: &[&str],
        config: &str,
    ) -> Result<SocketAddr> {
        if let Some((program, _)) = place.get() {
            return Ok(program.addr());
        }
        let binary = binary()?;
        let (dir, port) = (TempDir::new()?, free_port()?);
        let config = dir.write("origin.conf", self.fill_in(config, &dir, port)?)?;
        let mut command = pinned(CLIENT_CORE);
        let path = dir.path().display().to_string();
        command.arg(binary).args(arguments.iter().map(|arg| arg.replace("@DIR@", &path)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        command.arg(config);
        let program = Program::start(command, address)?;
        Ok(place.get_or_init(|| (program, dir)).0.addr())
    }
}

impl Running {
    pub(super) fn name(&self) -> &str {
        &self.label
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.program.addr()
    }

    /// Where the origin is, if it passes on what is for that.
    pub(super) fn origin(&self) -> Option<SocketAddr> {
        self.origin
    }

    /// How it is asked for connections to that.
    pub(super) fn way(&self) -> &'static str {
        self.way
    }

    /// All its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.program.pids()
    }
}

/// A page of this many bytes, which compresses to about a third as pages do: the same one each time.
fn page(len: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "con", "de", "er", "fi", "go", "in", "ka", "lo", "men", "no", "pre", "ra", "st",
        "ti", "un",
    ];
    let mut seed = 1u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % below as usize
    };
    let words: Vec<String> =
        (0..600).map(|_| (0..1 + random(4)).map(|_| SYLLABLES[random(16)]).collect()).collect();
    let mut page = String::from("<!doctype html>\n<title>A page</title>\n");
    while page.len() < len {
        page.push_str("<p class=\"text\">");
        for _ in 0..20 {
            // Some words are used more than others.
            let most = 1 + random(600) as u32;
            page.push_str(&words[random(most)]);
            page.push(' ');
        }
        page.push_str("<a href=\"/");
        page.push_str(&words[random(600)]);
        page.push_str("\">more</a></p>\n");
    }
    page.truncate(len);
    page
}

fn installed(name: &str) -> Result<PathBuf> {
    Ok(peer::find(name).ok_or_else(|| format!("rows about proxies need {name}"))?)
}

fn binary(server: &Server) -> Result<Option<PathBuf>> {
    match server.source {
        Source::Installed(program) => Ok(peer::find(program)),
        Source::Package(package) => package_binary(package).map(Some),
        Source::Go(name) => go_binary(name),
    }
}

/// Builds a package of the workspace.
pub(super) fn package_binary(package: &str) -> Result<PathBuf> {
    let built = build(cargo().args(["build", "--release", "--package", package]))?;
    let (_, binary) = built.into_iter().next().ok_or("cargo built no binary")?;
    Ok(binary)
}

/// Builds a program in Go, if that is installed.
fn go_binary(name: &str) -> Result<Option<PathBuf>> {
    let Some(go) = peer::find("go") else { return Ok(None) };
    let binary = root().join("target/peers").join(name);
    let mut go = command(go);
    go.current_dir(root().join("bench/peers").join(name)).args(["build", "-o"]).arg(&binary);
    run(go.arg("."))?;
    Ok(Some(binary))
}

/// What it says about its version, or for ours the commit.
fn version(server: &Server, binary: &PathBuf) -> Result<String> {
    if let Source::Package(_) = server.source {
        let describe = output_of(command("git").args(["describe", "--always", "--dirty"]))?;
        return Ok(String::from_utf8_lossy(&describe.stdout).trim().to_owned());
    }
    let output = output_of(command(binary).args(server.version))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let words = text.lines().next().unwrap_or_default().split([' ', '/']);
    let number = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Ok(number.unwrap_or("of unknown version").to_owned())
}
