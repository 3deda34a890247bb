//! From a frame of the client's to the frame that answers it.

use super::Config;
use super::options::{self, Writer};
use std::net::Ipv4Addr;

const ETHERNET: usize = 14;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// BOOTP's fixed fields without the magic cookie.
const BOOTP: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// What every client takes (RFC 2131 section 2), as a length of an IP packet.
const LEAST_MAXIMUM: usize = 576;
const MOST_MAXIMUM: usize = 1500;
/// Old relays and clients drop shorter BOOTP messages.
const LEAST_BOOTP: usize = 300;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// The answer to an Ethernet frame, or none: when it is no sound DHCP request of the configured
/// client, or one that wants no answer (RELEASE and DECLINE change nothing, there is one address).
/// Checksums are not looked at: a virtio guest leaves them to the device.
pub fn respond(config: &Config, frame: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(config, frame)?;
    let kind = decide(config, &request)?;
    Some(envelope(config, &request, kind))
}

/// A client's message, checked.
struct Request<'a> {
    /// BOOTP's fixed fields.
    fixed: &'a [u8],
    options: &'a [u8],
    kind: u8,
    client: Ipv4Addr,
    wants_broadcast: bool,
}

impl<'a> Request<'a> {
    fn parse(config: &Config, frame: &'a [u8]) -> Option<Self> {
        let message = udp_payload(config, frame)?;
        let (fixed, rest) = message.split_at_checked(BOOTP)?;
        let options = rest.strip_prefix(&COOKIE)?;
        // BOOTREQUEST, Ethernet, address length 6.
        fixed.strip_prefix(&[1, 1, 6])?;
        if fixed.get(28..34)? != config.client_mac {
            return None;
        }
        // A relay has no business on a tap.
        if address_at(fixed, 24)? != Ipv4Addr::UNSPECIFIED {
            return None;
        }
        let kind = match options::find(options, options::MESSAGE_TYPE)? {
            [kind] => *kind,
            _ => return None,
        };
        Some(Self {
            fixed,
            options,
            kind,
            client: address_at(fixed, 12)?,
            wants_broadcast: fixed.get(10)? & 0x80 != 0,
        })
    }

    /// Bytes for options in a message that the client takes.
    fn room(&self) -> usize {
        let told = options::find_u16(self.options, options::MOST_MESSAGE).unwrap_or(0);
        let packet = usize::from(told).clamp(LEAST_MAXIMUM, MOST_MAXIMUM);
        packet.saturating_sub(IP_HEADER + UDP_HEADER + BOOTP + COOKIE.len())
    }
}

/// The message inside Ethernet, IPv4 and UDP, when their lengths agree.
fn udp_payload<'a>(config: &Config, frame: &'a [u8]) -> Option<&'a [u8]> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    if ethernet.get(6..12)? != config.client_mac || ethernet.get(12..)? != [8, 0] {
        return None;
    }
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    let fragment = u16_at(packet, 6)? & 0x3fff;
    if first >> 4 != 4 || header < IP_HEADER || fragment != 0 || *packet.get(9)? != 17 {
        return None;
    }
    // Short frames are padded: the packet's own length counts.
    let datagram = packet.get(header..total)?;
    let length = usize::from(u16_at(datagram, 4)?);
    if u16_at(datagram, 0)? != 68 || u16_at(datagram, 2)? != 67 {
        return None;
    }
    datagram.get(UDP_HEADER..length)
}

/// The message type of the answer (RFC 2131 section 4.3).
fn decide(config: &Config, request: &Request<'_>) -> Option<u8> {
    match request.kind {
        DISCOVER => Some(OFFER),
        INFORM => (request.client == config.address).then_some(ACK),
        REQUEST => {
            let chosen = options::find_address(request.options, options::SERVER);
            if chosen.is_some_and(|server| server != config.server) {
                return None; // another server's offer was taken
            }
            let wanted = options::find_address(request.options, options::REQUESTED_ADDRESS)
                .unwrap_or(request.client);
            Some(if wanted == config.address { ACK } else { NAK })
        }
        _ => None,
    }
}

fn envelope(config: &Config, request: &Request<'_>, kind: u8) -> Vec<u8> {
    let message = bootp(config, request, kind);
    // A NAK goes to everyone: the client may not use its address. An address being given is not in
    // use yet, but frames can be sent to the client's MAC all the same.
    let everyone = kind == NAK || (request.wants_broadcast && request.client.is_unspecified());
    let (mac, target) = match (everyone, request.client.is_unspecified()) {
        (true, _) => ([0xff; 6], Ipv4Addr::BROADCAST),
        (false, true) => (config.client_mac, config.address),
        (false, false) => (config.client_mac, request.client),
    };
    let mut frame = Vec::with_capacity(ETHERNET + IP_HEADER + UDP_HEADER + message.len());
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&config.server_mac);
    frame.extend_from_slice(&[8, 0]);
    let udp_length = (UDP_HEADER + message.len()) as u16;
    frame.extend_from_slice(&ip_header(config.server, target, udp_length));
    frame.extend_from_slice(&udp_header(config.server, target, udp_length, &message));
    frame.extend_from_slice(&message);
    frame
}

fn bootp(config: &Config, request: &Request<'_>, kind: u8) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    let none = [0u8; 4];
    message.extend_from_slice(request.fixed.get(4..8).unwrap_or(&none)); // transaction
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(request.fixed.get(10..12).unwrap_or(&[0, 0])); // flags
    let (client, given) = match (kind, request.kind) {
        (NAK, _) => (none, none),
        (_, INFORM) => (request.client.octets(), none),
        _ => (request.client.octets(), config.address.octets()),
    };
    message.extend_from_slice(&client);
    message.extend_from_slice(&given);
    message.extend_from_slice(&none); // no boot server
    message.extend_from_slice(&none); // no relay
    message.extend_from_slice(&config.client_mac);
    message.resize(BOOTP, 0);
    message.extend_from_slice(&COOKIE);
    message.extend_from_slice(&answer_options(config, request, kind));
    message.resize(message.len().max(LEAST_BOOTP), 0);
    message
}

/// The important ones first: a client with little room gets those.
fn answer_options(config: &Config, request: &Request<'_>, kind: u8) -> Vec<u8> {
    let mut to = Writer::new(request.room());
    to.put(options::MESSAGE_TYPE, &[kind]);
    to.put(options::SERVER, &config.server.octets());
    if kind == NAK {
        to.put(options::MESSAGE, b"this address is not yours");
        return to.finish();
    }
    if request.kind != INFORM {
        let lease = config.lease_seconds;
        to.put(options::LEASE_SECONDS, &lease.to_be_bytes());
        to.put(options::RENEW_SECONDS, &(lease / 2).to_be_bytes());
        to.put(options::REBIND_SECONDS, &(lease - lease / 8).to_be_bytes());
    }
    let mask = u32::MAX
        .checked_shl(32 - u32::from(config.prefix))
        .unwrap_or(0);
    to.put(options::SUBNET_MASK, &mask.to_be_bytes());
    to.put(options::ROUTES, &config.routes);
    if let Some(router) = config.router {
        to.put(options::ROUTER, &router.octets());
    }
    to.put(
        options::DNS,
        &config
            .dns
            .iter()
            .flat_map(Ipv4Addr::octets)
            .collect::<Vec<_>>(),
    );
    if config.mtu != 0 {
        to.put(options::MTU, &config.mtu.to_be_bytes());
    }
    to.put(options::HOSTNAME, config.hostname.as_bytes());
    to.put(options::DOMAIN, config.domain.as_bytes());
    to.put(options::SEARCH, &config.search);
    to.finish()
}

fn ip_header(source: Ipv4Addr, target: Ipv4Addr, udp_length: u16) -> [u8; IP_HEADER] {
    let [a, b] = (IP_HEADER as u16 + udp_length).to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [t0, t1, t2, t3] = target.octets();
    let header = |c: u8, d: u8| {
        [
            0x45, 0x10, a, b, 0, 0, 0x40, 0, 64, 17, c, d, s0, s1, s2, s3, t0, t1, t2, t3,
        ]
    };
    let [c, d] = checksum(&[&header(0, 0)]).to_be_bytes();
    header(c, d)
}

fn udp_header(source: Ipv4Addr, target: Ipv4Addr, length: u16, message: &[u8]) -> [u8; UDP_HEADER] {
    let [a, b] = length.to_be_bytes();
    let pseudo = [0, 17, a, b];
    let header = |c: u8, d: u8| [0, 67, 0, 68, a, b, c, d];
    let sum = checksum(&[
        &source.octets(),
        &target.octets(),
        &pseudo,
        &header(0, 0),
        message,
    ]);
    // 0 would say that there is no checksum.
    let [c, d] = if sum == 0 {
        [0xff; 2]
    } else {
        sum.to_be_bytes()
    };
    header(c, d)
}

/// RFC 1071 over parts, all of which but the last have an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 = words
        .map(|word| match word {
            [high, low] => u64::from(u16::from_be_bytes([*high, *low])),
            [high] => u64::from(*high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(offset..offset + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair))
}

fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(offset..offset + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(four))
}
