//! The action `cert`.

use std::process::{Command, Output};

use hemi_test::{TempDir, peer};

fn cert(dir: &TempDir, args: &[&str]) -> Output {
    let mut gorox = Command::new(env!("CARGO_BIN_EXE_gorox"));
    gorox.arg("cert").args(args).current_dir(dir.path()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn certificates_are_made_and_shown() {
    let dir = TempDir::new().unwrap();
    let made = cert(&dir, &["self-signed", "a.test", "*.a.test", "127.0.0.1", "--days", "10"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(said(&made), "a.test.key\na.test.pem\n");
    let shown = said(&cert(&dir, &["info", "a.test.pem"]));
    for part in ["CN=a.test", "dns:a.test, dns:*.a.test, ip:127.0.0.1", "(valid now)"] {
        assert!(shown.contains(part), "{shown}");
    }
    let again = cert(&dir, &["self-signed", "a.test"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(cert(&dir, &["info", "a.test.key"]).status.code(), Some(1));
    assert_eq!(cert(&dir, &["make"]).status.code(), Some(2));
    let mode = std::fs::metadata(dir.path().join("a.test.key")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
}

#[test]
fn openssl_can_read_what_is_made() {
    let Some(openssl) = peer("openssl") else { return };
    let dir = TempDir::new().unwrap();
    assert!(cert(&dir, &["csr", "a.test", "b.test"]).status.success());
    assert!(cert(&dir, &["self-signed", "c.test"]).status.success());
    let run = |args: &[&str]| {
        let output = Command::new(&openssl).args(args).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        said(&output)
    };
    let request = run(&["req", "-in", "a.test.csr", "-verify", "-noout", "-text"]);
    assert!(request.contains("DNS:a.test, DNS:b.test"), "{request}");
    run(&["verify", "-CAfile", "c.test.pem", "c.test.pem"]);
}

#[test]
fn what_an_acme_keeps_is_listed_soonest_to_expire_first() {
    let dir = TempDir::new().unwrap();
    for (name, days) in [("b.test", "3"), ("a.test", "9"), ("*.c.test", "1")] {
        assert!(cert(&dir, &["self-signed", name, "--days", days]).status.success());
        let file = name.replace('*', "_");
        let pem = std::fs::read_to_string(dir.path().join(format!("{file}.pem"))).unwrap();
        let kept = format!("ca: https://ca.test/dir\n{pem}");
        dir.write(format!("acme/certificates/{file}.pem"), kept).unwrap();
    }
    let listed = said(&cert(&dir, &["list", "acme"]));
    let lines: Vec<_> = listed.lines().collect();
    let starts = ["*.c.test  ", "b.test  ", "a.test  "];
    assert!(
        lines.len() == 3 && starts.iter().zip(&lines).all(|(s, l)| l.starts_with(s)),
        "{listed}"
    );
    assert!(lines[2].ends_with("(8 days left)  from https://ca.test/dir"), "{listed}");
    assert_eq!(cert(&dir, &["list", "nowhere"]).status.code(), Some(1));
}
