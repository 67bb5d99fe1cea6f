//! Clients that others have written.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hemi_test::peer;

use super::Setting;
use crate::site::Site;

#[test]
fn curl_is_served() {
    let Some(curl) = peer("curl") else { return };
    let setting = Setting::new();
    let site = setting.site("", "");
    let port = site.addr().port();
    for version in ["1.3", "1.2"] {
        let output = Command::new(&curl)
            .args(["--silent", "--show-error", "--tls-max", version, "--cacert"])
            .arg(setting.ca.certificate())
            .arg("--resolve")
            .arg(format!("a.one.test:{port}:127.0.0.1"))
            .arg(format!("https://a.one.test:{port}/now"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "now", "{output:?}");
    }
}

#[test]
fn openssl_is_served_but_not_by_what_is_broken() {
    let Some(openssl) = peer("openssl") else { return };
    let setting = Setting::new();
    let site = setting.site("", "");
    for (options, served) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], true),
        (&["-tls1_3", "-groups", "P-256"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], false),
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"], false),
    ] {
        let answer = s_client(&openssl, &site, &setting.ca.certificate(), options);
        assert_eq!(answer.contains("HTTP/1.1 200 OK"), served, "{options:?}: {answer}");
    }
}

fn s_client(openssl: &Path, site: &Site, ca: &Path, options: &[&str]) -> String {
    let mut client = Command::new(openssl)
        .args(["s_client", "-quiet", "-verify_return_error", "-servername", "one.test", "-CAfile"])
        .arg(ca)
        .arg("-connect")
        .arg(site.addr().to_string())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET /now HTTP/1.1\r\nhost: one.test\r\nconnection: close\r\n\r\n";
    // It may have failed already.
    let _ = client.stdin.as_mut().unwrap().write_all(request);
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
