//! The dealet `dnsProxy`, asked by dig.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{eventually, peer};

use crate::databases::succeed;
use crate::server::{Running, load};

const LONG: Duration = Duration::from_secs(30);

/// A server of the DNS that knows `a.test`, `brief.test`, which holds for a second, `none.test`, `long.test`, which has no room in a datagram,
/// `late.test`, which takes half a second, and `forged.test`, before whose answer others come. It counts questions.
struct Server {
    at: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    stop: Arc<AtomicBool>,
    by_tcp: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// How it goes with each question.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// It says that it can't.
    Failing,
    Silent,
}

impl Server {
    fn start(mood: Mood) -> Self {
        // The same port for both.
        let (udp, tcp) = (0..50)
            .find_map(|_| {
                let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
                Some((UdpSocket::bind(tcp.local_addr().ok()?).ok()?, tcp))
            })
            .unwrap();
        let at = udp.local_addr().unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let asked = Arc::<Mutex<HashMap<String, usize>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let by_tcp = Arc::<AtomicUsize>::default();
        let datagrams = thread::spawn({
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                let mut buf = [0; 2000];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((len, from)) = udp.recv_from(&mut buf) else { continue };
                    let name = name(&buf[..len]);
                    *asked.lock().unwrap().entry(name.clone()).or_default() += 1;
                    if mood == Mood::Silent {
                        continue;
                    }
                    if name == "late.test" {
                        thread::park_timeout(Duration::from_millis(500));
                    }
                    let answer = answer(&buf[..len], &name, mood, true);
                    if name == "forged.test" {
                        let mut forged = answer.clone();
                        forged[0] ^= 1;
                        let last = forged.len() - 12;
                        forged[last] = 66;
                        udp.send_to(&forged, from).unwrap();
                        let mut other = answer.clone();
                        other[14] = b'x';
                        udp.send_to(&other, from).unwrap();
                        udp.send_to(b"rubbish", from).unwrap();
                    }
                    udp.send_to(&answer, from).unwrap();
                }
            }
        });
        let streams = thread::spawn({
            let (stop, by_tcp) = (stop.clone(), by_tcp.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok((mut stream, _)) = tcp.accept() else {
                        thread::park_timeout(Duration::from_millis(20));
                        continue;
                    };
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(LONG)).unwrap();
                    by_tcp.fetch_add(1, Ordering::Relaxed);
                    let mut len = [0; 2];
                    stream.read_exact(&mut len).unwrap();
                    let mut message = vec![0; u16::from_be_bytes(len).into()];
                    stream.read_exact(&mut message).unwrap();
                    let answer = answer(&message, &name(&message), mood, false);
                    let len = (answer.len() as u16).to_be_bytes();
                    stream.write_all(&[&len[..], &answer].concat()).unwrap();
                }
            }
        });
        Self { at, asked, stop, by_tcp, threads: vec![datagrams, streams] }
    }

    /// How often it was asked for a name.
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn name(message: &[u8]) -> String {
    let (mut name, mut at) = (Vec::new(), 12);
    while message[at] > 0 {
        let len = usize::from(message[at]);
        name.push(String::from_utf8_lossy(&message[at + 1..=at + len]).to_lowercase());
        at += len + 1;
    }
    name.join(".")
}

fn answer(question: &[u8], name: &str, mood: Mood, datagram: bool) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut out = question[..end].to_vec();
    out[2..4].copy_from_slice(&[0x81, 0x80]);
    out[8..12].fill(0);
    let holds = if name == "brief.test" { 1 } else { 200 };
    let a = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, holds, 0, 4, 127, 1, 2, 3];
    match name {
        _ if mood == Mood::Failing => out[3] |= 2,
        "none.test" => {
            out[3] |= 3;
            out[9] = 1;
            // For some minutes there will be nothing.
            out.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 200, 0, 22, 0, 0]);
            out.extend([0; 19]);
            out.push(200);
        }
        "long.test" if datagram => out[2] |= 2,
        "long.test" => {
            out[7] = 200;
            for n in 0..200 {
                out.extend(a);
                *out.last_mut().unwrap() = n;
            }
        }
        _ => {
            out[7] = 1;
            out.extend(a);
        }
    }
    // What it says of EDNS.
    out[11] = 1;
    out.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    out
}

fn config(servers: &[SocketAddr], proxy: &str, router: &str) -> String {
    let nodes: String =
        servers.iter().map(|at| format!("node {{ .address = \"{at}\" }} ")).collect();
    format!(
        r#"stage {{
            udpxBackend "dns" {{ .balancer = "roundRobin"  .maxFailures = 0  {nodes} }}
            {router} "main" {{ .address = "127.0.0.1:0"
                case {{ dnsProxy {{ .toBackend = "dns"  {proxy} }} }}
            }}
        }}"#
    )
}

fn start(servers: &[SocketAddr], proxy: &str) -> Running {
    load(2, &config(servers, proxy, "udpxRouter")).unwrap_or_else(|e| panic!("{e}"))
}

/// What dig says; it asks once more if nothing comes for a while.
fn dig(proxy: &Running, question: &[&str]) -> String {
    let mut dig = Command::new(peer("dig").expect("was asked for"));
    dig.args(["@127.0.0.1", "+tries=4", "+time=5", "+nocookie", "-p"]);
    dig.arg(proxy.addr().port().to_string()).args(question);
    succeed(dig)
}

#[test]
fn dig_gets_answers_and_the_server_is_asked_once() {
    if peer("dig").is_none() {
        return;
    }
    let server = Server::start(Mood::Well);
    let proxy = start(&[server.at], "");
    // However it is written, and whatever is told about the client.
    for question in [&["a.test"][..], &["A.tesT", "+noedns"], &["a.test", "+bufsize=4096"]] {
        let said = dig(&proxy, question);
        assert!(said.contains("status: NOERROR") && said.contains("127.1.2.3"), "{said}");
        assert!(said.contains(question[0]), "{said}");
        assert_eq!(
            said.contains("EDNS: version: 0"),
            question.get(1) != Some(&"+noedns"),
            "{said}"
        );
    }
    // One core may have asked a moment before the other knew.
    assert!((1..=2).contains(&server.asked("a.test")), "{}", server.asked("a.test"));
    // Signatures are another question.
    dig(&proxy, &["a.test", "+dnssec"]);
    assert!(server.asked("a.test") >= 2);
    // What holds for a second is asked for again after that.
    assert!(eventually(LONG, || {
        dig(&proxy, &["brief.test"]);
        server.asked("brief.test") > 1
    }));
}

#[test]
fn that_there_is_nothing_is_remembered_too() {
    if peer("dig").is_none() {
        return;
    }
    let server = Server::start(Mood::Well);
    let proxy = start(&[server.at], "");
    for _ in 0..3 {
        let said = dig(&proxy, &["none.test"]);
        assert!(said.contains("status: NXDOMAIN"), "{said}");
    }
    assert_eq!(server.asked("none.test"), 1);
    let proxy = start(&[server.at], ".cacheSize = 0");
    dig(&proxy, &["none.test"]);
    dig(&proxy, &["none.test"]);
    assert!(server.asked("none.test") >= 3);
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_tcp() {
    if peer("dig").is_none() {
        return;
    }
    let server = Server::start(Mood::Well);
    // dig asks by UDP, is told to come by TCP, and there it asks again: at the same port.
    let router = |sign: &str, name: &str, port: u16| {
        format!(
            r#"{sign} "{name}" {{ .address = "127.0.0.1:{port}"
                case {{ dnsProxy {{ .toBackend = "dns" }} }} }}"#
        )
    };
    let proxy = (0..20).find_map(|_| {
        let port = hemi_test::free_port().unwrap();
        let routers = [router("udpxRouter", "main", port), router("tcpxRouter", "tcp", port)];
        let backend = format!("udpxBackend \"dns\" {{ node {{ .address = \"{}\" }} }}", server.at);
        load(2, &format!("stage {{ {backend} {} }}", routers.concat())).ok()
    });
    let proxy = proxy.unwrap();
    let said = dig(&proxy, &["long.test"]);
    assert!(said.contains("ANSWER: 200,") && said.contains("127.1.2.199"), "{said}");
    assert!(server.by_tcp.load(Ordering::Relaxed) >= 1);
    let said = dig(&proxy, &["long.test", "+ignore"]);
    assert!(said.contains(" tc ") && said.contains("ANSWER: 0,"), "{said}");
    // Several by one connection.
    let said = dig(&proxy, &["+tcp", "+keepopen", "a.test", "none.test", "long.test"]);
    assert!(said.contains("NXDOMAIN") && said.contains("ANSWER: 200,"), "{said}");
}

#[test]
fn answers_come_over_tls() {
    let Some(openssl) = peer("openssl") else { return };
    let server = Server::start(Mood::Well);
    let ca = Authority::new("ca");
    let tls = format!(
        ".tlsMode = true {} tcpxRouter",
        ca.server(&["dns.test"], KeyKind::Ecdsa).properties()
    );
    let (properties, sign) = tls.rsplit_once(' ').unwrap();
    let text = config(&[server.at], "", sign).replace("case {", &format!("{properties} case {{"));
    let proxy = load(1, &text).unwrap_or_else(|e| panic!("{e}"));
    let mut client = Command::new(openssl);
    client.args(["s_client", "-quiet", "-connect", &proxy.addr().to_string(), "-CAfile"]);
    client.arg(ca.certificate()).args(["-servername", "dns.test", "-verify_return_error"]);
    client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    client.stderr(std::process::Stdio::null());
    let mut child = client.spawn().unwrap();
    let asked = b"\0\x18\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked).unwrap();
    let mut answer = [0; 42];
    child.stdout.take().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!((&answer[..4], &answer[38..]), (&[0, 40, 0, 7][..], &[127, 1, 2, 3][..]));
    drop(stdin);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn the_same_question_of_many_is_asked_once() {
    let server = Server::start(Mood::Well);
    let proxy = load(1, &config(&[server.at], "", "udpxRouter")).unwrap();
    let asked = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04late\x04test\0\0\x01\0\x01";
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(LONG)).unwrap();
            client.send_to(asked, proxy.addr()).unwrap();
            client
        })
        .collect();
    for client in clients {
        let mut buf = [0; 600];
        let len = client.recv(&mut buf).unwrap();
        assert!(buf[..len].ends_with(&[127, 1, 2, 3]));
    }
    assert_eq!(server.asked("late.test"), 1);
}

#[test]
fn a_server_that_fails_or_is_silent_is_left_for_another() {
    if peer("dig").is_none() {
        return;
    }
    for mood in [Mood::Failing, Mood::Silent] {
        let (bad, good) = (Server::start(mood), Server::start(Mood::Well));
        let proxy = start(&[bad.at, good.at], ".cacheSize = 0");
        for _ in 0..4 {
            let said = dig(&proxy, &["a.test"]);
            assert!(said.contains("127.1.2.3"), "{said}");
        }
        assert!(bad.asked("a.test") > 0 && good.asked("a.test") >= 4);
        // If there is no other, that is told.
        let alone = start(&[bad.at], ".timeout = 300ms");
        assert!(dig(&alone, &["a.test"]).contains("status: SERVFAIL"));
    }
}

#[test]
fn what_others_send_is_not_believed() {
    if peer("dig").is_none() {
        return;
    }
    let server = Server::start(Mood::Well);
    let said = dig(&start(&[server.at], ""), &["forged.test"]);
    assert!(said.contains("127.1.2.3") && !said.contains("66."), "{said}");
}

#[test]
fn what_is_no_question_is_answered_so_or_not_at_all() {
    let server = Server::start(Mood::Well);
    let proxy = start(&[server.at], "");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(proxy.addr()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    for (message, answered) in [
        (&b""[..], None),
        (b"\0\x07\x81\0\0\x01\0\0\0\0\0\0", None),
        (b"\0\x07\x01\0\0\x01\0\0\0\0\0\0", Some([0, 7, 0x81, 1])),
        (b"\0\x08\x28\0\0\0\0\0\0\0\0\0", Some([0, 8, 0xa8, 4])),
    ] {
        client.send(message).unwrap();
        if let Some(head) = answered {
            let mut buf = [0; 100];
            client.recv(&mut buf).unwrap();
            assert_eq!(buf[..4], head);
        }
    }
}
