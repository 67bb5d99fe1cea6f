//! A site behind a NAT, served through another one: two processes, and a tunnel between them.

use std::thread;
use std::time::Duration;

use hemi_test::{Program, Signal, TempDir};

use crate::cli::GOROX;

const TOKEN: &str = "correct horse battery staple";

fn outer(dir: &TempDir) -> Program {
    let exposed = dir.path().join("exposed.sock");
    let config = format!(
        r#"stage {{
            http1Backend "inner" {{ node {{ .address = "{0}" }} }}
            webapp "site" {{ .hostnames = ("*")
                rule $path == "/tunnel" {{ reverseTunnel {{ .expose = "{0}"  .tokens = ("{TOKEN}")  .waitTimeout = 60s }} }}
                rule {{ httpProxy {{ .toBackend = "inner" }} }} }}
            httpxServer "s" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("site") }}
        }}"#,
        exposed.display()
    );
    Program::serve(GOROX, &config).unwrap()
}

fn inner(outer: &Program, page: &str) -> Program {
    let config = format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  rule {{ .returnCode = 200  .returnText = "{page}" }} }}
            httpxServer "s" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("w") }}
            tcpxBackend "local" {{ node {{ .address = "127.0.0.1:@PORT@" }} }}
            reverseServer "edge" {{ .toServer = "http://{}/tunnel"  .token = "{TOKEN}"  .toBackend = "local" }}
        }}"#,
        outer.addr()
    );
    Program::serve(GOROX, &config).unwrap()
}

fn get(outer: &Program) -> String {
    let mut client = outer.connect().unwrap().with_timeout(Duration::from_secs(60));
    client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
    client.read_response().unwrap().text()
}

#[test]
fn a_site_behind_a_nat_is_there_before_and_after_it_dies() {
    let dir = TempDir::new().unwrap();
    let outer = outer(&dir);
    let mut first = inner(&outer, "first");
    let all_say = |page: &str| {
        thread::scope(|scope| {
            let asked: Vec<_> = (0..100).map(|_| scope.spawn(|| get(&outer))).collect();
            asked.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap(), page));
        });
    };
    all_say("first");
    // As suddenly as can be: what is on its way would be lost, what comes now waits.
    first.signal(Signal::KILL).unwrap();
    first.wait(Duration::from_secs(20)).unwrap();
    let _second = inner(&outer, "second");
    all_say("second");
}
