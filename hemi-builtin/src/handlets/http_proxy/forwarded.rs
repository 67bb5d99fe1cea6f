//! What a backend is told of the client: the fields `x-forwarded-*` and `via`.

use hemi_web::Request;
use http::header::{FORWARDED, HeaderName, HeaderValue, VIA};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How this server calls itself in `via` (RFC 9110, 7.6.3).
const NAME: &str = "hemi";

/// Whether a field that came with a request is not passed on as it is: what strangers say of a client is
/// not, and to what those say that are trusted, something is added.
pub(super) fn replaces(name: &HeaderName, trusts: bool) -> bool {
    match trusts {
        true => *name == FOR || *name == VIA,
        false => [FOR, PROTO, HOST, PORT, REAL_IP, FORWARDED, VIA].contains(name),
    }
}

/// The fields that tell of the client.
pub(super) fn fields(req: &Request, trusts: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(4);
    let mut put =
        |name, value: Option<HeaderValue>| fields.extend(value.map(|value| (name, value)));
    let ip = req.remote_ip().map(|ip| ip.to_string());
    put(FOR, listed(req, &FOR, trusts, ip.as_deref()));
    if !(trusts && req.headers().contains_key(PROTO)) {
        put(PROTO, Some(HeaderValue::from_static(req.scheme().as_str())));
    }
    if !(trusts && req.headers().contains_key(HOST)) {
        let host = req.authority().map(|host| host.as_str().as_bytes());
        put(HOST, host.and_then(|host| HeaderValue::from_bytes(host).ok()));
    }
    let version = match req.version() {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2.0",
        http::Version::HTTP_3 => "3.0",
        _ => "1.1",
    };
    put(VIA, listed(req, &VIA, true, Some(&format!("{version} {NAME}"))));
    fields
}

/// The elements of a list that came with the request, if they are to be kept, and one more.
fn listed(
    req: &Request,
    name: &HeaderName,
    keeps: bool,
    last: Option<&str>,
) -> Option<HeaderValue> {
    let before = req.headers().get_all(name).iter().filter(|_| keeps).map(HeaderValue::as_bytes);
    let all: Vec<&[u8]> = before.chain(last.map(str::as_bytes)).collect();
    let value = HeaderValue::from_bytes(&all.join(&b", "[..])).ok();
    value.filter(|value| !value.is_empty())
}
