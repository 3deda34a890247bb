//! The frame of netlink's answers.

use std::io;

use crate::sys::invalid;

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;

/// (type, sequence, body, what follows) of the first message.
pub fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, sequence, body, after))
}

pub fn verdict(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map(|b| i32::from_ne_bytes(*b));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(invalid("the kernel's answer is too short")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_messages_end_the_list() {
        let whole = [20_u32.to_ne_bytes().as_slice(), &[0; 16]].concat();
        assert!(split(&whole).is_some());
        for end in 0..whole.len() {
            assert!(split(&whole[..end]).is_none());
        }
    }
}
