//! Servers of all kinds of registries, at an address that outlives them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hemi_contrib::registries::{
    ConsulRegistry, ConsulRegistryConfig, EtcdRegistry, EtcdRegistryConfig, RedisRegistry,
    RedisRegistryConfig, ZookeeperRegistry, ZookeeperRegistryConfig,
};
use hemi_core::config::Several;
use hemi_rpc::{DynNodeRegistry, Endpoint};
use hemi_test::{Program, Signal, TempDir, eventually, free_port, peer};

use super::{BASE, LONG};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A stand-in: Debian has no other.
    Consul,
    Etcd,
    Redis,
    Zookeeper,
}

impl Kind {
    /// As peers name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Etcd => "etcd",
            Self::Redis => "redis",
            Self::Zookeeper => "zookeeper",
        }
    }

    /// The least time after which the registry misses a node.
    pub(super) fn shortest(self) -> Duration {
        Duration::from_secs(2)
    }

    /// A server that listens there, and keeps in the directory what it keeps.
    fn command(self, addr: SocketAddr, dir: &Path) -> Option<Command> {
        match self {
            Self::Consul => {
                let mut consul = Command::new(super::peer::program()?);
                consul.args(["consul", &addr.to_string()]);
                Some(consul)
            }
            Self::Etcd => {
                let mut etcd = Command::new(peer("etcd")?);
                let (own, others) =
                    (format!("http://{addr}"), format!("http://127.0.0.1:{}", free_port().ok()?));
                etcd.args(["--log-level", "warn", "--data-dir"]).arg(dir.join("etcd"));
                etcd.args(["--listen-client-urls", &own, "--advertise-client-urls", &own]);
                etcd.args(["--listen-peer-urls", &others]);
                Some(etcd)
            }
            Self::Redis => {
                let mut redis = Command::new(peer("redis-server")?);
                redis.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
                // What it is told is lost with it.
                redis.args(["--save", "", "--dir"]).arg(dir);
                Some(redis)
            }
            Self::Zookeeper => {
                let jar = peer("/usr/share/java/zookeeper.jar")?;
                let config = format!(
                    "tickTime=1000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
                     admin.enableServer=false\nmaxClientCnxns=0\n",
                    dir.join("zookeeper").display(),
                    addr.port(),
                );
                let file = dir.join("zoo.cfg");
                std::fs::write(&file, config).ok()?;
                let mut java = Command::new(peer("java")?);
                java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
                java.arg(jar).arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(file);
                Some(java)
            }
        }
    }
}

/// A registry, which is reached by a relay: when it is started again it has another port, and its clients need not know.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    program: Option<Program>,
    dir: TempDir,
}

impl Server {
    /// None if it is not installed.
    pub(super) fn start(kind: Kind) -> Option<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(None));
        let own = target.clone();
        thread::spawn(move || relay(&listener, &own));
        let dir = TempDir::new().unwrap();
        let mut server = Self { kind, addr, target, program: None, dir };
        server.start_again()?;
        Some(server)
    }

    /// Starts it, with what it has kept.
    pub(super) fn start_again(&mut self) -> Option<()> {
        for attempt in 1.. {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
            match Program::start(self.kind.command(addr, self.dir.path())?, addr) {
                Ok(program) => {
                    let ready = || self.kind != Kind::Zookeeper || serves(addr).unwrap_or(false);
                    assert!(eventually(LONG, ready), "it does not begin to serve");
                    self.program = Some(program);
                    *self.target.lock().unwrap() = Some(addr);
                    return Some(());
                }
                Err(e) => assert!(e.kind() == io::ErrorKind::AddrInUse && attempt < 3, "{e}"),
            }
        }
        None
    }

    /// Has it crash.
    pub(super) fn kill(&mut self) {
        *self.target.lock().unwrap() = None;
        if let Some(mut program) = self.program.take() {
            program.signal(Signal::KILL).unwrap();
            program.wait(LONG).unwrap();
        }
    }

    /// As a component.
    pub(super) fn component(&self) -> String {
        let (kind, addr) = (self.kind.name(), self.addr);
        let (property, scheme) = match self.kind {
            Kind::Consul => ("url", "http://"),
            Kind::Redis => ("address", ""),
            Kind::Etcd | Kind::Zookeeper => ("addresses", ""),
        };
        format!(
            r#"{kind}Registry "nodes" {{ .{property} = "{scheme}{addr}"  .basePath = "{BASE}" }}"#
        )
    }

    /// As a part of a program.
    pub(super) fn registry(&self, ttl: Duration) -> Arc<dyn DynNodeRegistry> {
        let (address, base_path) = (Endpoint::Tcp(self.addr.to_string()), BASE.to_owned());
        let addresses = Several(vec![address.clone()]);
        match self.kind {
            Kind::Consul => Arc::new(ConsulRegistry::new(ConsulRegistryConfig {
                url: format!("http://{}", self.addr).parse().unwrap(),
                base_path,
                ttl,
                ..ConsulRegistryConfig::default()
            })),
            Kind::Etcd => Arc::new(EtcdRegistry::new(EtcdRegistryConfig {
                addresses,
                base_path,
                ttl,
                ..EtcdRegistryConfig::default()
            })),
            Kind::Redis => Arc::new(RedisRegistry::new(RedisRegistryConfig {
                address,
                base_path,
                ttl,
                ..RedisRegistryConfig::default()
            })),
            Kind::Zookeeper => Arc::new(ZookeeperRegistry::new(ZookeeperRegistryConfig {
                addresses,
                base_path,
                ttl,
            })),
        }
    }
}

/// Whether a ZooKeeper does what it is asked, which it does not yet when it begins to listen.
fn serves(addr: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(addr)?;
    // It may never answer who comes too early.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("Mode:"))
}

/// Passes connections on to where the target is, and closes them while there is none.
fn relay(listener: &TcpListener, target: &Mutex<Option<SocketAddr>>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let Some(target) = *target.lock().unwrap() else { continue };
        let Ok(server) = TcpStream::connect(target) else { continue };
        let copy = |from: &TcpStream, to: &TcpStream| {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        };
        copy(&client, &server);
        copy(&server, &client);
    }
}
