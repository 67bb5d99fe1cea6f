//! `rpc dump`.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use hemi_rpc::{Client, GrpcChannel, GrpcLimits};
use hemi_test::TempDir;
use rpc_interop::proto::SimpleRequest;
use rpc_interop::proto::test_service_client::TestServiceClient;
use serde_json::{Value, json};

use super::{rpc, rpc_to};
use crate::client::{args, runtime};
use crate::grpc::serve_grpc;
use crate::server::{LONG, bytes, serve};
use crate::services::Reply;

/// Takes lines as they are written.
struct Lines(Sender<String>, String);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += std::str::from_utf8(bytes).unwrap();
        while let Some((line, rest)) = self.1.split_once('\n') {
            let _ = self.0.send(line.to_owned());
            self.1 = rest.to_owned();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A relay to there for so many connections: its address, and what it tells.
fn relay(to: &str, count: usize) -> (String, Receiver<String>) {
    let (sender, lines) = channel();
    let arguments =
        ["--listen=127.0.0.1:0".to_owned(), format!("--to={to}"), format!("--count={count}")];
    thread::spawn(move || {
        let [listen, to, count] = &arguments;
        rpc_to(&["dump", listen, to, count, "--json"], &mut Lines(sender, String::new())).unwrap();
    });
    let first: Value = serde_json::from_str(&lines.recv_timeout(LONG).unwrap()).unwrap();
    (first["listening"].as_str().unwrap().to_owned(), lines)
}

/// All that is told, without when and between whom.
fn told(lines: &Receiver<String>) -> Vec<Value> {
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(LONG) {
        let mut line: Value = serde_json::from_str(&line).unwrap();
        let object = line.as_object_mut().unwrap();
        if !object.contains_key("time") {
            // How a connection has ended is nothing that was said on it.
            continue;
        }
        assert!(object.remove("time").unwrap().as_str().unwrap().starts_with("20"));
        assert_ne!(object.remove("from"), object.remove("to"));
        all.push(line);
    }
    all
}

#[test]
fn calls_by_rpcx_and_hrpc_are_told_as_they_pass() {
    let server = serve();
    for by in ["tcp", "hrpc", "http"] {
        let (address, lines) = relay(&server.addr().to_string(), 1);
        runtime().block_on(async {
            let client = Client::to(&format!("{by}@{address}")).unwrap();
            let ask = client.ask("Arith", "Mul").metadata("k", "v");
            let reply: Reply = ask.call(&args(6, 7)).await.unwrap();
            assert_eq!(reply.c, 42);
            client.ask("Arith", "Fail").call::<_, Reply>(&args(6, 7)).await.unwrap_err();
        });
        let told = told(&lines);
        let is = |line: &&Value, kind: &str| line["kind"] == kind;
        let find = |kind: &str| told.iter().find(|line| is(line, kind)).unwrap();
        let call = find("call");
        assert_eq!((&call["service"], &call["method"]), (&json!("Arith"), &json!("Mul")));
        assert_eq!((&call["codec"], &call["bytes"]), (&json!("msgpack"), &json!(7)));
        assert_eq!(
            (&call["message"], &call["metadata"]["k"]),
            (&json!({"A":6,"B":7}), &json!("v"))
        );
        let protocol = if by == "hrpc" { "hrpc" } else { "rpcx" };
        assert!(told.iter().all(|line| line["protocol"] == protocol), "{told:?}");
        let (answer, failure) = match by {
            "hrpc" => {
                assert_eq!(told.iter().filter(|line| is(line, "hello")).count(), 2);
                let mut replies = told.iter().filter(|line| is(line, "reply"));
                (replies.next().unwrap(), replies.next().unwrap())
            }
            _ => (find("answer"), find("failure")),
        };
        assert_eq!(answer["message"], json!({"C":42}));
        assert_eq!(failure["error"], json!("boom"));
    }
}

#[test]
fn calls_of_grpc_are_told_as_they_pass() {
    let server = serve_grpc(GrpcLimits::default());
    let (address, lines) = relay(&server.addr().to_string(), 1);
    runtime().block_on(async {
        let mut client = TestServiceClient::new(GrpcChannel::to(&address).unwrap());
        let asked = SimpleRequest { response_size: 3, ..SimpleRequest::default() };
        for _ in 0..2 {
            client.unary_call(asked.clone()).await.unwrap();
        }
    });
    let told = told(&lines);
    let calls: Vec<_> = told.iter().filter(|line| line["kind"] == "call").collect();
    assert_eq!(calls.len(), 2, "{told:?}");
    for call in calls {
        assert_eq!(call["path"], json!("/grpc.testing.TestService/UnaryCall"));
        let of = |kind: &str| -> Vec<_> {
            let same = |line: &&Value| line["stream"] == call["stream"] && line["kind"] == kind;
            told.iter().filter(same).collect()
        };
        let messages: Vec<_> = of("message").iter().map(|line| line["bytes"].clone()).collect();
        assert_eq!(messages, [json!(2), json!(7)]);
        assert_eq!(of("answer")[0]["status"], json!("200"));
        assert!(of("end").iter().any(|line| line["code"] == json!("0")), "{told:?}");
    }
}

/// A file of libpcap with these segments: whether the client sends them, their number and what they carry.
fn pcap(segments: &[(bool, u32, &[u8])]) -> Vec<u8> {
    let mut out = bytes("a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000001");
    for (at, (from_client, seq, payload)) in segments.iter().enumerate() {
        let mut ports = [bytes("c350"), bytes("230c")];
        let mut hosts = [bytes("7f000001"), bytes("7f000002")];
        if !from_client {
            ports.reverse();
            hosts.reverse();
        }
        let seq = seq.to_be_bytes();
        let tcp =
            [&ports.concat()[..], &seq, &bytes("00000000 5018 ffff 0000 0000"), payload].concat();
        let total = (20 + tcp.len() as u16).to_be_bytes();
        let ip =
            [&bytes("4500")[..], &total, &bytes("0000 4000 40 06 0000"), &hosts.concat(), &tcp];
        let packet = [&[0; 12][..], &bytes("0800"), &ip.concat()].concat();
        let length = (packet.len() as u32).to_be_bytes();
        out.extend([&1_800_000_000_u32.to_be_bytes()[..], &(at as u32).to_be_bytes()].concat());
        out.extend([&length[..], &length, &packet].concat());
    }
    out
}

#[test]
fn what_was_captured_is_told() {
    let dir = TempDir::new().unwrap();
    let call = bytes(
        "08000030 0000000000000000 0000001f 00000005 4172697468 00000003 4d756c 00000000 \
         00000007 82a1410aa14214",
    );
    let answer = bytes(
        "08008030 0000000000000000 0000001d 00000005 4172697468 00000003 4d756c 00000000 \
         00000005 81a143ccc8",
    );
    // In pieces, out of order, repeated; and a second call behind one that was lost.
    let file = pcap(&[
        (true, 100, &call[..20]),
        (true, 130, &call[30..]),
        (true, 100, &call[..20]),
        (true, 120, &call[20..30]),
        (false, 7, &answer),
        (true, 100 + 2 * call.len() as u32, &call),
        (true, 100 + 3 * call.len() as u32, &[&call[..], b"no"].concat()),
    ]);
    let path = dir.write("calls.pcap", &file).unwrap();
    let path = path.display().to_string();
    let text = rpc(&["dump", &path]).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let first = "2027-01-15T08:00:00.000003Z 127.0.0.1:50000 > 127.0.0.2:8972 rpcx call seq=0 \
                 service=Arith method=Mul codec=msgpack bytes=7 message={\"A\":10,\"B\":20}";
    assert_eq!(lines[0], first);
    assert!(lines[1].contains("127.0.0.2:8972 > 127.0.0.1:50000 rpcx answer seq=0"), "{text}");
    assert!(lines[1].ends_with("message={\"C\":200}"), "{text}");
    assert!(lines[2].ends_with("tcp lost bytes=47"), "{text}");
    assert!(lines[3..5].iter().all(|line| line.contains("rpcx call seq=0")), "{text}");
    assert!(lines[5].ends_with(r#"rpcx broken why="this is not rpcx""#), "{text}");
    assert_eq!(lines.len(), 6, "{text}");
    // A file that breaks off, and one that is none.
    let cut = dir.write("cut.pcap", &file[..file.len() - 5]).unwrap();
    let cut = rpc(&["dump", &cut.display().to_string()]).unwrap();
    assert_eq!(cut.lines().count(), 4, "{cut}");
    let none = dir.write("none.pcap", b"GET / HTTP/1.1").unwrap();
    let none = none.display().to_string();
    assert_eq!(rpc(&["dump", &none]).unwrap_err(), format!("{none}: this is no file of libpcap"));
    assert!(rpc(&["dump"]).is_err() && rpc(&["dump", &path, "--to=x"]).is_err());
}
