//! Which content codings a client takes, and likes best (RFC 9110 section 12.5.3).

use http::header::{ACCEPT_ENCODING, HeaderMap};

use crate::quality::{Quality, weighted};

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// None at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    const ALL: [Self; 4] = [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd];

    /// As Content-Encoding names it.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name, in any case. `x-gzip` is another one for gzip (section 8.4.1.3).
    pub fn named(token: &[u8]) -> Option<Self> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|c| token.eq_ignore_ascii_case(c.token().as_bytes()))
    }
}

/// How much a client likes each coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptEncoding {
    /// By the number of the coding.
    weights: [Weight; Coding::ALL.len()],
}

/// In this order: what is only taken comes after all that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Refused,
    Taken,
    Named(Quality),
}

impl AcceptEncoding {
    /// Reads all Accept-Encoding lines of a request.
    ///
    /// A client that sends none is taken to know no coding. Of a coding that is named twice the
    /// first mention counts; elements with a malformed weight are left out.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut named = [None; Coding::ALL.len()];
        let mut others = None;
        for (token, quality) in weighted(headers, ACCEPT_ENCODING) {
            let weight = if quality.is_zero() { Weight::Refused } else { Weight::Named(quality) };
            if token == b"*" {
                others.get_or_insert(weight);
            } else if let Some(coding) = Coding::named(token) {
                named[coding as usize].get_or_insert(weight);
            }
        }
        let weights = Coding::ALL.map(|coding| {
            let unnamed = if coding == Coding::Identity { Weight::Taken } else { Weight::Refused };
            named[coding as usize].or(others).unwrap_or(unnamed)
        });
        Self { weights }
    }

    /// Whether the client takes this coding: it does not say `q=0`, neither of it nor of all it does
    /// not name. Identity is taken unless that is said.
    pub fn takes(&self, coding: Coding) -> bool {
        self.weights[coding as usize] > Weight::Refused
    }

    /// Those of the `offered` codings that the client takes, what it likes best first; of those that
    /// it likes as much, what was offered first. Identity need not be offered: it comes after all
    /// others that are liked as much, or not at all if it is refused.
    pub fn ranked(&self, offered: &[Coding]) -> impl Iterator<Item = Coding> {
        let mut given = [false; Coding::ALL.len()];
        std::iter::from_fn(move || {
            let named = offered.iter().copied().filter(|coding| *coding != Coding::Identity);
            let rest = named
                .chain([Coding::Identity])
                .filter(|&coding| !given[coding as usize] && self.takes(coding));
            let best = rest.reduce(|best, next| {
                if self.weights[next as usize] > self.weights[best as usize] { next } else { best }
            })?;
            given[best as usize] = true;
            Some(best)
        })
    }

    /// The first of [`ranked`](Self::ranked). None if the client refuses all, identity too: that may
    /// be answered 406 (section 15.5.7).
    pub fn choose(&self, offered: &[Coding]) -> Option<Coding> {
        self.ranked(offered).next()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Coding::{Brotli, Gzip, Identity, Zstd};
    use super::*;

    fn read(lines: &[&str]) -> AcceptEncoding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).expect("value"));
        }
        AcceptEncoding::from_headers(&headers)
    }

    #[test]
    fn ranked() {
        for (lines, expected) in [
            // Who says nothing gets nothing special.
            (&[][..], &[Identity][..]),
            (&[""], &[Identity]),
            (&[" , ,"], &[Identity]),
            (&["compress, deflate"], &[Identity]),
            // The order of the server among equals.
            (&["gzip, deflate, br, zstd"], &[Brotli, Zstd, Gzip, Identity]),
            (&["gzip", "br;q=1.0"], &[Brotli, Gzip, Identity]),
            (&["GZIP, BR"], &[Brotli, Gzip, Identity]),
            (&["x-gzip"], &[Gzip, Identity]),
            (&["*"], &[Brotli, Zstd, Gzip, Identity]),
            (&["*;q=0.5"], &[Brotli, Zstd, Gzip, Identity]),
            // The order of the client before it.
            (&["gzip, br;q=0.9"], &[Gzip, Brotli, Identity]),
            (&["gzip;q=0.5,br;q=0.25,zstd;q=0.75"], &[Zstd, Gzip, Brotli, Identity]),
            (&["gzip;q=0.001, br;q=0.002"], &[Brotli, Gzip, Identity]),
            (&["gzip;q=0.5, *;q=0.9"], &[Brotli, Zstd, Identity, Gzip]),
            (&["gzip;q=0.5, identity"], &[Identity, Gzip]),
            (&["gzip;q=0.5, identity;q=0.5"], &[Gzip, Identity]),
            (&["gzip;q=0.5, identity;q=0.4"], &[Gzip, Identity]),
            // What is refused.
            (&["gzip;q=0"], &[Identity]),
            (&["gzip;q=0.000, br;q=0."], &[Identity]),
            (&["gzip;q=0, *"], &[Brotli, Zstd, Identity]),
            (&["identity;q=0"], &[]),
            (&["*;q=0"], &[]),
            (&["br, *;q=0"], &[Brotli]),
            (&["gzip, identity;q=0"], &[Gzip]),
            (&["*;q=0, identity"], &[Identity]),
            (&["*;q=0, identity;q=0.1"], &[Identity]),
            (&["identity;q=0, *"], &[Brotli, Zstd, Gzip]),
            // Space and further parameters.
            (&["\tgzip ; q=0.5 , br ;q=0"], &[Gzip, Identity]),
            (&["gzip;Q=0"], &[Identity]),
            (&["gzip;level=9;q=0"], &[Identity]),
            // The first mention counts.
            (&["gzip;q=0, gzip"], &[Identity]),
            (&["gzip, gzip;q=0"], &[Gzip, Identity]),
            (&["gzip", "x-gzip;q=0"], &[Gzip, Identity]),
            (&["*;q=0, *"], &[]),
            // More digits than allowed, and what is no weight.
            (&["gzip;q=0.0009, br;q=0.12345"], &[Brotli, Identity]),
            (&["gzip;q=2, br;q=1.001, zstd;q=-1"], &[Identity]),
            (&["gzip;q=, br;q=.5, zstd;q=0.5x"], &[Identity]),
            (&["gzip;q=1e0, br;q= 1, zstd;q=0,5"], &[Identity]),
            (&["gzipped, br0, q=1"], &[Identity]),
        ] {
            let accept = read(lines);
            let ranked: Vec<_> = accept.ranked(&[Brotli, Zstd, Gzip]).collect();
            assert_eq!(ranked, expected, "{lines:?}");
            assert_eq!(accept.choose(&[Brotli, Zstd, Gzip]), expected.first().copied());
        }
    }

    #[test]
    fn only_what_is_offered() {
        let accept = read(&["gzip, br, zstd"]);
        assert_eq!(accept.choose(&[]), Some(Identity));
        assert_eq!(accept.choose(&[Gzip, Gzip]), Some(Gzip));
        assert_eq!(accept.choose(&[Identity, Gzip]), Some(Gzip));
        let ranked: Vec<_> = accept.ranked(&[Gzip, Identity, Gzip, Brotli]).collect();
        assert_eq!(ranked, [Gzip, Brotli, Identity]);
        assert_eq!(read(&["gzip, identity;q=0"]).choose(&[Brotli]), None);
        assert!(!read(&["br;q=0"]).takes(Brotli) && read(&["br"]).takes(Brotli));
    }

    #[test]
    fn named() {
        for coding in Coding::ALL {
            assert_eq!(Coding::named(coding.token().as_bytes()), Some(coding));
        }
        for none in ["", "*", "deflate", "compress", "gzip ", "brotli"] {
            assert_eq!(Coding::named(none.as_bytes()), None, "{none}");
        }
    }
}
