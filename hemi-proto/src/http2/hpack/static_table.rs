//! The static table (RFC 7541 appendix A).

use http::header;

use crate::message::{FieldName, Pseudo};

/// Its entries; the first has the index 1.
#[rustfmt::skip]
pub(super) static ENTRIES: [(FieldName, &str); 61] = [
    (FieldName::Pseudo(Pseudo::Authority), ""),
    (FieldName::Pseudo(Pseudo::Method), "GET"),
    (FieldName::Pseudo(Pseudo::Method), "POST"),
    (FieldName::Pseudo(Pseudo::Path), "/"),
    (FieldName::Pseudo(Pseudo::Path), "/index.html"),
    (FieldName::Pseudo(Pseudo::Scheme), "http"),
    (FieldName::Pseudo(Pseudo::Scheme), "https"),
    (FieldName::Pseudo(Pseudo::Status), "200"),
    (FieldName::Pseudo(Pseudo::Status), "204"),
    (FieldName::Pseudo(Pseudo::Status), "206"),
    (FieldName::Pseudo(Pseudo::Status), "304"),
    (FieldName::Pseudo(Pseudo::Status), "400"),
    (FieldName::Pseudo(Pseudo::Status), "404"),
    (FieldName::Pseudo(Pseudo::Status), "500"),
    (FieldName::Field(header::ACCEPT_CHARSET), ""),
    (FieldName::Field(header::ACCEPT_ENCODING), "gzip, deflate"),
    (FieldName::Field(header::ACCEPT_LANGUAGE), ""),
    (FieldName::Field(header::ACCEPT_RANGES), ""),
    (FieldName::Field(header::ACCEPT), ""),
    (FieldName::Field(header::ACCESS_CONTROL_ALLOW_ORIGIN), ""),
    (FieldName::Field(header::AGE), ""),
    (FieldName::Field(header::ALLOW), ""),
    (FieldName::Field(header::AUTHORIZATION), ""),
    (FieldName::Field(header::CACHE_CONTROL), ""),
    (FieldName::Field(header::CONTENT_DISPOSITION), ""),
    (FieldName::Field(header::CONTENT_ENCODING), ""),
    (FieldName::Field(header::CONTENT_LANGUAGE), ""),
    (FieldName::Field(header::CONTENT_LENGTH), ""),
    (FieldName::Field(header::CONTENT_LOCATION), ""),
    (FieldName::Field(header::CONTENT_RANGE), ""),
    (FieldName::Field(header::CONTENT_TYPE), ""),
    (FieldName::Field(header::COOKIE), ""),
    (FieldName::Field(header::DATE), ""),
    (FieldName::Field(header::ETAG), ""),
    (FieldName::Field(header::EXPECT), ""),
    (FieldName::Field(header::EXPIRES), ""),
    (FieldName::Field(header::FROM), ""),
    (FieldName::Field(header::HOST), ""),
    (FieldName::Field(header::IF_MATCH), ""),
    (FieldName::Field(header::IF_MODIFIED_SINCE), ""),
    (FieldName::Field(header::IF_NONE_MATCH), ""),
    (FieldName::Field(header::IF_RANGE), ""),
    (FieldName::Field(header::IF_UNMODIFIED_SINCE), ""),
    (FieldName::Field(header::LAST_MODIFIED), ""),
    (FieldName::Field(header::LINK), ""),
    (FieldName::Field(header::LOCATION), ""),
    (FieldName::Field(header::MAX_FORWARDS), ""),
    (FieldName::Field(header::PROXY_AUTHENTICATE), ""),
    (FieldName::Field(header::PROXY_AUTHORIZATION), ""),
    (FieldName::Field(header::RANGE), ""),
    (FieldName::Field(header::REFERER), ""),
    (FieldName::Field(header::REFRESH), ""),
    (FieldName::Field(header::RETRY_AFTER), ""),
    (FieldName::Field(header::SERVER), ""),
    (FieldName::Field(header::SET_COOKIE), ""),
    (FieldName::Field(header::STRICT_TRANSPORT_SECURITY), ""),
    (FieldName::Field(header::TRANSFER_ENCODING), ""),
    (FieldName::Field(header::USER_AGENT), ""),
    (FieldName::Field(header::VARY), ""),
    (FieldName::Field(header::VIA), ""),
    (FieldName::Field(header::WWW_AUTHENTICATE), ""),
];

/// The first index of a field's name.
pub(super) fn index_of(name: &str) -> Option<u8> {
    Some(match name {
        "accept-charset" => 15,
        "accept-encoding" => 16,
        "accept-language" => 17,
        "accept-ranges" => 18,
        "accept" => 19,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "authorization" => 23,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "cookie" => 32,
        "date" => 33,
        "etag" => 34,
        "expect" => 35,
        "expires" => 36,
        "from" => 37,
        "host" => 38,
        "if-match" => 39,
        "if-modified-since" => 40,
        "if-none-match" => 41,
        "if-range" => 42,
        "if-unmodified-since" => 43,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "max-forwards" => 47,
        "proxy-authenticate" => 48,
        "proxy-authorization" => 49,
        "range" => 50,
        "referer" => 51,
        "refresh" => 52,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "transfer-encoding" => 57,
        "user-agent" => 58,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are() {
        for (at, (name, _)) in ENTRIES.iter().enumerate() {
            if let FieldName::Field(name) = name {
                assert_eq!(index_of(name.as_str()), Some(at as u8 + 1));
            }
        }
        assert_eq!(index_of("x-unknown"), None);
    }
}
