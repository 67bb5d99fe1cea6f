//! SCGI: a request's variables as a netstring, then its content. The answer has the form of CGI ([`crate::cgi`]).

use bytes::{BufMut, BytesMut};

use crate::ascii::push_decimal;

/// A variable whose name or value has a NUL, which ends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a variable has a NUL")]
pub struct Nul;

/// Appends the head of a request with content of this length, which follows.
///
/// `CONTENT_LENGTH` and `SCGI` come by themselves.
///
/// # Errors
/// When a variable can't be told; `out` is then as it was before.
pub fn encode_head<'a>(
    out: &mut BytesMut,
    length: u64,
    variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), Nul> {
    let mut head = BytesMut::new();
    head.put_slice(b"CONTENT_LENGTH\0");
    push_decimal(&mut head, length);
    head.put_slice(b"\0SCGI\x001\0");
    for (name, value) in variables {
        if memchr::memchr(0, name).or(memchr::memchr(0, value)).is_some() {
            return Err(Nul);
        }
        head.put_slice(name);
        head.put_u8(0);
        head.put_slice(value);
        head.put_u8(0);
    }
    push_decimal(out, head.len() as u64);
    out.put_u8(b':');
    out.put_slice(&head);
    out.put_u8(b',');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let mut out = BytesMut::new();
        let variables = [(&b"REQUEST_METHOD"[..], &b"POST"[..]), (b"REQUEST_URI", b"/deepthought")];
        encode_head(&mut out, 27, variables).unwrap();
        assert_eq!(
            out,
            "70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,"
        );
    }

    #[test]
    fn a_nul_is_refused() {
        let mut out = BytesMut::from("x");
        for variable in [(&b"A\0B"[..], &b""[..]), (b"A", b"b\0c")] {
            assert_eq!(encode_head(&mut out, 0, [variable]), Err(Nul));
            assert_eq!(out, "x");
        }
    }
}
