//! A server of the DNS, made by the test, and nodes that are found by it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hemi_test::eventually;

use crate::server::{Running, mistake, site_on};
use crate::upstream::{Upstream, answer};

const PATIENCE: Duration = Duration::from_secs(60);

const A: u16 = 1;
const SRV: u16 = 33;

/// Serves until the process ends.
pub(crate) struct Dns {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

/// Data, and for how many seconds it holds.
type Records = (Vec<Vec<u8>>, u32);

#[derive(Default)]
struct Shared {
    /// Data of records and their TTL, by name and kind.
    zone: Mutex<HashMap<(String, u16), Records>>,
    /// How often each name was asked for addresses of IPv4.
    asked: Mutex<HashMap<String, usize>>,
    /// Says over UDP that there is no room.
    truncates: AtomicBool,
    over_tcp: AtomicUsize,
}

impl Dns {
    pub(crate) fn start() -> Self {
        // One port of both kinds.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let (addr, shared) = (udp.local_addr().unwrap(), Arc::<Shared>::default());
        let serving = shared.clone();
        thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((len, from)) = udp.recv_from(&mut datagram) {
                let truncates = serving.truncates.load(Ordering::Relaxed);
                let answer = serving.answer(&datagram[..len], truncates);
                udp.send_to(&answer, from).unwrap();
            }
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for mut stream in tcp.incoming().map(Result::unwrap) {
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut message).unwrap();
                serving.over_tcp.fetch_add(1, Ordering::Relaxed);
                let answer = serving.answer(&message, false);
                stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Self { addr, shared }
    }

    /// A name is at these addresses from now on, for so many seconds.
    pub(crate) fn host(&self, name: &str, addresses: &[Ipv4Addr], ttl: u32) {
        let data = addresses.iter().map(|ip| ip.octets().to_vec()).collect();
        self.set(name, A, data, ttl);
    }

    /// A service is at these hosts, each with its priority, weight and port.
    fn service(&self, name: &str, hosts: &[(u16, u16, u16, &str)]) {
        let data = |(priority, weight, port, host): &(u16, u16, u16, &str)| {
            let mut data = Vec::new();
            [priority, weight, port].iter().for_each(|n| data.extend(n.to_be_bytes()));
            for label in host.split('.') {
                data.push(label.len() as u8);
                data.extend(label.as_bytes());
            }
            data.push(0);
            data
        };
        self.set(name, SRV, hosts.iter().map(data).collect(), 0);
    }

    fn set(&self, name: &str, kind: u16, data: Vec<Vec<u8>>, ttl: u32) {
        self.shared.zone.lock().unwrap().insert((name.to_owned(), kind), (data, ttl));
    }

    /// How often a name was asked for.
    fn asked(&self, name: &str) -> usize {
        self.shared.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// The fixture that has it be asked.
    pub(crate) fn resolv(&self) -> String {
        format!(
            "resolv {{ .servers = \"{}\"  .keep = 1ms  .minKeep = 1ms  .timeout = 20s }}",
            self.addr
        )
    }
}

impl Shared {
    fn answer(&self, question: &[u8], truncates: bool) -> Vec<u8> {
        let (mut name, mut at) = (String::new(), 12);
        while question[at] > 0 {
            let len = usize::from(question[at]);
            name += str::from_utf8(&question[at + 1..at + 1 + len]).unwrap();
            name.push('.');
            at += 1 + len;
        }
        name.pop();
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        if kind == A {
            *self.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
        }
        let zone = self.zone.lock().unwrap();
        let is_known = zone.keys().any(|(known, _)| *known == name);
        let (records, ttl) = zone.get(&(name, kind)).cloned().unwrap_or_default();
        let count = if truncates { 0 } else { records.len() as u8 };
        let flags = [if truncates { 0x83 } else { 0x81 }, if is_known { 0x80 } else { 0x83 }];
        let mut out = [&question[..2], &flags, &[0, 1, 0, count, 0, 0, 0, 0]].concat();
        out.extend(&question[12..at + 5]);
        for data in records.iter().take(count.into()) {
            out.extend(b"\xc0\x0c");
            out.extend(kind.to_be_bytes());
            out.extend([0, 1]);
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }
}

/// Addresses at which nodes can have the same port.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Listens at the same port of both.
pub(crate) fn two_listeners() -> [TcpListener; 2] {
    loop {
        let here = TcpListener::bind((HERE, 0)).unwrap();
        if let Ok(there) = TcpListener::bind((THERE, here.local_addr().unwrap().port())) {
            return [here, there];
        }
    }
}

fn proxy(dns: &Dns, backend: &str) -> Running {
    let stage = format!("{} http1Backend \"b\" {{ {backend} }}", dns.resolv());
    site_on(1, &stage, "rule { httpProxy { .toBackend = \"b\" } }")
}

fn named(name: &'static str) -> impl FnMut(&str) -> crate::upstream::Act + Send + 'static {
    move |_| answer("200 OK", &[], name)
}

#[test]
fn a_name_is_looked_up_again_when_its_answer_is_old() {
    let (dns, [here, there]) = (Dns::start(), two_listeners());
    let port = here.local_addr().unwrap().port();
    let _here = Upstream::on(here, named("here"));
    let _there = Upstream::on(there, named("there"));
    dns.host("app.test", &[HERE], 0);
    let node = format!(".resolveInterval = 1h  node {{ .address = \"App.Test:{port}\" }}");
    let server = proxy(&dns, &node);
    assert_eq!(server.get("/").text(), "here");
    dns.host("app.test", &[THERE], 3600);
    assert!(eventually(PATIENCE, || server.get("/").text() == "there"));
    // This one holds for an hour.
    let asked = dns.asked("app.test");
    dns.host("app.test", &[HERE], 0);
    assert!((0..50).all(|_| server.get("/").text() == "there"));
    assert_eq!(dns.asked("app.test"), asked);
}

#[test]
fn a_name_that_is_not_there_may_come() {
    let dns = Dns::start();
    let node = Upstream::start(named("node"));
    let server = proxy(
        &dns,
        &format!(
            ".resolveInterval = 1ms  node {{ .address = \"late.test:{}\" }}",
            node.addr().port()
        ),
    );
    assert_eq!(server.get("/").status, 503);
    dns.host("late.test", &[Ipv4Addr::LOCALHOST], 0);
    assert!(eventually(PATIENCE, || server.get("/").text() == "node"));
    // What goes away is where it was.
    dns.shared.zone.lock().unwrap().clear();
    let asked = dns.asked("late.test");
    assert!(eventually(PATIENCE, || dns.asked("late.test") > asked + 2));
    assert_eq!(server.get("/").text(), "node");
}

#[test]
fn long_answers_come_over_tcp() {
    let dns = Dns::start();
    let node = Upstream::start(named("node"));
    dns.host("app.test", &[Ipv4Addr::LOCALHOST], 60);
    dns.shared.truncates.store(true, Ordering::Relaxed);
    let server = proxy(&dns, &format!("node {{ .address = \"app.test:{}\" }}", node.addr().port()));
    assert_eq!(server.get("/").text(), "node");
    assert!(dns.shared.over_tcp.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_server_that_says_nothing_is_not_the_only_one() {
    let dns = Dns::start();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = Upstream::start(named("node"));
    dns.host("app.test", &[Ipv4Addr::LOCALHOST], 60);
    let servers = format!("(\"{}\", \"{}\")", silent.local_addr().unwrap(), dns.addr);
    let stage = format!(
        "resolv {{ .servers = {servers}  .timeout = 4s }}
         http1Backend \"b\" {{ .resolveInterval = 1ms  node {{ .address = \"app.test:{}\" }} }}",
        node.addr().port()
    );
    let server = site_on(1, &stage, "rule { httpProxy { .toBackend = \"b\" } }");
    assert!(eventually(PATIENCE, || server.get("/").text() == "node"));
}

#[test]
fn a_service_tells_hosts_ports_and_weights() {
    let dns = Dns::start();
    let nodes = ["a", "b", "c"].map(|name| Upstream::start(named(name)));
    let [a, b, c] = [0, 1, 2].map(|n: usize| nodes[n].addr().port());
    for host in ["a.test", "b.test", "c.test"] {
        dns.host(host, &[Ipv4Addr::LOCALHOST], 60);
    }
    let name = "_app._tcp.test";
    dns.service(name, &[(1, 30, a, "a.test"), (1, 10, b, "B.test"), (2, 10, c, "c.test")]);
    let node = format!("node {{ .address = \"srv:{name}\" }}");
    let server = proxy(&dns, &format!(".balancer = \"roundRobin\"  .slowStart = 0s  {node}"));
    let spread = || {
        let answers: Vec<_> = (0..40).map(|_| server.get("/").text()).collect();
        ["a", "b", "c"].map(|name| answers.iter().filter(|answer| *answer == name).count())
    };
    assert_eq!(spread(), [30, 10, 0]);
    // Others, when these are gone; weights may change alone.
    dns.service(name, &[(2, 10, c, "c.test")]);
    assert!(eventually(PATIENCE, || spread() == [0, 0, 40]));
    dns.service(name, &[(1, 10, a, "a.test"), (1, 10, b, "b.test")]);
    assert!(eventually(PATIENCE, || spread() == [20, 20, 0]));
    dns.service(name, &[(1, 10, a, "a.test"), (1, 30, b, "b.test")]);
    assert!(eventually(PATIENCE, || spread() == [10, 30, 0]));
}

#[test]
fn servers_that_are_none_are_mistakes() {
    let told = mistake("resolv { .servers = \"dns.test\" }", "rule { .returnCode = 204 }");
    assert!(told.contains("no server of the DNS"), "{told}");
}
