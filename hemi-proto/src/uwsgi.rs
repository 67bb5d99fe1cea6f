//! The protocol of uWSGI: a request's variables as one packet, then its content. The answer is one of HTTP/1.

use bytes::{BufMut, BytesMut};

/// Variables of which a name, a value or all together have more than 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variables are larger than a packet")]
pub struct TooLarge;

/// What the application is, as the first and the last byte of a packet's head tell: 0 and 0 are Python (WSGI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers(pub u8, pub u8);

/// Appends the head of a request, after which its content follows.
///
/// # Errors
/// When it does not fit; `out` is then as it was before.
pub fn encode_head<'a>(
    out: &mut BytesMut,
    modifiers: Modifiers,
    variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), TooLarge> {
    let start = out.len();
    out.put_slice(&[modifiers.0, 0, 0, modifiers.1]);
    let fits = variables
        .into_iter()
        .try_for_each(|(name, value)| put_text(out, name).and_then(|()| put_text(out, value)));
    let len = fits.and_then(|()| u16::try_from(out.len() - start - 4).map_err(|_| TooLarge));
    match (len, out.get_mut(start + 1..start + 3)) {
        (Ok(len), Some(place)) => {
            place.copy_from_slice(&len.to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(TooLarge)
        }
    }
}

fn put_text(out: &mut BytesMut, text: &[u8]) -> Result<(), TooLarge> {
    out.put_u16_le(u16::try_from(text.len()).map_err(|_| TooLarge)?);
    out.put_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let mut out = BytesMut::from("x");
        encode_head(&mut out, Modifiers(0, 0), [(&b"AB"[..], &b"c"[..])]).unwrap();
        assert_eq!(out, &b"x\0\x07\0\0\x02\0AB\x01\0c"[..]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (half, whole) = (vec![b'v'; 0x8000], vec![b'v'; 0x10000]);
        let mut out = BytesMut::from("x");
        for variables in [vec![(&b"A"[..], &half[..]), (b"B", &half)], vec![(b"A", &whole)]] {
            assert_eq!(encode_head(&mut out, Modifiers::default(), variables), Err(TooLarge));
            assert_eq!(out, "x");
        }
    }
}
