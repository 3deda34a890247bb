//! DHCPv6's messages (RFC 8415).

use super::Config;
use super::packet::{Packet, UDP, address_at, frame, u16_at};

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
const UDP_HEADER: usize = 8;
/// Of a UDP datagram.
const CHECKSUM: usize = 6;

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION: u8 = 11;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const STATUS: u16 = 13;
const RAPID_COMMIT: u16 = 14;
const SERVERS: u16 = 23;
const DOMAINS: u16 = 24;

const SUCCESS: u16 = 0;
const NO_ADDRESS: u16 = 2;
const NOT_ON_LINK: u16 = 4;

const FOREVER: [u8; 4] = [0xff; 4];
/// A DUID has two bytes of type and at most 128 of its own.
const MOST_ID: usize = 130;
/// Options looked at in a message; a client has a dozen.
const MOST_OPTIONS: usize = 64;
/// Groups of addresses a client is answered for: it has one.
const MOST_GROUPS: usize = 4;

pub fn respond(config: &Config, packet: &Packet<'_>) -> Option<Vec<u8>> {
    let datagram = packet.payload;
    let ports = (u16_at(datagram, 0)?, u16_at(datagram, 2)?);
    if ports != (CLIENT_PORT, SERVER_PORT) || !packet.source.is_unicast_link_local() {
        return None;
    }
    let message = datagram.get(UDP_HEADER..usize::from(u16_at(datagram, 4)?))?;
    let question = Question::parse(message)?;
    let kind = question.answered_by(config)?;
    let answer = answer(config, &question, kind);
    let length = (UDP_HEADER + answer.len()) as u16;
    let mut bytes = Vec::with_capacity(usize::from(length));
    for field in [SERVER_PORT, CLIENT_PORT, length, 0] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(&answer);
    Some(frame(config, packet.source, UDP, bytes, CHECKSUM))
}

/// A client's message.
#[derive(Default)]
struct Question<'a> {
    kind: u8,
    transaction: &'a [u8],
    client: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    /// IA_NA options: of each its IAID and what is in it.
    groups: Vec<(&'a [u8], &'a [u8])>,
    rapid: bool,
}

impl<'a> Question<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let (head, options) = message.split_at_checked(4)?;
        let (kind, transaction) = head.split_first()?;
        let mut question = Self {
            kind: *kind,
            transaction,
            ..Self::default()
        };
        for (code, value) in options_of(options)? {
            match code {
                CLIENT_ID if question.client.is_none() => question.client = Some(value),
                SERVER_ID if question.server.is_none() => question.server = Some(value),
                CLIENT_ID | SERVER_ID => return None,
                ADDRESSES => {
                    let (group, inside) = value.split_at_checked(12)?;
                    question.groups.push((group.get(..4)?, inside));
                }
                RAPID_COMMIT => question.rapid = true,
                _ => {}
            }
        }
        let client = question.client.map_or(0, <[u8]>::len);
        (client <= MOST_ID && question.groups.len() <= MOST_GROUPS).then_some(question)
    }

    /// The type of the answer; none where RFC 8415 section 16 says to discard.
    fn answered_by(&self, config: &Config) -> Option<u8> {
        let is_named = self.client.is_some();
        let to_us = self.server.map(|id| id == server_id(config));
        match self.kind {
            SOLICIT if is_named && to_us.is_none() => {
                Some(if self.rapid { REPLY } else { ADVERTISE })
            }
            REQUEST | RENEW | RELEASE | DECLINE if is_named && to_us == Some(true) => Some(REPLY),
            CONFIRM if is_named && to_us.is_none() => self.wanted().is_some().then_some(REPLY),
            REBIND if is_named && to_us.is_none() => Some(REPLY),
            INFORMATION if to_us != Some(false) && self.groups.is_empty() => Some(REPLY),
            _ => None,
        }
    }

    /// The first address that is asked for.
    fn wanted(&self) -> Option<std::net::Ipv6Addr> {
        self.groups.iter().find_map(|(_, inside)| {
            let (_, value) = options_of(inside)?
                .into_iter()
                .find(|(code, _)| *code == ADDRESS)?;
            address_at(value, 0)
        })
    }
}

/// Code and value of each; none when one is cut off or there are too many.
fn options_of(bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut options = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let (value, tail) = tail.split_at_checked(usize::from(u16_at(head, 2)?))?;
        options.push((u16_at(head, 0)?, value));
        if options.len() > MOST_OPTIONS {
            return None;
        }
        rest = tail;
    }
    Some(options)
}

/// Of the tap (DUID-LL, Ethernet): it lasts as long as the pod.
fn server_id(config: &Config) -> [u8; 10] {
    let [a, b, c, d, e, f] = config.server_mac;
    [0, 3, 0, 1, a, b, c, d, e, f]
}

fn answer(config: &Config, question: &Question<'_>, kind: u8) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(question.transaction);
    put(&mut message, SERVER_ID, &server_id(config));
    if let Some(client) = question.client {
        put(&mut message, CLIENT_ID, client);
    }
    match question.kind {
        CONFIRM => {
            let is_ours = question.wanted() == Some(config.address);
            put_status(&mut message, if is_ours { SUCCESS } else { NOT_ON_LINK });
        }
        // There is one address, and it stays the guest's.
        RELEASE | DECLINE => put_status(&mut message, SUCCESS),
        _ => {
            if question.kind == SOLICIT && kind == REPLY {
                put(&mut message, RAPID_COMMIT, &[]);
            }
            for (index, (group, _)) in question.groups.iter().enumerate() {
                put_group(&mut message, config, group, index == 0);
            }
            put_names(&mut message, config);
        }
    }
    message
}

fn put_group(to: &mut Vec<u8>, config: &Config, group: &[u8], has_address: bool) {
    let mut value = group.to_vec();
    if has_address {
        // Renewed when the client likes: the address is the pod's for life.
        value.extend_from_slice(&FOREVER);
        value.extend_from_slice(&FOREVER);
        let mut inside = config.address.octets().to_vec();
        inside.extend_from_slice(&FOREVER);
        inside.extend_from_slice(&FOREVER);
        put(&mut value, ADDRESS, &inside);
    } else {
        value.extend_from_slice(&[0; 8]);
        put_status(&mut value, NO_ADDRESS);
    }
    put(to, ADDRESSES, &value);
}

fn put_names(to: &mut Vec<u8>, config: &Config) {
    if !config.dns.is_empty() {
        let servers: Vec<u8> = config.dns.iter().flat_map(|each| each.octets()).collect();
        put(to, SERVERS, &servers);
    }
    if !config.search.is_empty() {
        put(to, DOMAINS, &config.search);
    }
}

fn put_status(to: &mut Vec<u8>, status: u16) {
    put(to, STATUS, &status.to_be_bytes());
}

/// Values are a few hundred bytes at most.
fn put(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    to.extend_from_slice(&code.to_be_bytes());
    to.extend_from_slice(&(value.len() as u16).to_be_bytes());
    to.extend_from_slice(value);
}
