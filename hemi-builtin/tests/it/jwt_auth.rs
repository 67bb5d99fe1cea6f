//! The handlet `jwtAuth`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hemi_test::{Reply, TempDir, eventually};
use serde_json::{Value, json};

use crate::server::{Running, ask, load, mistake, site, site_on};
use crate::upstream::{Act, Upstream, answer};

const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "a secret of more than 32 bytes, for HS256";

fn guarded(properties: &str) -> Running {
    site("", &rules(properties))
}

/// Shows what the request is given.
fn rules(properties: &str) -> String {
    format!(
        r#"rule {{ jwtAuth {{ {properties} }} }}
        rule {{ .returnCode = 200
            .returnText = "<" + $remoteUser + "> <" + $header_x_mail + "> <" + $header_x_roles + ">" }}"#
    )
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A token signed with the secret.
fn by_secret(claims: &Value) -> String {
    token(&json!({"alg": "HS256"}), claims, hs256)
}

fn hs256(signed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::sign(&key, signed).as_ref().to_vec()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn mia() -> Value {
    json!({"sub": "mia", "exp": now() + 3600})
}

fn with(server: &Running, token: &str) -> Reply {
    server.ask("GET", "/", &[&format!("Authorization: Bearer {token}")])
}

fn challenge(reply: &Reply) -> &str {
    reply.header("www-authenticate").unwrap_or_default()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn pem_of<K: AsDer<PublicKeyX509Der<'static>>>(key: &K) -> String {
    pem(key.as_der().unwrap().as_ref())
}

fn rsa(key: &RsaKeyPair, encoding: &'static dyn RsaEncoding, signed: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), signed, &mut signature).unwrap();
    signature
}

fn ec(key: &EcdsaKeyPair, signed: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec()
}

/// A key with an id, and tokens signed with it.
struct Signer {
    id: &'static str,
    key: Ed25519KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        Self { id, key: Ed25519KeyPair::generate().unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x, "use": "sig"})
    }

    fn token(&self) -> String {
        self.token_for("mia")
    }

    fn token_for(&self, name: &str) -> String {
        let claims = json!({"sub": name, "exp": now() + 3600});
        let header = json!({"alg": "EdDSA", "kid": self.id});
        token(&header, &claims, |signed| self.key.sign(signed).as_ref().to_vec())
    }
}

fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A server that has a set of keys, which the test may change, and how often it was asked for them.
struct KeyServer {
    set: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    upstream: Upstream,
}

impl KeyServer {
    fn start(set: String) -> Self {
        let (set, asked) = (Arc::new(Mutex::new(set)), Arc::new(AtomicUsize::new(0)));
        let (shown, count) = (set.clone(), asked.clone());
        let upstream = Upstream::start(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            match &**shown.lock().unwrap() {
                "" => answer("500 Oops", &[], ""),
                set => answer("200 OK", &[], set),
            }
        });
        Self { set, asked, upstream }
    }

    fn publish(&self, set: String) {
        *self.set.lock().unwrap() = set;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn property(&self) -> String {
        format!(".jwksUrl = \"http://{}/keys\"", self.upstream.addr())
    }
}

#[test]
fn keys_of_every_kind_verify_what_they_are_meant_for() {
    let dir = TempDir::new().unwrap();
    let rsa_key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa_pem = pem_of(rsa_key.public_key());
    let others = [pem_of(p384.public_key()), pem_of(ed.public_key())].concat();
    let one = dir.write("one.pem", format!("A key:\n{rsa_pem}")).unwrap();
    let two = dir.write("two.pem", pem_of(p256.public_key())).unwrap();
    let three = dir.write("three.pem", others).unwrap();
    let files =
        format!(r#".keys = ("{}", "{}", "{}")"#, one.display(), two.display(), three.display());
    let server = guarded(&files);
    let of = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| token(&json!({"alg": alg}), &mia(), sign);
    let rs256 = of("RS256", &|s| rsa(&rsa_key, &RSA_PKCS1_SHA256, s));
    let rs512 = of("RS512", &|s| rsa(&rsa_key, &RSA_PKCS1_SHA512, s));
    for token in [
        &rs256,
        &of("PS256", &|s| rsa(&rsa_key, &RSA_PSS_SHA256, s)),
        &of("ES256", &|s| ec(&p256, s)),
        &of("ES384", &|s| ec(&p384, s)),
        &of("EdDSA", &|s| ed.sign(s).as_ref().to_vec()),
    ] {
        for _ in 0..2 {
            assert_eq!(with(&server, token).text(), "<mia> <> <>");
        }
    }
    for (token, why) in [
        (&rs512, "is signed in a way that is not allowed"),
        (&of("none", &|_| Vec::new()), "is signed in a way that is not allowed"),
        (&of("NONE", &|_| Vec::new()), "is signed in a way that is not allowed"),
        (&of("rs256", &|s| rsa(&rsa_key, &RSA_PKCS1_SHA256, s)), "is not allowed"),
        // The public key is no secret.
        (
            &of("HS256", &|s| {
                let key = hmac::Key::new(hmac::HMAC_SHA256, rsa_pem.as_bytes());
                hmac::sign(&key, s).as_ref().to_vec()
            }),
            "is signed in a way that is not allowed",
        ),
        (&of("RS256", &|s| rsa(&rsa_key, &RSA_PSS_SHA256, s)), "no known key has signed"),
        (&of("ES256", &|s| rsa(&rsa_key, &RSA_PKCS1_SHA256, s)), "no known key has signed"),
        (&of("ES384", &|s| ec(&p256, s)), "no known key has signed"),
        (&of("ES256", &|_| vec![0; 64]), "no known key has signed"),
        (&of("EdDSA", &|_| Vec::new()), "no known key has signed"),
        (&format!("{rs256}AA"), "no known key has signed"),
        (&format!("{rs256}.AA"), "this is no token"),
        (&"x.y.z".to_owned(), "this is no token"),
        (&"e30.e30.AA".to_owned(), "the token has a bad header"),
    ] {
        let reply = with(&server, token);
        assert_eq!(reply.status, 401, "{token}");
        assert!(challenge(&reply).contains(why), "{token}: {}", challenge(&reply));
    }
    let server =
        guarded(&format!("{files}  .algorithms = (\"RS512\", \"ES256\", \"ES384\", \"EdDSA\")"));
    assert_eq!((with(&server, &rs512).status, with(&server, &rs256).status), (200, 401));
}

#[test]
fn who_has_no_good_token_is_told_why() {
    let server = guarded(&format!(".secret = \"{SECRET}\"  .realm = \"api\""));
    let good = by_secret(&mia());
    for (lines, status, expected) in [
        (vec![], 401, r#"Bearer realm="api""#),
        (vec!["Authorization: Bearer ".to_owned()], 401, r#"Bearer realm="api""#),
        (vec!["Authorization: Basic YTpi".to_owned()], 401, r#"Bearer realm="api""#),
        (
            vec![format!("Authorization: Bearer {good}.x")],
            401,
            r#"Bearer realm="api", error="invalid_token", error_description="this is no token""#,
        ),
        (
            vec![format!("Authorization: Bearer {good}"); 2],
            400,
            r#"Bearer realm="api", error="invalid_request""#,
        ),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let reply = server.ask("GET", "/", &lines);
        assert_eq!((reply.status, challenge(&reply)), (status, expected));
    }
    for line in
        [format!("Authorization: bEARER {good}"), format!("authorization: Bearer   {good} ")]
    {
        assert_eq!(server.ask("GET", "/", &[&line]).status, 200);
    }
}

#[test]
fn claims_and_headers_are_checked() {
    let strict = format!(
        r#".secret = "{SECRET}"  .issuers = ("me")  .audiences = ("a", "b")  .type = "at+jwt"
        .require = ("exp", "jti")"#
    );
    let server = guarded(&strict);
    let exp = now() + 3600;
    let claims =
        json!({"sub": "mia", "iss": "me", "aud": ["c", "b"], "exp": exp, "nbf": 0, "jti": 1});
    let changed = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    for (claims, why) in [
        (claims.clone(), ""),
        (changed("nbf", json!(now() + 30)), ""),
        (changed("exp", json!(now() - 30)), ""),
        (changed("exp", json!(now() - 61)), "the token has expired"),
        (changed("nbf", json!(now() + 120)), "is not valid yet"),
        (changed("exp", json!("never")), "a date is not a number"),
        (changed("exp", Value::Null), "a claim is missing"),
        (changed("jti", Value::Null), "a claim is missing"),
        (changed("iss", json!("you")), "another issuer"),
        (changed("aud", json!("c")), "another audience"),
        (json!([1]), "the token has no claims"),
    ] {
        let reply =
            with(&server, &token(&json!({"alg": "HS256", "typ": "AT+JWT"}), &claims, hs256));
        assert_eq!(reply.status, if why.is_empty() { 200 } else { 401 }, "{claims}");
        assert!(challenge(&reply).contains(why), "{claims}: {}", challenge(&reply));
    }
    for (header, why) in [
        (json!({"alg": "HS256", "typ": "application/at+jwt"}), ""),
        (json!({"alg": "HS256", "typ": "jwt"}), "another type"),
        (json!({"alg": "HS256"}), "another type"),
        (
            json!({"alg": "HS256", "typ": "at+jwt", "crit": ["b64"], "b64": false}),
            "needs what is not known",
        ),
        (json!({"alg": 1}), "bad header"),
        (json!([]), "bad header"),
    ] {
        let reply = with(&server, &token(&header, &claims, hs256));
        assert_eq!(reply.status, if why.is_empty() { 200 } else { 401 }, "{header}");
        assert!(challenge(&reply).contains(why), "{header}: {}", challenge(&reply));
    }
    // A token that was good is not for longer than it says.
    let server = guarded(&format!(".secret = \"{SECRET}\"  .leeway = 0s"));
    let soon = by_secret(&json!({"sub": "mia", "exp": now() + 2}));
    assert_eq!(with(&server, &soon).status, 200);
    assert!(eventually(SOON, || with(&server, &soon).status == 401));
    // Nobody in particular is not everybody.
    let for_someone = by_secret(&json!({"exp": exp, "aud": "c"}));
    assert!(challenge(&with(&server, &for_someone)).contains("another audience"));
}

#[test]
fn claims_become_the_user_and_fields_that_no_client_can_forge() {
    let server = guarded(&format!(
        r#".secret = "{SECRET}"  .userClaim = "name"
        .claimsToFields = ["mail": "x-mail", "roles": "x-roles"]"#
    ));
    let forged = ["X-Mail: eve@x.test", "x-roles: root"];
    let exp = now() + 3600;
    for (claims, shown) in [
        (
            json!({"exp": exp, "name": "zoë", "mail": "z@x.test", "roles": ["a", "b"]}),
            "<zoë> <z@x.test> <a, b>",
        ),
        (json!({"exp": exp, "name": 7, "sub": "mia"}), "<7> <> <>"),
        (json!({"exp": exp, "mail": "a\r\nx-roles: root", "roles": {"a": 1}}), "<> <> <>"),
    ] {
        let line = format!("Authorization: Bearer {}", by_secret(&claims));
        for _ in 0..2 {
            let reply = server.ask("GET", "/", &[&line, forged[0], forged[1]]);
            assert_eq!(reply.text(), shown);
        }
    }
}

#[test]
fn scopes_must_be_granted() {
    let server = guarded(&format!(".secret = \"{SECRET}\"  .scopes = (\"read\", \"write\")"));
    for (scope, status) in [(json!("write x read"), 200), (json!("read"), 403), (Value::Null, 403)]
    {
        let reply = with(&server, &by_secret(&json!({"exp": now() + 60, "scope": scope})));
        assert_eq!(reply.status, status, "{scope}");
        if status == 403 {
            let expected =
                r#"Bearer realm="restricted", error="insufficient_scope", scope="read write""#;
            assert_eq!(challenge(&reply), expected);
        }
    }
}

#[test]
fn a_token_may_be_in_one_other_place() {
    let server =
        guarded(&format!(".secret = \"{SECRET}\"  .cookie = \"jwt\"  .query = \"access_token\""));
    let good = by_secret(&mia());
    let (field, cookie) = (format!("Authorization: Bearer {good}"), format!("Cookie: jwt={good}"));
    let query = format!("/?a=b&access_token={good}");
    for (target, lines, status) in [
        ("/", &[&*field][..], 200),
        ("/", &[&cookie], 200),
        (&query, &[], 200),
        ("/", &[&field, &cookie], 400),
        (&query, &[&cookie], 400),
        ("/?access_token=x", &[], 401),
        ("/", &[], 401),
    ] {
        let reply = server.ask("GET", target, lines);
        assert_eq!(reply.status, status, "{target} {lines:?}");
        let private = (status == 200 && target != "/").then_some("private");
        assert_eq!(reply.header("cache-control"), private);
    }
    let server = guarded(&format!(".secret = \"{SECRET}\""));
    assert_eq!(server.ask("GET", &query, &[&cookie]).status, 401);
}

#[test]
fn more_tokens_than_are_remembered_are_good() {
    let server = site_on(1, "", &rules(&format!(".secret = \"{SECRET}\"")));
    let mut client = server.connect();
    let exp = now() + 3600;
    for number in (0..10_001).chain(0..3) {
        if number % 5_000 == 0 {
            client = server.connect();
        }
        let token = by_secret(&json!({"sub": number.to_string(), "exp": exp}));
        let reply = ask(&mut client, "GET", "/", &[&format!("Authorization: Bearer {token}")]);
        assert_eq!(reply.unwrap().text(), format!("<{number}> <> <>"));
    }
}

#[test]
fn a_file_of_keys_is_read_again_and_a_broken_one_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let file = dir.write("keys.json", jwks(&[&a])).unwrap();
    let server = guarded(&format!(".jwksFile = \"{}\"", file.display()));
    let (by_a, by_b) = (a.token(), b.token());
    let both = || [&by_a, &by_b].map(|token| with(&server, token).status);
    assert_eq!(both(), [200, 401]);
    dir.write("keys.json", jwks(&[&a, &b])).unwrap();
    assert!(eventually(SOON, || both() == [200, 200]));
    dir.write("keys.json", "{\"keys\": [").unwrap();
    assert_eq!(both(), [200, 200]);
    dir.write("keys.json", jwks(&[&b])).unwrap();
    // What was remembered of its tokens goes with a key.
    assert!(eventually(SOON, || both() == [401, 200]));
}

#[test]
fn keys_are_changed_under_load_and_no_good_token_is_refused() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let keys = KeyServer::start(jwks(&[&old]));
    let server = Arc::new(guarded(&keys.property()));
    assert_eq!(keys.asked(), 1);
    let current = Arc::new(Mutex::new(Arc::new(old)));
    let (stop, after) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (server, current) = (server.clone(), current.clone());
            let (stop, after) = (stop.clone(), after.clone());
            thread::spawn(move || {
                let mut connection = server.connect();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let signer = current.lock().unwrap().clone();
                    // Some are remembered, and some not.
                    number += 1;
                    let name = format!("{client}-{}", number / 3);
                    let line = format!("Authorization: Bearer {}", signer.token_for(&name));
                    let reply = ask(&mut connection, "GET", "/", &[&line]).unwrap();
                    assert_eq!(reply.text(), format!("<{name}> <> <>"), "by {}", signer.id);
                    if signer.id == "new" {
                        after.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let old = current.lock().unwrap().clone();
    keys.publish(jwks(&[&old, &new]));
    *current.lock().unwrap() = Arc::new(new);
    assert!(eventually(SOON, || after.load(Ordering::Relaxed) > 500));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(keys.asked(), 2);
    // Who makes keys up does not have them fetched each time.
    for _ in 0..50 {
        assert_eq!(with(&server, &Signer::new("unknown").token()).status, 401);
    }
    assert!(keys.asked() < 10, "{}", keys.asked());
}

#[test]
fn keys_are_fetched_now_and_then_and_last_while_they_cannot_be() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let keys = KeyServer::start(String::new());
    let server = guarded(&format!("{}  .refreshEvery = 1s", keys.property()));
    let (by_a, by_b) = (a.token(), b.token());
    assert_eq!(with(&server, &by_a).status, 503);
    assert_eq!(server.get("/").status, 401);
    keys.publish(jwks(&[&a]));
    assert!(eventually(SOON, || with(&server, &by_a).status == 200));
    for broken in [String::new(), "[".repeat(100_000), "x".repeat(1 << 21)] {
        keys.publish(broken);
        let before = keys.asked();
        assert!(eventually(SOON, || keys.asked() > before + 1));
        assert_eq!(with(&server, &by_a).status, 200);
    }
    keys.publish(jwks(&[&b]));
    assert!(eventually(SOON, || with(&server, &by_a).status == 401));
    assert_eq!(with(&server, &by_b).status, 200);
}

#[test]
fn keys_outlive_a_reload_while_they_cannot_be_fetched() {
    let a = Signer::new("a");
    let keys = KeyServer::start(jwks(&[&a]));
    let config = format!(
        r#"stage {{
            webapp "site" {{ .hostnames = ("*")  {} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#,
        rules(&keys.property())
    );
    let mut server = load(1, &config).unwrap();
    keys.publish(String::new());
    server.reload(&config);
    assert_eq!(with(&server, &a.token()).status, 200);
    assert_eq!(keys.asked(), 1);
}

#[test]
fn a_server_of_keys_that_says_nothing_is_not_waited_for() {
    let upstream = Upstream::start(|_| Act::Wait);
    let server = guarded(&format!(".jwksUrl = \"http://{}\"", upstream.addr()));
    assert_eq!(with(&server, &by_secret(&mia())).status, 503);
}

#[test]
fn mistakes_are_told() {
    let dir = TempDir::new().unwrap();
    let many = json!({"keys": vec![Signer::new("a").jwk(); 101]}).to_string();
    let rsa_1024 = json!({"keys": [{"kty": "RSA", "n": "A".repeat(170), "e": "AQAB"}]}).to_string();
    for (content, message) in [
        ("", "it is not a set of keys in JSON"),
        ("{}", "missing field `keys`"),
        (r#"{"keys": []}"#, "none of its keys can be used"),
        (
            r#"{"keys": [{"kty": "OKP", "crv": "Ed448", "x": "AA"}, 1]}"#,
            "none of its keys can be used",
        ),
        (&*rsa_1024, "none of its keys can be used"),
        (&*many, "it has more than 100 keys"),
    ] {
        let file = dir.write("keys.json", content).unwrap();
        let error = mistake("", &rules(&format!(".jwksFile = \"{}\"", file.display())));
        assert!(error.contains("keys.json: ") && error.contains(message), "{content}: {error}");
    }
    // On a curve that nobody uses for this.
    let secp256k1 = "-----BEGIN PUBLIC KEY-----\nMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE6mo20dheKQnvyjD4Sv/t2SVUdJK8Lre3\njQ/KaRArIdBMO4ULyLwhiHPXaGMAkm2XWqxsLJBdVABrb3YR1pB/zA==\n-----END PUBLIC KEY-----\n";
    for (content, message) in [
        ("", "it has no public key"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "it is not PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it has no public key"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "of a kind that none of the",
        ),
        (secp256k1, "of a kind that none of the"),
    ] {
        let file = dir.write("key.pem", content).unwrap();
        let error = mistake("", &rules(&format!(".keys = (\"{}\")", file.display())));
        assert!(error.contains("key.pem: ") && error.contains(message), "{content}: {error}");
    }
    for (properties, message) in [
        ("", "there are no keys"),
        (r#".secret = "too short""#, "the secret is too short: HS256 needs 32 bytes"),
        (r#".algorithms = ("HS256")  .keys = ("a.pem")"#, "HS256 needs a `.secret`"),
        (r#".algorithms = ("none")"#, "tokens are not verified by \"none\""),
        (r#".jwksUrl = "ftp://a.test/keys""#, "not a URL like"),
        (r#".keys = ("/no/such/file")"#, "cannot read /no/such/file"),
        (&*format!(".secret = \"{SECRET}\"  .scopes = (\"a b\")"), "a scope has letters"),
        (&*format!(".secret = \"{SECRET}\"  .realm = \"a\\nb\""), "a realm has no control"),
    ] {
        let error = mistake("", &rules(properties));
        assert!(error.contains(message), "{properties}: {error}");
    }
}
