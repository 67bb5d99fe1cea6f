//! Settings (RFC 9114 section 7.2.4, RFC 9204 section 5, RFC 9220 section 3, RFC 9297 section 2.1.1).

use bytes::BytesMut;

use super::frame::{Kind, put_head};
use super::{Code, varint};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;

/// What one side says of itself. What it leaves out has the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the dynamic table of its decoder.
    pub qpack_max_table_capacity: u64,
    /// Streams that may wait for the table at once.
    pub qpack_blocked_streams: u64,
    /// Bytes of a field section that it takes, each line with 32 more; none for no limit.
    pub max_field_section_size: Option<u64>,
    /// Whether it takes an extended CONNECT.
    pub enable_connect_protocol: bool,
    /// Whether it takes HTTP datagrams.
    pub h3_datagram: bool,
}

impl Settings {
    /// Reads what a SETTINGS frame holds.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, Code> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !bytes.is_empty() {
            let id = varint::decode(&mut bytes).ok_or(Code::FrameError)?;
            let value = varint::decode(&mut bytes).ok_or(Code::FrameError)?;
            if seen.contains(&id) {
                return Err(Code::SettingsError);
            }
            seen.push(id);
            let flag = || match value {
                0 | 1 => Ok(value == 1),
                _ => Err(Code::SettingsError),
            };
            match id {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = flag()?,
                H3_DATAGRAM => settings.h3_datagram = flag()?,
                // Those of HTTP/2 that have no meaning here.
                0x00 | 0x02..=0x05 => return Err(Code::SettingsError),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Appends a SETTINGS frame.
    pub fn put(&self, out: &mut BytesMut) {
        let mut payload = Vec::new();
        let max_size = self.max_field_section_size;
        for (id, value) in [
            (QPACK_MAX_TABLE_CAPACITY, Some(self.qpack_max_table_capacity).filter(|n| *n > 0)),
            (QPACK_BLOCKED_STREAMS, Some(self.qpack_blocked_streams).filter(|n| *n > 0)),
            (MAX_FIELD_SECTION_SIZE, max_size),
            (ENABLE_CONNECT_PROTOCOL, self.enable_connect_protocol.then_some(1)),
            (H3_DATAGRAM, self.h3_datagram.then_some(1)),
        ] {
            if let Some(value) = value {
                varint::encode(id, &mut payload);
                varint::encode(value, &mut payload);
            }
        }
        put_head(Kind::SETTINGS, payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_as_written() {
        let settings = Settings {
            qpack_max_table_capacity: 4096,
            qpack_blocked_streams: 16,
            max_field_section_size: Some(32 << 10),
            enable_connect_protocol: true,
            h3_datagram: true,
        };
        for settings in [settings, Settings::default()] {
            let mut out = BytesMut::new();
            settings.put(&mut out);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            assert_eq!(Settings::parse(&out[2..]), Ok(settings));
        }
    }

    #[test]
    fn refused() {
        for (bytes, code) in [
            (&[0x01, 0x40][..], Code::FrameError),
            (&[0x06], Code::FrameError),
            (&[0x01, 1, 0x01, 1], Code::SettingsError),
            (&[0x21, 1, 0x21, 2], Code::SettingsError),
            (&[0x02, 0], Code::SettingsError),
            (&[0x05, 7], Code::SettingsError),
            (&[0x08, 2], Code::SettingsError),
            (&[0x33, 2], Code::SettingsError),
        ] {
            assert_eq!(Settings::parse(bytes), Err(code), "{bytes:x?}");
        }
        assert_eq!(Settings::parse(&[0x21, 1, 0x40, 0x5f, 1]), Ok(Settings::default()));
    }
}
