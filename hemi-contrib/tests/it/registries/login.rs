//! Registries that want to know who asks.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hemi_contrib::registries::{
    EtcdRegistry, EtcdRegistryConfig, RedisRegistry, RedisRegistryConfig,
};
use hemi_core::Registry;
use hemi_core::config::{Constants, Secret, Several, Source};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_rpc::{Announced, DynNodeRegistry, Endpoint, Registered};
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, TempDir, free_port, peer};
use tokio::time::timeout;

use super::{LONG, found, runtime, told};

fn addr() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port().unwrap()).into()
}

fn secret(text: &str) -> Secret {
    serde_json::from_value(text.into()).unwrap()
}

/// A node is announced there, and found.
async fn works(registry: Arc<dyn DynNodeRegistry>) {
    let registered = Registered::new(registry.clone(), "Arith");
    let announced = Announced::new(registry, told("tcp@127.0.0.1:1"));
    found(&registered, &["tcp@127.0.0.1:1"]).await;
    announced.leave().await;
    found(&registered, &[]).await;
}

#[test]
fn etcd_is_spoken_to_over_tls_and_logged_in_to() {
    let (Some(etcd), Some(etcdctl)) = (peer("etcd"), peer("etcdctl")) else { return };
    let (ca, dir, addr, others) = (Authority::new("etcd"), TempDir::new().unwrap(), addr(), addr());
    let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
    let own = format!("https://{addr}");
    let mut command = Command::new(etcd);
    command.args(["--log-level", "warn", "--data-dir"]).arg(dir.path().join("etcd"));
    command.args(["--listen-client-urls", &own, "--advertise-client-urls", &own]);
    command.args(["--listen-peer-urls", &format!("http://{others}")]);
    command.arg("--cert-file").arg(&identity.certificate).arg("--key-file").arg(&identity.key);
    let _etcd = Program::start(command, addr).unwrap();
    let endpoint = format!("localhost:{}", addr.port());
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        let mut command = Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint, "--dial-timeout", "30s"]);
        command.args(["--command-timeout", "60s", "--cacert"]).arg(ca.certificate());
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut trusting = ConnectorConfig::default();
    trusting.tls_trusted_ca.0.push(ca.certificate());
    let connector = Arc::new(Connector::with_paths(trusting, &["h2"]));
    let registry = |password: Option<&str>| {
        let config = EtcdRegistryConfig {
            addresses: Several(vec![Endpoint::Tcp(endpoint.clone())]),
            tls_mode: true,
            user: Some("root".to_owned()),
            password: password.map(secret),
            ..EtcdRegistryConfig::default()
        };
        Arc::new(EtcdRegistry::with_connector(config, connector.clone()))
    };
    runtime().block_on(async {
        works(registry(Some("secret"))).await;
        let (nodes, _) = tokio::sync::watch::channel(Vec::new());
        for (password, why) in [
            (None, "authentication failed, invalid user ID or password"),
            (Some("guess"), "authentication failed, invalid user ID or password"),
        ] {
            let registry = registry(password);
            let refused = async {
                // It may be late first.
                loop {
                    let e = DynNodeRegistry::follow(&*registry, "Arith", &nodes).await.to_string();
                    if e.contains(why) {
                        return;
                    }
                }
            };
            assert!(timeout(LONG, refused).await.is_ok(), "not refused: {why}");
        }
    });
}

#[test]
fn a_user_of_etcd_has_a_password() {
    let mut registry = Registry::new();
    hemi_contrib::register(&mut registry);
    for (said, good) in [
        (r#".user = "root""#, false),
        (r#".password = "secret""#, false),
        (r#".user = "root"  .password = "secret""#, true),
    ] {
        let config = format!("stage {{ etcdRegistry \"nodes\" {{ {said} }} }}");
        let source = Source::text("test.conf", &config);
        let checked = hemi_core::check(&registry, &source, &Constants::default());
        let text = checked.err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(text.contains("`.user` and `.password` stand together"), !good, "{text}");
    }
}

#[test]
fn redis_is_logged_in_to_and_need_not_tell_of_changes() {
    let Some(redis) = peer("redis-server") else { return };
    let (dir, addr) = (TempDir::new().unwrap(), addr());
    // This one may not have it tell of keys: they are looked for now and then.
    let user = dir.write("redis.conf", "user nodes on >secret ~* &* +@all -config\n").unwrap();
    let mut command = Command::new(redis);
    command.arg(user).args([
        "--bind",
        "127.0.0.1",
        "--port",
        &addr.port().to_string(),
        "--save",
        "",
    ]);
    command.arg("--dir").arg(dir.path());
    let _redis = Program::start(command, addr).unwrap();
    let config = RedisRegistryConfig {
        address: Endpoint::Tcp(addr.to_string()),
        database: 3,
        user: Some("nodes".to_owned()),
        password: Some(secret("secret")),
        ttl: Duration::from_secs(30),
        ..RedisRegistryConfig::default()
    };
    runtime().block_on(works(Arc::new(RedisRegistry::new(config))));
}
