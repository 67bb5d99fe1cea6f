//! Certificates that servers obtain by themselves, from a CA that nobody here wrote.

mod pebble;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hemi_test::raw::Client;
use hemi_test::{TempDir, eventually, poll};
use rustls::ClientConfig;

use self::pebble::Pebble;
use crate::site::{PATIENCE, Site};

/// Two servers, as everybody has them, at the ports where the CA looks.
fn config(pebble: &Pebble, store: &Path, hosts: &str, acme: &str) -> String {
    config_at(pebble.ports(), store, hosts, acme)
}

fn config_at([tls, http]: [u16; 2], store: &Path, hosts: &str, acme: &str) -> String {
    format!(
        r#"stage {{
            acme "main" {{ .storeDir = "{}"  .email = "me@a.test"  {acme} }}
            webapp "one" {{
                .hostnames = ({hosts})  .acme = "main"
                rule {{ .returnCode = 200  .returnText = $hostname }}
            }}
            webapp "plain" {{
                .hostnames = ("*")
                rule $query_domain == ("a.ask.test", "b.ask.test") {{ .returnCode = 204 }}
                rule {{ .returnCode = 403 }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:{tls}"  .webapps = ("one")  .tlsMode = true }}
            httpxServer "plain" {{ .address = "127.0.0.1:{http}"  .webapps = ("plain") }}
        }}"#,
        store.display()
    )
}

/// Asks for the page of a host; the certificate it has shown.
fn visit(port: u16, host: &str, client: &Arc<ClientConfig>) -> std::io::Result<Vec<u8>> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = Client::connect_tls(addr, host, client)?;
    client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))?;
    let reply = client.read_response()?;
    assert_eq!((reply.status, reply.text()), (200, host.to_owned()));
    let certificates = client.tls().and_then(|tls| tls.peer_certificates());
    Ok(certificates.and_then(|all| all.first().map(|first| first.to_vec())).unwrap_or_default())
}

/// Waits until a host is served with a certificate that is believed.
#[track_caller]
fn expect_served(site: &Site, port: u16, host: &str, client: &Arc<ClientConfig>) -> Vec<u8> {
    let mut last = String::new();
    let served =
        poll(PATIENCE, || visit(port, host, client).map_err(|e| last = e.to_string()).ok());
    served.unwrap_or_else(|| panic!("{host} is not served: {last}; {:?}", error(site, host)))
}

/// What a component of kind `acme` measures, over all names.
fn measured(site: &Site, name: &str) -> f64 {
    let measures = site.status().measures;
    measures.series(name).filter_map(|(_, value)| value.number()).sum()
}

/// Why there is no certificate for a name.
fn error(site: &Site, name: &str) -> Option<String> {
    let measures = site.status().measures;
    let mut series = measures.series("hemi_acme_error");
    let found = series.find(|(labels, _)| labels.value("name") == Some(name));
    found.and_then(|(labels, _)| labels.value("error").map(str::to_owned))
}

#[test]
fn each_challenge_is_answered_though_nonces_are_refused() {
    let Some(pebble) = Pebble::start(90 * 24 * 3600, 30) else { return };
    let believer = pebble.believer();
    let (ca, hook) = (pebble.ca(".profile = \"default\""), pebble.hook());
    for (hosts, challenge, asked) in [
        (r#""tls.a.test""#, r#".challenges = ("tlsAlpn01")"#.to_owned(), "tls.a.test"),
        (r#""http.a.test", "b.a.test""#, r#".challenges = ("http01")"#.to_owned(), "b.a.test"),
        (
            r#""*.dns.test", "dns.test""#,
            format!(r#".challenges = ("dns01")  .dnsHook = {hook}"#),
            "any.dns.test",
        ),
    ] {
        let store = TempDir::new().unwrap();
        let config = config(&pebble, store.path(), hosts, &format!("{challenge} {ca}"));
        let site = Site::of(&config);
        let shown = expect_served(&site, pebble.tls_port, asked, &believer);
        for host in hosts.split(", ").map(|host| host.trim_matches('"').replace('*', "x")) {
            expect_served(&site, pebble.tls_port, &host, &believer);
        }
        for file in std::fs::read_dir(store.path().join("certificates")).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let answers = || std::fs::read_dir(store.path().join("challenges")).unwrap().count();
        assert!(eventually(PATIENCE, || answers() == 0), "{} answers are left", answers());
        let names = hosts.split(", ").count();
        assert!(eventually(PATIENCE, || measured(&site, "hemi_acme_issued") == names as f64));
        let expiry = measured(&site, "hemi_tls_certificate_expiry_seconds") / names as f64;
        assert!(expiry > 1.7e9, "{expiry}");
        site.quit();
        // What is kept is shown at once, with nobody to ask.
        let again = Site::of(&config.replace(&ca, ""));
        assert_eq!(visit(pebble.tls_port, asked, &believer).unwrap(), shown);
        again.quit();
    }
    let calls = pebble.hook_calls();
    assert!(calls.contains("zone present _acme-challenge.dns.test\n"), "{calls}");
    let count = |what| calls.matches(what).count();
    assert_eq!((count("present"), count("cleanup")), (2, 2), "{calls}");
}

#[test]
fn certificates_are_renewed_under_load_and_no_request_is_lost() {
    let Some(pebble) = Pebble::start(45, 0) else { return };
    let believer = pebble.believer();
    let store = TempDir::new().unwrap();
    // Without it Pebble takes any.
    let ca = pebble.ca(r#".profile = "default""#);
    let site = Site::of(&config(&pebble, store.path(), r#""a.test""#, &ca));
    let first = expect_served(&site, pebble.tls_port, "a.test", &believer);
    let (stop, port) = (Arc::new(AtomicBool::new(false)), pebble.tls_port);
    let visitors: Vec<_> = (0..2)
        .map(|_| {
            let (stop, believer) = (stop.clone(), believer.clone());
            thread::spawn(move || {
                let mut visits = 0;
                while !stop.load(Ordering::Relaxed) {
                    // One that is shown has not expired.
                    visit(port, "a.test", &believer).unwrap();
                    visits += 1;
                }
                visits
            })
        })
        .collect();
    let renewed = eventually(PATIENCE * 2, || measured(&site, "hemi_acme_issued") >= 2.0);
    assert_ne!(visit(port, "a.test", &believer).unwrap(), first);
    stop.store(true, Ordering::Relaxed);
    let visits: u32 = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
    assert!(renewed, "{:?}", error(&site, "a.test"));
    assert!(visits > 100, "{visits}");
}

#[test]
fn a_certificate_is_renewed_when_its_ca_wants_that() {
    let Some(pebble) = Pebble::start(90 * 24 * 3600, 0) else { return };
    let believer = pebble.believer();
    let store = TempDir::new().unwrap();
    let config = config(&pebble, store.path(), r#""a.test""#, &pebble.ca(""));
    let site = Site::of(&config);
    let first = expect_served(&site, pebble.tls_port, "a.test", &believer);
    site.quit();
    pebble.wants_renewal(&first);
    // It is asked within half a minute.
    let site = Site::of(&config);
    let renewed = eventually(PATIENCE * 2, || measured(&site, "hemi_acme_issued") == 1.0);
    assert!(renewed, "{:?}", error(&site, "a.test"));
    assert_ne!(visit(pebble.tls_port, "a.test", &believer).unwrap(), first);
}

#[test]
fn a_ca_that_is_down_and_a_challenge_that_fails_are_not_the_end() {
    let Some(pebble) = Pebble::start(90 * 24 * 3600, 0) else { return };
    let believer = pebble.believer();
    let store = TempDir::new().unwrap();
    let down = format!("ca {{ .directory = \"https://127.0.0.1:{}/dir\" }}", closed_port());
    let ca = pebble.ca("");
    // The CA looks for TLS where nobody is, and finds the other answer.
    let wrong = [closed_port(), pebble.ports()[1]];
    let site = Site::of(&config_at(wrong, store.path(), r#""a.test""#, &format!("{down} {ca}")));
    expect_served(&site, wrong[0], "a.test", &believer);
    site.quit();
    // Now nothing is found at all.
    let ports = [closed_port(), closed_port()];
    let acme = format!(".retryPause = 200ms {ca}");
    let mut site = Site::of(&config_at(ports, store.path(), r#""a.test", "b.test""#, &acme));
    let told = poll(PATIENCE, || error(&site, "b.test")).unwrap();
    assert!(told.contains("did not find the answer to http-01"), "{told}");
    assert!(eventually(PATIENCE, || measured(&site, "hemi_acme_failures") >= 2.0));
    visit(ports[0], "a.test", &believer).unwrap();
    let refused = visit(ports[0], "b.test", &believer).unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    assert!(eventually(PATIENCE, || site.counter("no_certificate") > 0));
    // Until there is one, another is shown, if that is wished.
    site.load(&config_at(
        ports,
        store.path(),
        r#""a.test", "b.test""#,
        &format!(".placeholder = true {acme}"),
    ))
    .unwrap();
    let shown = || visit(ports[0], "b.test", &believer).unwrap_err().to_string();
    assert!(eventually(PATIENCE, || shown().contains("UnknownIssuer")), "{}", shown());
}

fn closed_port() -> u16 {
    hemi_test::free_port().unwrap()
}

#[test]
fn hosts_have_certificates_on_demand_if_that_is_allowed() {
    let Some(pebble) = Pebble::start(90 * 24 * 3600, 0) else { return };
    let believer = pebble.believer();
    let store = TempDir::new().unwrap();
    let ask = format!(".askUrl = \"http://127.0.0.1:{}/\"", pebble.http_port);
    let acme = format!("{ask}  .onDemandPerHour = 1  {}", pebble.ca(""));
    let site = Site::of(&config(&pebble, store.path(), r#""*.ask.test""#, &acme));
    // The first to come waits for it.
    let port = pebble.tls_port;
    visit(port, "a.ask.test", &believer).unwrap();
    for (host, why) in [("c.ask.test", "not allowed"), ("b.ask.test", "too many")] {
        let refused = visit(port, host, &believer).unwrap_err();
        assert!(refused.to_string().contains("UnrecognisedName"), "{host} ({why}): {refused}");
    }
    assert_eq!(measured(&site, "hemi_acme_issued"), 1.0);
    site.quit();
    let again = Site::of(&config(&pebble, store.path(), r#""*.ask.test""#, &acme));
    visit(port, "a.ask.test", &believer).unwrap();
    assert_eq!(measured(&again, "hemi_acme_issued"), 0.0);
}

#[test]
fn instances_that_share_a_directory_order_once() {
    let Some(pebble) = Pebble::start(90 * 24 * 3600, 0) else { return };
    let believer = pebble.believer();
    let store = TempDir::new().unwrap();
    let hosts = r#""a.test", "b.test", "c.test""#;
    let acme = pebble.ca("");
    let first = Site::of(&config(&pebble, store.path(), hosts, &acme));
    let other = [closed_port(), closed_port()];
    let second = Site::of(&config_at(other, store.path(), hosts, &acme));
    for host in ["a.test", "b.test", "c.test"] {
        let shown = expect_served(&first, pebble.tls_port, host, &believer);
        assert_eq!(expect_served(&second, other[0], host, &believer), shown);
    }
    let issued = measured(&first, "hemi_acme_issued") + measured(&second, "hemi_acme_issued");
    assert_eq!(issued, 3.0);
}

#[test]
fn accounts_are_bound_and_made_anew_and_chains_chosen() {
    let Some(pebble) = Pebble::start_as(90 * 24 * 3600, 0, true) else { return };
    let (believer, root) = pebble.believer_of(1);
    let (store, hosts) = (TempDir::new().unwrap(), r#""a.test""#);
    let config =
        |ca: &str| config(&pebble, store.path(), hosts, &format!(".keyType = \"rsa2048\"  {ca}"));
    let site = Site::of(&config(&pebble.ca("")));
    let told = poll(PATIENCE, || error(&site, "a.test")).unwrap();
    assert!(told.contains(".eabKeyId"), "{told}");
    site.quit();
    let properties =
        format!("{}  .profile = \"short\"  .preferredChain = \"{root}\"", Pebble::binding());
    let good = config(&pebble.ca(&properties));
    let site = Site::of(&good);
    expect_served(&site, pebble.tls_port, "a.test", &believer);
    let left = measured(&site, "hemi_tls_certificate_expiry_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(left - now.as_secs_f64() < 700.0, "{left}");
    site.quit();
    // The CA knows the account no more.
    let accounts = std::fs::read_dir(store.path().join("accounts")).unwrap();
    let file = accounts.map(|file| file.unwrap().path()).next().unwrap();
    let account = std::fs::read_to_string(&file).unwrap();
    let (url, rest) = account.split_once('\n').unwrap();
    std::fs::write(&file, format!("{url}0000\n{rest}")).unwrap();
    std::fs::remove_file(store.path().join("certificates/a.test.pem")).unwrap();
    let site = Site::of(&good);
    expect_served(&site, pebble.tls_port, "a.test", &believer);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), account);
}
