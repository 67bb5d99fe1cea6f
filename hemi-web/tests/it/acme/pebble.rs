//! Pebble, a CA for tests, and the DNS that it asks.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hemi_proto::x509::Certificate;
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{Program, TempDir, free_port, peer, poll};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use crate::site::PATIENCE;

/// A CA that runs, and where it looks for answers.
pub(super) struct Pebble {
    ca: Authority,
    pebble: Program,
    manage: SocketAddr,
    dns: Program,
    dir: TempDir,
    pub(super) tls_port: u16,
    pub(super) http_port: u16,
    /// Keeps others from taking these ports, until they are needed.
    held: Mutex<Vec<TcpListener>>,
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A key that accounts are bound by, and its id.
const KEY_ID: &str = "key-1";
const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Pebble {
    /// Properties of a `ca` by which accounts are bound.
    pub(super) fn binding() -> String {
        format!(".eabKeyId = \"{KEY_ID}\"  .eabKey = \"{KEY}\"")
    }

    /// Begins, unless it is not installed. Certificates are valid for so many seconds, and so many of a hundred
    /// nonces refused.
    pub(super) fn start(life: u64, refused: u32) -> Option<Self> {
        Self::start_as(life, refused, false)
    }

    /// The same; accounts must be bound to what it knows, by the properties of [`Pebble::binding`], or need not.
    pub(super) fn start_as(life: u64, refused: u32, bound: bool) -> Option<Self> {
        let (pebble, dns) = (peer("pebble")?, peer("pebble-challtestsrv")?);
        // Others may take a port before it is listened on.
        for _ in 0..5 {
            match Self::try_start(&pebble, &dns, life, refused, bound) {
                Err(e) if e.kind() == ErrorKind::AddrInUse => {}
                started => return Some(started.unwrap()),
            }
        }
        panic!("no free port");
    }

    fn try_start(
        pebble: &Path,
        dns: &Path,
        life: u64,
        refused: u32,
        bound: bool,
    ) -> io::Result<Self> {
        let held = [TcpListener::bind(local(0))?, TcpListener::bind(local(0))?];
        let [tls_port, http_port] = [held[0].local_addr()?.port(), held[1].local_addr()?.port()];
        let [port, manage, dns_port, dns_manage] = std::array::from_fn(|_| free_port().unwrap());
        let mut command = Command::new(dns);
        let dns_address = local(dns_port).to_string();
        command.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-doh", "", "-dnsserver", &dns_address]);
        command.args(["-management", &local(dns_manage).to_string()]);
        let dns = Program::start(command, local(dns_manage))?;
        let (ca, dir) = (Authority::new("pebble"), TempDir::new().unwrap());
        let identity = ca.server(&["127.0.0.1"], KeyKind::Ecdsa);
        let config = format!(
            r#"{{"pebble": {{
                "listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{manage}",
                "certificate": "{}", "privateKey": "{}", "httpPort": {http_port}, "tlsPort": {tls_port},
                "externalAccountBindingRequired": {bound},
                "externalAccountMACKeys": {{ "{KEY_ID}": "{KEY}" }},
                "retryAfter": {{ "authz": 1, "order": 1 }}, "keyAlgorithm": "ecdsa",
                "profiles": {{
                    "default": {{ "description": "", "validityPeriod": {life} }},
                    "short": {{ "description": "", "validityPeriod": 600 }}
                }}
            }}}}"#,
            identity.certificate.display(),
            identity.key.display()
        );
        let file = dir.write("pebble.json", config).unwrap();
        let mut command = Command::new(pebble);
        command.arg("-config").arg(file).args(["-strict", "-dnsserver", &dns_address]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        command.env("PEBBLE_WFE_NONCEREJECT", refused.to_string());
        command.env("PEBBLE_ALTERNATE_ROOTS", "1");
        let pebble = Program::start(command, local(port))?;
        let manage = local(manage);
        let held = Mutex::new(Vec::from(held));
        Ok(Self { ca, pebble, manage, dns, dir, tls_port, http_port, held })
    }

    /// The ports where it looks for answers, by TLS and in the clear: to be listened on now.
    pub(super) fn ports(&self) -> [u16; 2] {
        self.held.lock().unwrap().clear();
        [self.tls_port, self.http_port]
    }

    /// The component `ca` that asks it, with more properties.
    pub(super) fn ca(&self, properties: &str) -> String {
        let (port, ca) = (self.pebble.addr().port(), self.ca.certificate());
        format!(
            "ca {{ .directory = \"https://127.0.0.1:{port}/dir\"  .tlsTrustedCa = \"{}\"  {properties} }}",
            ca.display()
        )
    }

    /// A program that changes the DNS which it asks, and writes down each call.
    pub(super) fn hook(&self) -> String {
        let (manage, calls) = (self.dns.addr(), self.dir.path().join("calls"));
        let script = format!(
            "#!/bin/sh\n\
             echo \"$1 $2 $3\" >> {}\n\
             case $2 in present) do=set-txt;; cleanup) do=clear-txt;; *) exit 2;; esac\n\
             exec curl -sS --fail --data \"{{\\\"host\\\":\\\"$3.\\\",\\\"value\\\":\\\"$4\\\"}}\" http://{manage}/$do\n",
            calls.display()
        );
        let file = self.dir.write("hook.sh", script).unwrap();
        format!("(\"/bin/sh\", \"{}\", \"zone\")", file.display())
    }

    /// What that program was called with.
    pub(super) fn hook_calls(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
    }

    /// Has it say from now on that a certificate should have been renewed long ago (RFC 9773).
    pub(super) fn wants_renewal(&self, certificate: &[u8]) {
        let certificate = BASE64_STANDARD.encode(certificate);
        let asked = serde_json::json!({
            "Certificate": format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"),
            "ARIResponse": r#"{"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}"#,
        })
        .to_string();
        let config = Arc::new(self.ca.trusted_by(&[&TLS13], None));
        let mut client = Client::connect_tls(self.manage, "127.0.0.1", &config).unwrap();
        client.send("POST /set-renewal-info/ HTTP/1.1\r\nhost: x\r\nuser-agent: x\r\n").unwrap();
        client.send(format!("content-length: {}\r\n\r\n{asked}", asked.len())).unwrap();
        let reply = client.read_response().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// A client that believes only what it issues.
    pub(super) fn believer(&self) -> Arc<ClientConfig> {
        self.believer_of(0).0
    }

    /// One that believes only this root of it, and the root's name.
    pub(super) fn believer_of(&self, root: usize) -> (Arc<ClientConfig>, String) {
        let config = Arc::new(self.ca.trusted_by(&[&TLS13], None));
        // It listens there a little later.
        let connect = || Client::connect_tls(self.manage, "127.0.0.1", &config).ok();
        let mut client = poll(PATIENCE, connect).unwrap();
        client.send(format!("GET /roots/{root} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        let root = CertificateDer::from_pem_slice(&client.read_response().unwrap().body).unwrap();
        let name = Certificate::parse(&root).unwrap().subject.common_name().unwrap().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(&[&TLS13]);
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A session that is resumed tells of the certificate that it began with.
        config.resumption = Resumption::disabled();
        (Arc::new(config), name)
    }
}
