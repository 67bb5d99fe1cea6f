//! How urgently a client wants an answer (RFC 9218): the field `priority`, and what PRIORITY_UPDATE frames hold.

use crate::ascii::trim_ows;

/// The priority of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// Whether the client can use the answer in parts, so that it may share the connection with others.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads the value of a field; what can't be read is as if it were not there.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&b| b == b',') {
            // What parameters say is not known.
            let member = member.split(|&b| b == b';').next().unwrap_or_default();
            match trim_ows(member) {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_leniently() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i=?0,u=1", 1, false),
            ("i ;a=b , x=y", 3, true),
            ("u=8, i=1", 3, false),
            ("u=5, u=2", 2, false),
            ("U=1", 3, false),
        ] {
            assert_eq!(
                Priority::parse(value.as_bytes()),
                Priority { urgency, incremental },
                "{value}"
            );
        }
    }
}
