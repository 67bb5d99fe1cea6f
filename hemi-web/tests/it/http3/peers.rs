//! Clients that nobody here wrote.

use std::process::Command;

use hemi_test::peer::{self, modules};

use super::client::Setting;

/// Runs a client to its end; what it says then.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&error));
    said.into_owned()
}

#[test]
fn aioquic() {
    let Some(mut python) = modules::python("aioquic") else { return };
    let setting = Setting::new();
    let site = setting.site(".quicEarlyData = true");
    let script = setting.ca.dir().write("client.py", include_str!("client.py")).unwrap();
    python.arg(script).arg(site.addr().port().to_string()).arg(setting.ca.certificate());
    let said = output(&mut python);
    let expected =
        ["get", "echo", "trailers", "hints", "many", "moved", "connect", "early"].join("\n");
    assert_eq!(said.trim(), expected);
}

#[test]
fn chromium() {
    let Some(chromium) = peer::peer("chromium") else { return };
    let setting = Setting::new();
    let site = setting.site("");
    let (port, profile) = (site.addr().port(), setting.ca.dir().path().join("profile"));
    for (version, choice) in [
        ("HTTP/1.1", "--disable-http2".to_owned()),
        ("HTTP/2.0", "--disable-quic".to_owned()),
        ("HTTP/3.0", format!("--origin-to-force-quic-on=one.test:{port}")),
    ] {
        let mut browser = Command::new(&chromium);
        browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
        browser.arg(format!("--user-data-dir={}", profile.display()));
        browser.arg(format!("--host-resolver-rules=MAP one.test 127.0.0.1:{port}"));
        browser.arg(format!("--ignore-certificate-errors-spki-list={}", setting.spki()));
        browser.args([choice, format!("https://one.test:{port}/version")]);
        let said = output(&mut browser);
        assert!(said.contains(version), "{version}: {said}");
    }
}
