//! The handlet `access`.

use std::net::IpAddr;
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{Site, TempDir, eventually};

use crate::server::{Running, ask, load, mistake, site};

const SOON: Duration = Duration::from_secs(20);

fn guarded(properties: &str) -> Running {
    site("", &format!("rule {{ access {{ {properties} }} }} rule {{ .returnCode = 204 }}"))
}

/// The status that a client of this address gets.
fn status(server: &Running, from: &str) -> u16 {
    let from: IpAddr = from.parse().unwrap();
    let mut client = Client::connect_from(from, server.addr()).unwrap();
    ask(&mut client, "GET", "/", &[]).unwrap().status
}

#[test]
fn the_smallest_block_decides() {
    for (properties, allowed, denied) in [
        ("", &["127.0.0.1"][..], &[][..]),
        (r#".deny = ("127.0.0.2")"#, &["127.0.0.1"], &["127.0.0.2"]),
        (r#".allow = ("127.0.0.2")"#, &["127.0.0.2"], &["127.0.0.1", "127.0.0.3"]),
        (".allow = ()", &[], &["127.0.0.1"]),
        (r#".deny = ("all")"#, &[], &["127.0.0.1"]),
        (
            r#".allow = ("127.1.0.0/16", "127.1.2.3")  .deny = ("all", "127.1.2.0/24")"#,
            &["127.1.0.1", "127.1.2.3"],
            &["127.0.0.1", "127.1.2.2", "127.1.2.4"],
        ),
        (r#".allow = ("127.0.0.1", "all")  .deny = ("127.0.0.1")"#, &["127.0.0.2"], &["127.0.0.1"]),
        (r#".allow = ("::/0", "unix")"#, &[], &["127.0.0.1"]),
        (r#".allow = ("::ffff:127.0.0.0/112")"#, &["127.0.0.1"], &["127.1.0.1"]),
    ] {
        let server = guarded(properties);
        for (addresses, expected) in [(allowed, 204), (denied, 403)] {
            for from in addresses {
                assert_eq!(status(&server, from), expected, "{properties} {from}");
            }
        }
    }
}

#[test]
fn who_comes_by_a_unix_socket_is_known_as_that() {
    let dir = TempDir::new().unwrap();
    for (properties, expected) in [
        ("", 204),
        (r#".allow = ("unix")"#, 204),
        (r#".allow = ("0.0.0.0/0", "::/0")"#, 403),
        (r#".deny = ("unix")"#, 403),
        (r#".allow = ("unix")  .deny = ("all")"#, 204),
    ] {
        let path = dir.path().join(format!("{}.sock", properties.len()));
        let config = format!(
            r#"stage {{
                webapp "w" {{ .hostnames = ("*")  rule {{ access {{ {properties} }} }} rule {{ .returnCode = 204 }} }}
                httpxServer "main" {{ .address = "{}"  .webapps = ("w") }}
            }}"#,
            path.display()
        );
        let _server = load(1, &config).unwrap();
        let mut client = Client::connect_unix(&path).unwrap();
        let reply = ask(&mut client, "GET", "/", &[]).unwrap();
        assert_eq!(reply.status, expected, "{properties}");
    }
}

#[test]
fn addresses_of_ipv4_in_ipv6_are_of_ipv4() {
    let config = r#"stage {
        webapp "w" { .hostnames = ("*")  rule { access { .allow = ("127.0.0.0/8") } } rule { .returnCode = 204 } }
        httpxServer "main" { .address = ":0"  .webapps = ("w") }
    }"#;
    let server = load(1, config).unwrap();
    let mut client = Client::connect(("127.0.0.1", server.addr().port())).unwrap();
    assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, 204);
}

#[test]
fn hosts_stand_for_their_addresses() {
    let server = guarded(r#".allow = ("localhost")"#);
    assert_eq!(status(&server, "127.0.0.1"), 204);
    assert_eq!(status(&server, "127.0.0.2"), 403);
    let error = mistake("", r#"rule { access { .deny = ("no-such-host.invalid") } }"#);
    assert!(error.starts_with("cannot resolve no-such-host.invalid"), "{error}");
}

#[test]
fn files_are_read_again_when_they_have_changed() {
    let dir = TempDir::new().unwrap();
    let allow = dir.write("allow", "# friends\n127.0.0.0/8 # all of them\n\n").unwrap();
    let deny = dir.write("deny", "127.0.0.2").unwrap();
    let server = guarded(&format!(
        r#".allowFile = "{}"  .denyFile = "{}""#,
        allow.display(),
        deny.display()
    ));
    let all = |server: &Running| ["127.0.0.1", "127.0.0.2"].map(|from| status(server, from));
    assert_eq!(all(&server), [204, 403]);
    dir.write("deny", "127.0.0.1/32\n").unwrap();
    assert!(eventually(SOON, || all(&server) == [403, 204]));
    // What can't be read changes nothing.
    dir.write("deny", "127.0.0.0/33\n").unwrap();
    dir.write("allow", "127.0.0.2\n").unwrap();
    std::fs::remove_file(&deny).unwrap();
    assert!(eventually(SOON, || status(&server, "127.0.0.3") == 403));
    assert_eq!(all(&server), [403, 204]);
    dir.write("deny", "").unwrap();
    dir.write("allow", "all\n").unwrap();
    assert!(eventually(SOON, || all(&server) == [204, 204]));
}

#[test]
fn a_file_that_could_not_be_read_is_tried_again() {
    let dir = TempDir::new().unwrap();
    let (allow, deny) = (dir.write("allow", "all").unwrap(), dir.write("deny", "").unwrap());
    let server = guarded(&format!(
        r#".allowFile = "{}"  .denyFile = "{}""#,
        allow.display(),
        deny.display()
    ));
    dir.write("deny", "127.0.0.1/33").unwrap();
    let at = deny.metadata().unwrap().modified().unwrap();
    // Both are looked at equally often: this one twice, so the other once at least.
    for (allowed, is) in [("127.0.0.2", 403), ("all", 204)] {
        dir.write("allow", allowed).unwrap();
        assert!(eventually(SOON, || status(&server, "127.0.0.1") == is));
    }
    // It looks the same as before.
    dir.write("deny", "127.0.0.1/32").unwrap();
    std::fs::File::open(&deny).unwrap().set_modified(at).unwrap();
    assert!(eventually(SOON, || status(&server, "127.0.0.1") == 403));
}

#[test]
fn many_blocks_are_looked_up_fast_enough_to_test() {
    let dir = TempDir::new().unwrap();
    let blocks: String =
        (0..100_000u32).map(|n| format!("{}\n", std::net::Ipv4Addr::from(n << 8 | 7))).collect();
    let file = dir.write("deny", blocks + "127.0.0.9\n").unwrap();
    let server = guarded(&format!(r#".denyFile = "{}""#, file.display()));
    assert_eq!(status(&server, "127.0.0.1"), 204);
    assert_eq!(status(&server, "127.0.0.9"), 403);
}

#[test]
fn bad_entries_are_mistakes() {
    for (entry, message) in [
        ("10.1.2.3/8", "write \"10.0.0.0/8\""),
        ("10.0.0.0/33", "has a bad length"),
        ("10.1.2", "is not an IP address"),
        ("fe80::1%eth0", "is not an IP address"),
        ("shop test", "is neither an address nor the name of a host"),
        ("", "is not an IP address"),
    ] {
        let error = mistake("", &format!("rule {{ access {{ .allow = (\"{entry}\") }} }}"));
        assert!(error.contains(message), "{entry}: {error}");
    }
    let dir = TempDir::new().unwrap();
    for (content, message) in [
        ("10.0.0.1\nlocalhost\n", ":2: names of hosts are written in the config"),
        ("# none\n10.0.0.1/8", ":2: the block \"10.0.0.1/8\" begins at 10.0.0.0"),
    ] {
        let file = dir.write("list", content).unwrap();
        let rule = format!(r#"rule {{ access {{ .denyFile = "{}" }} }}"#, file.display());
        let error = mistake("", &rule);
        assert!(error.contains(message), "{content}: {error}");
    }
    let files = Site::new().unwrap().sparse_file("large", (64 << 20) + 1).unwrap();
    let large = files.root().join("large");
    for (path, why) in
        [("/no/such/file", "No such file"), (large.to_str().unwrap(), "has more than 67108864")]
    {
        let error = mistake("", &format!("rule {{ access {{ .denyFile = \"{path}\" }} }}"));
        assert!(error.starts_with(&format!("cannot read {path}")), "{error}");
        assert!(error.contains(why), "{error}");
    }
}
