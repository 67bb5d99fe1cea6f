//! What a backend is told of the client: the fields `x-forwarded-*` and `via`.

use std::io::Write;
use std::net::IpAddr;

use hemi_proto::fields::FieldLines;
use hemi_web::Request;
use http::Version;
use http::header::{HeaderName, HeaderValue, VIA};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How this server calls itself in `via` (RFC 9110, 7.6.3).
fn pseudonym(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"1.0 hemi",
        Version::HTTP_2 => b"2.0 hemi",
        Version::HTTP_3 => b"3.0 hemi",
        _ => b"1.1 hemi",
    }
}

/// Whether a field that came with a request is not passed on as it is, by its name in any case: what
/// strangers say of a client is not, and to what those say that are trusted, something is added.
pub(super) fn replaces(name: &[u8], trusts: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        3 => is("via"),
        9 => !trusts && (is("x-real-ip") || is("forwarded")),
        15 => is("x-forwarded-for"),
        16 => !trusts && (is("x-forwarded-host") || is("x-forwarded-port")),
        17 => !trusts && is("x-forwarded-proto"),
        _ => false,
    }
}

/// Puts the fields that tell of the client.
pub(super) fn put(req: &Request, trusts: bool, lines: &mut FieldLines) {
    // As long as any address may be.
    let mut text = [0; 64];
    let ip = req.remote_ip().map_or(&b""[..], |ip| show(ip, &mut text));
    let before = trusts.then(|| req.field_values(&FOR)).into_iter().flatten();
    lines.put_list(&FOR, before.chain([ip]));
    if !(trusts && req.has_field(&PROTO)) {
        lines.put(&PROTO, &HeaderValue::from_static(req.scheme().as_str()));
    }
    if let Some(host) = req.authority().filter(|_| !(trusts && req.has_field(&HOST))) {
        lines.put_list(&HOST, [host.as_str().as_bytes()].into_iter());
    }
    lines.put_list(&VIA, req.field_values(&VIA).chain([pseudonym(req.version())]));
}

fn show(ip: IpAddr, text: &mut [u8; 64]) -> &[u8] {
    let mut rest = &mut text[..];
    let room = rest.len();
    let written = write!(rest, "{ip}").map(|()| room - rest.len());
    written.map_or(b"", |len| &text[..len])
}
