//! DHCP options: reading a client's, building ours, and the two encodings that need care.

use super::Route;
use crate::host::sys::invalid;
use std::io;
use std::net::Ipv4Addr;

pub const SUBNET_MASK: u8 = 1;
pub const ROUTER: u8 = 3;
pub const DNS: u8 = 6;
pub const HOSTNAME: u8 = 12;
pub const DOMAIN: u8 = 15;
pub const MTU: u8 = 26;
pub const REQUESTED_ADDRESS: u8 = 50;
pub const LEASE_SECONDS: u8 = 51;
pub const MESSAGE_TYPE: u8 = 53;
pub const SERVER: u8 = 54;
pub const MESSAGE: u8 = 56;
pub const MOST_MESSAGE: u8 = 57;
pub const RENEW_SECONDS: u8 = 58;
pub const REBIND_SECONDS: u8 = 59;
pub const SEARCH: u8 = 119;
pub const ROUTES: u8 = 121;
const PAD: u8 = 0;
const END: u8 = 255;

/// What one option holds at most; longer values are refused when the configuration is made.
const MOST_VALUE: usize = 255;

/// The first option with this code, up to the end mark; `None` also when an option is cut off.
pub fn find(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        let (code, tail) = rest.split_first()?;
        match *code {
            PAD => rest = tail,
            END => return None,
            code => {
                let (length, tail) = tail.split_first()?;
                let (value, tail) = tail.split_at_checked(usize::from(*length))?;
                if code == wanted {
                    return Some(value);
                }
                rest = tail;
            }
        }
    }
}

pub fn find_u16(options: &[u8], wanted: u8) -> Option<u16> {
    Some(u16::from_be_bytes(find(options, wanted)?.try_into().ok()?))
}

pub fn find_address(options: &[u8], wanted: u8) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = find(options, wanted)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

/// Options being written, within the room the client has for them.
pub struct Writer {
    bytes: Vec<u8>,
    room: usize,
}

impl Writer {
    pub fn new(room: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(room),
            room,
        }
    }

    /// Leaves out what is empty and what does not fit: the important ones are put first.
    pub fn put(&mut self, code: u8, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else {
            return;
        };
        let end_mark = 1;
        if length == 0 || self.bytes.len() + 2 + value.len() + end_mark > self.room {
            return;
        }
        self.bytes.extend_from_slice(&[code, length]);
        self.bytes.extend_from_slice(value);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        self.bytes
    }
}

/// Labels of letters, digits, `-` and `_`, as in RFC 1035 with its lengths.
pub fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A list of domains in the compressed form of RFC 1035 4.1.4 (RFC 3397). A trailing dot is
/// allowed, the root alone left out. Domains that no longer fit into one option are left out too: a
/// pod may have 2048 bytes of them.
pub fn encode_search(domains: &[String]) -> io::Result<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut known: Vec<(&str, u8)> = Vec::new();
    for domain in domains.iter().filter(|domain| *domain != ".") {
        let mut rest = domain.strip_suffix('.').unwrap_or(domain);
        if !is_name(rest) {
            return Err(invalid(format!("dhcp search domain {domain:?} is no name")));
        }
        let before = bytes.len();
        loop {
            if let Some((_, offset)) = known.iter().find(|(suffix, _)| *suffix == rest) {
                bytes.extend_from_slice(&[0xc0, *offset]);
                break;
            }
            if let Ok(offset) = u8::try_from(bytes.len()) {
                known.push((rest, offset));
            }
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
            if tail.is_empty() {
                bytes.push(0);
                break;
            }
            rest = tail;
        }
        if bytes.len() > MOST_VALUE {
            bytes.truncate(before);
            break;
        }
    }
    Ok(bytes)
}

/// Classless routes (RFC 3442). A client that reads them ignores the router option, so the default
/// route joins them. Too many are invalid input.
pub fn encode_routes(routes: &[Route], router: Option<Ipv4Addr>) -> io::Result<Vec<u8>> {
    let has_default = routes.iter().any(|(_, length, _)| *length == 0);
    let default = router
        .filter(|_| !routes.is_empty() && !has_default)
        .map(|router| (Ipv4Addr::UNSPECIFIED, 0, router));
    let mut bytes = Vec::new();
    for (destination, length, via) in routes.iter().copied().chain(default) {
        bytes.push(length);
        let significant = usize::from(length).div_ceil(8);
        bytes.extend(destination.octets().iter().take(significant));
        bytes.extend_from_slice(&via.octets());
    }
    if bytes.len() > MOST_VALUE {
        return Err(invalid(format!(
            "dhcp routes take more than {MOST_VALUE} bytes"
        )));
    }
    Ok(bytes)
}
