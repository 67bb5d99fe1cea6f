//! Programs that speak through a router as they would without one.

use std::process::Command;

use hemi_test::peer;

use super::{config, start};
use crate::redis::RedisServer;

#[test]
fn redis_benchmark_is_served() {
    let (Some(redis), Some(benchmark)) = (RedisServer::start(), peer("redis-benchmark")) else {
        return;
    };
    let backend = format!(
        "tcpxBackend \"redis\" {{ node {{ .address = \"{}\" }} }}",
        redis.socket().display()
    );
    let cases = r#"case $protocol == "redis" { tcpxProxy { .toBackend = "redis" } }"#;
    let router = start(&config(&backend, cases));
    let mut command = Command::new(benchmark);
    command.args(["-h", "127.0.0.1", "-p"]).arg(router.addr().port().to_string());
    command.args(["-n", "2000", "-c", "20", "-P", "8", "-d", "3000", "-q", "-t", "set,get,lpush"]);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).replace('\r', "\n");
    assert!(done.status.success(), "{said}");
    for test in ["SET:", "GET:", "LPUSH:"] {
        assert!(said.contains(test), "{said}");
    }
}
