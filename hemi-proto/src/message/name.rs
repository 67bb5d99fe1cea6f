//! Names of field lines.

use http::HeaderName;

/// The name of a field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// That of a pseudo-field.
    Pseudo(Pseudo),
    /// That of a field, in lower case.
    Field(HeaderName),
    /// No name that any message may have: not a token, not in lower case, or that of an unknown pseudo-field.
    Invalid {
        /// Bytes of it, which the tables of HPACK and QPACK count.
        len: usize,
    },
}

/// The pseudo-fields that there are (RFC 9113 section 8.3, RFC 8441 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol`
    Protocol,
    /// `:status`
    Status,
}

impl FieldName {
    /// Reads a name as it was sent.
    #[must_use]
    pub fn parse(name: &[u8]) -> Self {
        let pseudo = match name {
            b":method" => Pseudo::Method,
            b":scheme" => Pseudo::Scheme,
            b":authority" => Pseudo::Authority,
            b":path" => Pseudo::Path,
            b":protocol" => Pseudo::Protocol,
            b":status" => Pseudo::Status,
            _ => {
                let name_of_field = HeaderName::from_lowercase(name);
                return name_of_field.map_or(Self::Invalid { len: name.len() }, Self::Field);
            }
        };
        Self::Pseudo(pseudo)
    }

    /// Bytes of the name.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Pseudo(pseudo) => pseudo.as_str().len(),
            Self::Field(name) => name.as_str().len(),
            Self::Invalid { len } => *len,
        }
    }

    /// Whether the name is empty, which is invalid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Pseudo {
    /// With its colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Protocol => ":protocol",
            Self::Status => ":status",
        }
    }
}
