//! Forms of all kinds, from curl and in raw bytes; what they may hold; cookies.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hemi_core::config::Size;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_test::{Reply as Answer, TempDir, peer};
use hemi_web::{
    FormError, FormLimits, Handlet, HandletRegistry, MultipartConfig, Reply, Request, Response,
    SameSite, SetCookie,
};
use serde::Deserialize;

use crate::site::Site;

pub(crate) fn register(registry: &mut Registry) {
    registry.handlet::<Forms>();
}

/// Reads forms as the path says, and tells what was in them.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
struct FormsConfig {
    /// Where saved files are kept until they get their place.
    dir: PathBuf,
    /// Where files get their place.
    place: PathBuf,
    /// Bytes of a form with parts.
    #[serde(default = "large")]
    size: Size,
    /// Bytes of a file.
    #[serde(default = "large")]
    file_size: Size,
    /// Bytes of a field.
    #[serde(default = "large")]
    field_size: Size,
    /// Parts of a form.
    #[serde(default = "thousand")]
    parts: usize,
}

fn large() -> Size {
    Size(64 << 20)
}

fn thousand() -> usize {
    1_000
}

struct Forms {
    config: Arc<MultipartConfig>,
    place: PathBuf,
}

impl Component for Forms {
    const SIGN: &'static str = "forms";
    type Config = FormsConfig;

    fn create(config: FormsConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let parts = MultipartConfig {
            size: config.size.0,
            file_size: config.file_size.0,
            field_size: config.field_size.0,
            parts: config.parts,
            dir: config.dir,
            ..MultipartConfig::default()
        };
        Ok(Self { config: Arc::new(parts), place: config.place })
    }
}

impl Lifecycle for Forms {}

impl Handlet for Forms {
    async fn handle(&self, req: &mut Request) -> Reply {
        let told = match req.path() {
            "/form" => pairs(req).await,
            "/typed" => typed(req).await,
            "/cookies" => return cookies(req),
            "/text" | "/chunks" | "/save" | "/vanish" | "/skip" => self.parts(req).await,
            _ => return Reply::Next,
        };
        match told {
            Ok(told) => told.into(),
            Err(e) => Response::text(e.to_string()).with_status(e.status()).into(),
        }
    }
}

async fn pairs(req: &mut Request) -> std::result::Result<String, FormError> {
    let form = req.form(FormLimits { size: 100, fields: 3 }).await?;
    let mut told = String::new();
    for (name, value) in form.pairs() {
        writeln!(told, "{name}={value}").unwrap();
        assert!(form.values(&name).any(|other| other == value));
        assert_eq!(form.value(&name), form.values(&name).next());
    }
    assert_eq!(form.value("absent"), None);
    Ok(told)
}

/// What a form is read as.
#[derive(Debug, Deserialize)]
struct Order {
    count: u32,
    #[serde(default)]
    extra: Vec<String>,
    note: Option<String>,
}

async fn typed(req: &mut Request) -> std::result::Result<String, FormError> {
    let Order { count, extra, note } = req.form(FormLimits::default()).await?.read()?;
    Ok(format!("{count} {extra:?} {note:?}"))
}

fn cookies(req: &Request) -> Reply {
    let told: Vec<_> = req.cookies().map(|(name, value)| format!("{name}={value}")).collect();
    let set = SetCookie::new("__Host-a", "b").unwrap().same_site(SameSite::Lax);
    let removed = SetCookie::new("c", "").unwrap().path("/").unwrap();
    let told = format!("{}; first a: {:?}", told.join(" "), req.cookie("a"));
    Response::text(told).cookie(&set).remove_cookie(removed).into()
}

impl Forms {
    async fn parts(&self, req: &mut Request) -> std::result::Result<String, FormError> {
        let how = req.path().to_owned();
        let mut form = req.multipart(self.config.clone())?;
        let mut told = String::new();
        while let Some(mut part) = form.next_part().await? {
            write!(told, "{}", part.name()).unwrap();
            if part.is_file() {
                write!(told, " {:?} {:?}", part.file_name(), part.content_type()).unwrap();
                assert_eq!(
                    part.headers().contains_key("content-type"),
                    part.content_type().is_some()
                );
            }
            match &*how {
                "/text" => write!(told, "={}", part.text().await?).unwrap(),
                "/chunks" => {
                    let mut size = 0;
                    while let Some(data) = part.chunk().await? {
                        size += data.len();
                    }
                    assert!(part.chunk().await?.is_none());
                    write!(told, ": {size}").unwrap();
                }
                // One piece of it if it is short, and the rest never.
                "/skip" => drop(part.chunk().await),
                _ => {
                    let file = part.save().await?;
                    write!(told, ": {}", file.size()).unwrap();
                    if how == "/save" {
                        let place = self.place.join(file.name());
                        file.persist(place).await?;
                    } else {
                        let size = file.size();
                        let content = file.into_body().bytes(size).await?;
                        assert_eq!(content.len() as u64, size);
                    }
                }
            }
            told.push('\n');
        }
        assert!(form.next_part().await?.is_none());
        Ok(told)
    }
}

/// A site with such a handlet, and the directories of its files.
struct Files {
    site: Site,
    dir: TempDir,
    place: TempDir,
}

impl Files {
    fn with(properties: &str) -> Self {
        let (dir, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let config = format!(
            r#"stage {{
                webapp "forms" {{
                    .hostnames = ("*")
                    .maxBodySize = 64M
                    rule {{ forms {{ .dir = "{}/made"  .place = "{}"  {properties} }}  probe {{}} }}
                }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("forms") }}
            }}"#,
            dir.path().display(),
            place.path().display(),
        );
        Self { site: Site::of(&config), dir, place }
    }

    fn post(&self, path: &str, media_type: &str, content: &str) -> Answer {
        let mut client = self.site.connect();
        let len = content.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n");
        client.send(format!("{head}content-type: {media_type}\r\n\r\n{content}")).unwrap();
        client.read_response().unwrap()
    }

    fn post_parts(&self, path: &str, content: &str) -> Answer {
        self.post(path, "multipart/form-data; boundary=b", content)
    }

    #[track_caller]
    fn expect_no_temporary_file(&self) {
        let left = || fs::read_dir(self.dir.path().join("made")).into_iter().flatten().count();
        assert!(hemi_test::eventually(crate::site::PATIENCE, || left() == 0), "{} left", left());
    }
}

/// Bytes that hold much of what looks like a boundary.
fn content(len: usize) -> Vec<u8> {
    let mut seed = 1_u32;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match seed >> 24 {
            0..32 => bytes.extend_from_slice(b"\r\n------"),
            32..48 => bytes.push(b'\r'),
            random => bytes.push(random as u8),
        }
    }
    bytes.truncate(len);
    bytes
}

fn curl(program: &Path, site: &Site, path: &str, forms: &[String]) -> String {
    let mut curl = Command::new(program);
    curl.args(["-sS", "--max-time", "30"]).arg(format!("http://{}{path}", site.addr()));
    for form in forms {
        curl.args(["-F", form]);
    }
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn files_that_curl_sends() {
    let Some(program) = peer("curl") else { return };
    let files = Files::with("");
    let sources = TempDir::new().unwrap();
    let kib = 1 << 10;
    let sizes = [0, 1, 64 * kib - 1, 64 * kib, 64 * kib + 1, 256 * kib, 256 * kib + 1, 30_000_000];
    for size in sizes {
        let content = content(size);
        let source = sources.write("a \"b\".bin", &content).unwrap();
        let source = source.display().to_string().replace('"', "\\\"");
        let forms = [
            "title=some text".to_owned(),
            format!("file=@\"{source}\";type=image/x"),
            format!("other=@\"{source}\";filename=../c/d.e"),
        ];
        let told = format!(
            "title: 9\nfile Some(\"a \\\"b\\\".bin\") Some(\"image/x\"): {size}\n\
             other Some(\"d.e\") Some(\"application/octet-stream\"): {size}\n"
        );
        assert_eq!(curl(&program, &files.site, "/save", &forms), told);
        assert_eq!(fs::read(files.place.path().join("title")).unwrap(), b"some text");
        for name in ["file", "other"] {
            assert!(fs::read(files.place.path().join(name)).unwrap() == content, "{name}, {size}");
        }
        assert_eq!(curl(&program, &files.site, "/vanish", &forms), told);
        assert_eq!(curl(&program, &files.site, "/chunks", &forms), told);
    }
    files.expect_no_temporary_file();
    assert_eq!(fs::read_dir(files.place.path()).unwrap().count(), 3);
}

#[test]
fn many_parts_that_curl_sends() {
    let Some(program) = peer("curl") else { return };
    let files = Files::with(".parts = 500");
    let forms: Vec<_> = (0..501).map(|number| format!("n{number}=v{number}")).collect();
    let told = forms[..500].join("\n") + "\n";
    assert_eq!(curl(&program, &files.site, "/text", &forms[..500]), told);
    assert_eq!(curl(&program, &files.site, "/text", &forms), "too many parts");
}

/// The head of a part.
fn part(name: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n")
}

#[test]
fn parts_are_read_whatever_becomes_of_the_one_before() {
    let files = Files::with("");
    let (f, g) = (part("f; filename=\"\""), part("g"));
    let long = "x".repeat(200_000);
    let message = format!("{f}{long}\r\n{g}{long}\r\n{f}\r\n--b--\r\n");
    let answer = files.post_parts("/skip", &message);
    assert_eq!(answer.text(), "f None None\ng\nf None None\n");
    let answer = files.post_parts("/chunks", &message);
    assert_eq!(answer.text(), "f None None: 200000\ng: 200000\nf None None: 0\n");
    assert_eq!(answer.header("connection"), None);
}

#[test]
fn parts_in_the_smallest_pieces() {
    let files = Files::with("");
    let message = format!("{}a\r\n{}\r\n--\r\n--b--\r\n", part("f"), part("g"));
    let mut client = files.site.connect();
    client.send("POST /text HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n").unwrap();
    client.send("content-type: multipart/form-data; boundary=b\r\n\r\n").unwrap();
    for byte in message.bytes() {
        client.send([b"1\r\n", &[byte][..], b"\r\n"].concat()).unwrap();
    }
    client.send("0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "f=a\ng=\r\n--\n");
    // The connection goes on after it.
    client.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "now");
}

#[test]
fn malformed_forms_are_answered() {
    let files = Files::with("");
    let (f, end) = (part("f"), "\r\n--b--\r\n");
    #[rustfmt::skip]
    let rows: &[(u16, String, &str)] = &[
        (400, String::new(), "content is incomplete"),
        (400, "nothing of the kind".to_owned(), "content is incomplete"),
        (400, f.clone(), "content is incomplete"),
        (400, format!("{f}a\r\n--b"), "content is incomplete"),
        (400, format!("{f}a\n--b--"), "content is incomplete"),
        (400, "--b\n".to_owned(), "malformed delimiter"),
        (400, format!("{f}a\r\n--bb{end}"), "malformed delimiter"),
        (400, format!("--b\r\n\r\n{end}"), "missing or malformed disposition of a part"),
        (400, format!("{}{end}", part("")), "missing or malformed disposition of a part"),
        (400, format!("--b\r\nA\r\n\r\n{end}"), "malformed head of a part"),
        (413, format!("--b\r\nA: {}{f}", "x".repeat(8 << 10)), "head of a part is too large"),
        (413, "x".repeat(9 << 10), "too much around the parts"),
        (415, f.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n"), "part in a transfer encoding"),
    ];
    for (status, message, text) in rows {
        for path in ["/text", "/chunks", "/save", "/skip"] {
            let answer = files.post_parts(path, message);
            assert_eq!((answer.status, &*answer.text()), (*status, *text), "{path} {message:?}");
        }
    }
    for (status, media_type) in [
        (415, "text/plain"),
        (415, "application/x-www-form-urlencoded"),
        (415, "multipart/mixed; boundary=b"),
        (415, "multipart/form-data; boundary=b\r\ncontent-encoding: gzip"),
        (415, "multipart/form-data; boundary=b\r\ncontent-type: multipart/form-data; boundary=c"),
        (400, "multipart/form-data"),
        (400, "multipart/form-data; boundary="),
        (400, "multipart/form-data; boundary=\"b"),
    ] {
        assert_eq!(files.post("/text", media_type, end).status, status, "{media_type}");
    }
    let invalid = files.post_parts("/text", &format!("{}\u{e9}{end}", part("f")));
    assert_eq!(invalid.text(), "f=é\n");
    files.site.expect_alive();
}

#[test]
fn a_text_that_is_none() {
    let files = Files::with("");
    let mut client = files.site.connect();
    let head =
        "POST /text HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n";
    let message = [part("f").as_bytes(), b"\xff\r\n--b--"].concat();
    client.send(format!("{head}content-length: {}\r\n\r\n", message.len())).unwrap();
    client.send(message).unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!((answer.status, &*answer.text()), (400, "the field \"f\" is not UTF-8"));
}

#[test]
fn each_limit_of_parts() {
    let files = Files::with(".size = 1000  .fileSize = 300  .fieldSize = 200  .parts = 3");
    let message = |name: &str, len: usize| format!("{}{}\r\n--b--", part(name), "x".repeat(len));
    let (field, file) = ("f", "f; filename=a");
    #[rustfmt::skip]
    let rows: &[(&str, String, u16, &str)] = &[
        ("/text", message(field, 200), 200, ""),
        ("/text", message(field, 201), 413, "the field is longer than 200 bytes"),
        ("/save", message(field, 201), 413, "the field is longer than 200 bytes"),
        ("/save", message(file, 300), 200, ""),
        ("/save", message(file, 301), 413, "the file is longer than 300 bytes"),
        ("/chunks", message(file, 301), 413, "the file is longer than 300 bytes"),
        // A file in memory is measured as a field.
        ("/text", message(file, 201), 413, "the part is longer than 200 bytes"),
        ("/skip", message(file, 900), 200, ""),
        ("/skip", message(file, 1000), 413, "the form is longer than 1000 bytes"),
        ("/text", part("f").repeat(3) + "--b--", 200, ""),
        ("/text", part("f").repeat(4) + "--b--", 413, "too many parts"),
    ];
    for (path, message, status, text) in rows {
        let answer = files.post_parts(path, message);
        assert_eq!(answer.status, *status, "{path} {message}");
        if *status != 200 {
            assert_eq!(answer.text(), *text);
        }
        // Where the length is not known before, the limit is found all the same.
        let mut client = files.site.connect();
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
                 content-type: multipart/form-data; boundary=b\r\n\r\n{:x}\r\n{message}\r\n0\r\n\r\n",
                message.len(),
            ))
            .unwrap();
        assert_eq!(client.read_response().unwrap().status, *status, "{path} {message}");
    }
    files.expect_no_temporary_file();
}

#[test]
fn files_of_uploads_that_break_vanish() {
    let files = Files::with("");
    let head =
        "POST /save HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n";
    let mut cut = files.site.connect();
    cut.send(format!("{head}content-length: 10000000\r\n\r\n{}", part("f; filename=a"))).unwrap();
    cut.send("x".repeat(3_000_000)).unwrap();
    cut.reset().unwrap();
    files.site.expect_idle();
    // Nor does a part that has come as a whole get its place if it has none.
    let nowhere = part("../absent/f; filename=a").replace("../absent/f", "\"../absent/f\"");
    let answer = files.post_parts("/save", &format!("{nowhere}{}\r\n--b--", "x".repeat(1_000_000)));
    assert_eq!(answer.status, 500);
    files.expect_no_temporary_file();
    assert_eq!(fs::read_dir(files.place.path()).unwrap().count(), 0);
    files.site.expect_alive();
}

#[test]
fn forms_without_files() {
    let files = Files::with("");
    let urlencoded = "application/x-www-form-urlencoded";
    for (content, told) in [
        ("", ""),
        ("a=1&b=c+d%26", "a=1\nb=c d&\n"),
        ("a=1&a=2&a=%C3%A9", "a=1\na=2\na=é\n"),
        ("%ff=%", "\u{fffd}=%\n"),
    ] {
        assert_eq!(files.post("/form", urlencoded, content).text(), told, "{content}");
    }
    let charset = format!("{}; charset=UTF-8", urlencoded.to_uppercase());
    assert_eq!(files.post("/form", &charset, "a=1").text(), "a=1\n");
    for (status, media_type, content) in [
        (200, urlencoded, format!("a={}", "x".repeat(98))),
        (413, urlencoded, format!("a={}", "x".repeat(99))),
        (200, urlencoded, "a&b&&c&".to_owned()),
        (413, urlencoded, "a&b&c&d".to_owned()),
        (415, "text/plain", "a=1".to_owned()),
        (415, "multipart/form-data; boundary=b", "--b--".to_owned()),
        (415, "application/x-www-form-urlencoded\r\ncontent-encoding: br", "a=1".to_owned()),
    ] {
        let answer = files.post("/form", media_type, &content);
        assert_eq!(answer.status, status, "{media_type} {content}");
    }
    for (status, content, told) in [
        (200, "count=3&extra=a&extra=b&note=c", "3 [\"a\", \"b\"] Some(\"c\")"),
        (200, "count=3", "3 [] None"),
        (200, "extra=a&unknown=b&count=4", "4 [\"a\"] None"),
        (400, "count=x", "the fields can't be read: "),
        (400, "", "the fields can't be read: missing field `count`"),
    ] {
        let answer = files.post("/typed", urlencoded, content);
        assert_eq!(answer.status, status, "{content}");
        assert!(answer.text().starts_with(told), "{content}: {}", answer.text());
    }
}

#[test]
fn cookies_come_and_go() {
    let files = Files::with("");
    let mut client = files.site.connect();
    let cookies = "cookie: a=1; b=\"2\"\r\ncookie: a=3; bad\r\n";
    client.send(format!("GET /cookies HTTP/1.1\r\nhost: x\r\n{cookies}\r\n")).unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!(answer.text(), "a=1 b=\"2\" a=3; first a: Some(\"1\")");
    let set: Vec<_> = answer.header_values("set-cookie").collect();
    let epoch = "Thu, 01 Jan 1970 00:00:00 GMT";
    let removed = format!("c=; Path=/; Expires={epoch}; Max-Age=0");
    assert_eq!(set, ["__Host-a=b; Path=/; Secure; SameSite=Lax", &removed]);
}
