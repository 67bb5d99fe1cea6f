//! Connections that the firewall gives to a router, in networks of their own: a client, a gateway, and a server.
//! It takes root, and a kernel that has all of that: the tests are skipped elsewhere.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use hemi_test::{TempDir, eventually, peer};

use crate::cli::GOROX;
use crate::pong::PATIENCE;

/// Three network namespaces: the client's and the server's are connected by the gateway's.
struct Net {
    name: String,
    dir: TempDir,
    programs: Vec<Child>,
}

/// Whose namespace.
#[derive(Clone, Copy)]
enum At {
    Client,
    Gateway,
    Server,
}

impl Net {
    /// None, with a line that says so, where there can't be such networks.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (_, _, _) = (peer("ip")?, peer("nft")?, peer("curl")?);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hemi{}x{number}", std::process::id());
        let net = Self { name, dir: TempDir::new().unwrap(), programs: Vec::new() };
        let [client, gateway, server] = [At::Client, At::Gateway, At::Server].map(|at| net.of(at));
        for namespace in [&client, &gateway, &server] {
            if !ip(&format!("netns add {namespace}")) {
                return skip("network namespaces can't be made here");
            }
        }
        let all = format!(
            "link add c0 netns {client} type veth peer name c1 netns {gateway}
            link add s0 netns {server} type veth peer name s1 netns {gateway}
            -n {client} addr add 10.77.1.2/24 dev c0
            -n {gateway} addr add 10.77.1.1/24 dev c1
            -n {gateway} addr add 10.77.2.1/24 dev s1
            -n {server} addr add 10.77.2.2/24 dev s0
            -n {server} addr add 10.77.2.3/24 dev s0
            -n {client} link set c0 up
            -n {gateway} link set c1 up
            -n {gateway} link set s1 up
            -n {gateway} link set lo up
            -n {server} link set s0 up
            -n {client} route add default via 10.77.1.1
            -n {server} route add default via 10.77.2.1"
        );
        if !all.lines().all(|line| ip(line.trim())) {
            return skip("networks can't be connected here");
        }
        let mut forward = net.command(At::Gateway, "sh");
        forward.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        forward.status().unwrap().success().then_some(net)
    }

    fn of(&self, at: At) -> String {
        let end = match at {
            At::Client => 'c',
            At::Gateway => 'g',
            At::Server => 's',
        };
        format!("{}{end}", self.name)
    }

    fn command(&self, at: At, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.of(at), program]);
        command
    }

    /// Rules of the firewall of the gateway; false, with a line that says so, if the kernel has no such rules.
    fn rules(&self, text: &str) -> bool {
        let mut nft = self.command(At::Gateway, "nft");
        let mut child = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait().unwrap().success() || skip::<()>("the kernel has no such rules").is_some()
    }

    fn serve(&mut self, at: At, config: &str) {
        let file = self.dir.write(format!("{}.conf", self.of(at)), config).unwrap();
        let log = std::fs::File::create(self.dir.path().join(format!("{}.log", self.of(at))));
        let mut command = self.command(at, GOROX);
        command.args(["serve", "--single", "--config"]).arg(file).stdin(Stdio::null());
        command.args(hemi_test::io_driver().map(|driver| format!("--io={driver}")));
        command.stdout(Stdio::null()).stderr(log.unwrap());
        self.programs.push(command.spawn().unwrap());
    }

    /// A server that tells who has come, on two ports.
    fn serve_site(&mut self) {
        let site = |name: &str, port: u16| {
            format!(
                r#"webapp "{name}" {{ .hostnames = ("*")
                    rule {{ .returnCode = 200  .returnText = "{name} " + $remoteAddr }} }}
                httpxServer "{name}" {{ .address = "0.0.0.0:{port}"  .webapps = ("{name}") }}"#
            )
        };
        self.serve(At::Server, &format!("stage {{ {} {} }}", site("one", 80), site("two", 81)));
    }

    /// What a client gets, as soon as it is this.
    fn expect(&self, url: &str, page: &str) {
        let mut last = String::new();
        let got = eventually(PATIENCE, || {
            let mut curl = self.command(At::Client, "curl");
            let done = curl.args(["-sS", "--max-time", "5", url]).output().unwrap();
            last = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
            last == page
        });
        let logs = [At::Gateway, At::Server].map(|at| {
            std::fs::read_to_string(self.dir.path().join(format!("{}.log", self.of(at))))
        });
        assert!(got, "{url}: {last} instead of {page}: {logs:?}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        for at in [At::Client, At::Gateway, At::Server] {
            ip(&format!("netns del {}", self.of(at)));
        }
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split_ascii_whitespace()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn skip<T>(why: &str) -> Option<T> {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    None
}

/// A gateway to where connections were meant to go, but for those to one address.
fn gateway(transparent: &str, backend: &str) -> String {
    format!(
        r#"stage {{
            tcpxBackend "b" {{ {backend}  node {{ .address = "10.77.2.2:81" }} }}
            tcpxRouter "main" {{ .address = "0.0.0.0:15001"  .transparent = "{transparent}"
                case $dstHost == "10.77.2.3" && $dstPort == "80" {{ tcpxProxy {{ .toBackend = "b" }} }}
                case {{ tcpxProxy {{ .toOriginal = true }} }}
            }}
        }}"#
    )
}

const MARKED: [&str; 2] =
    ["rule add fwmark 1 lookup 100", "route add local default dev lo table 100"];

#[test]
fn redirected_connections_go_on_to_where_they_were_meant_to_go() {
    let Some(mut net) = Net::new() else { return };
    let rules = "table ip gorox {
        chain prerouting { type nat hook prerouting priority -100;
            iifname c1 meta l4proto tcp redirect to :15001
        }
    }";
    if !net.rules(rules) {
        return;
    }
    net.serve_site();
    net.serve(At::Gateway, &gateway("redirect", ""));
    net.expect("http://10.77.2.2/", "one 10.77.2.1");
    net.expect("http://10.77.2.2:81/", "two 10.77.2.1");
    net.expect("http://10.77.2.3/", "two 10.77.2.1");
    net.expect("http://10.77.2.3:81/", "two 10.77.2.1");
}

#[test]
fn connections_that_are_left_as_they_are_go_on_and_nodes_see_the_client() {
    let Some(mut net) = Net::new() else { return };
    // What nodes answer to the client is taken by the gateway.
    let rules = "table ip gorox {
        chain prerouting { type filter hook prerouting priority mangle;
            iifname c1 meta l4proto tcp tproxy to :15001 meta mark set 1 accept
            iifname s1 tcp sport 81 meta mark set 1 accept
        }
    }";
    if !net.rules(rules) {
        return;
    }
    let gateway_name = net.of(At::Gateway);
    if !MARKED.iter().all(|rule| ip(&format!("-n {gateway_name} {rule}"))) {
        skip::<()>("routes can't be chosen by marks here");
        return;
    }
    net.serve_site();
    net.serve(At::Gateway, &gateway("tproxy", ".asClient = true"));
    net.expect("http://10.77.2.2/", "one 10.77.2.1");
    net.expect("http://10.77.2.3/", "two 10.77.1.2");
}
