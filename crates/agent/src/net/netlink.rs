//! rtnetlink by hand: a handful of requests, each answered by the kernel before the next.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use super::messages::{HEADER, split, verdict};
use super::parse::{Hop, Prefix, bytes};
use crate::sys::{read, write};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;
const NO_DAD: u8 = 2;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_OUT: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_PRIORITY: u16 = 6;
const ROUTE_SOURCE: u16 = 7;

const TABLE_MAIN: u8 = 254;
const PROTOCOL_KERNEL: u8 = 2;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;

pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub fn open() -> io::Result<Netlink> {
        Ok(Netlink {
            socket: trine_linux::route_socket()?,
            sequence: 0,
        })
    }

    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let flags = if up { libc::IFF_UP as u32 } else { 0 };
        let body = link(index, flags, libc::IFF_UP as u32);
        self.ask(NEW_LINK, 0, &body).map(|_| ())
    }

    pub fn rename(&mut self, index: u32, name: &str, mac: [u8; 6]) -> io::Result<()> {
        let mut body = link(index, 0, 0);
        put(&mut body, LINK_ADDRESS, &mac);
        put(&mut body, LINK_NAME, &[name.as_bytes(), &[0]].concat());
        self.ask(NEW_LINK, 0, &body).map(|_| ())
    }

    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut body = link(index, 0, 0);
        put(&mut body, LINK_MTU, &mtu.to_ne_bytes());
        self.ask(NEW_LINK, 0, &body).map(|_| ())
    }

    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Prefix>> {
        let replies = self.ask(GET_ADDRESS, DUMP, &[0; 8])?;
        Ok(replies
            .iter()
            .filter_map(|reply| address_in(reply, index))
            .collect())
    }

    pub fn add_address(&mut self, index: u32, prefix: &Prefix) -> io::Result<()> {
        let mut body = address(index, prefix);
        if let IpAddr::V4(v4) = prefix.address
            && prefix.length < 31
        {
            let hosts = u32::MAX >> prefix.length;
            let broadcast = u32::from(v4) | hosts;
            put(&mut body, ADDRESS_BROADCAST, &broadcast.to_be_bytes());
        }
        self.ask(NEW_ADDRESS, CREATE | REPLACE, &body).map(|_| ())
    }

    pub fn delete_address(&mut self, index: u32, prefix: &Prefix) -> io::Result<()> {
        self.ask(DELETE_ADDRESS, 0, &address(index, prefix))
            .map(|_| ())
    }

    /// Messages of the main table's routes that the kernel did not make for itself.
    pub fn routes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut all = self.ask(GET_ROUTE, DUMP, &[0; 12])?;
        all.retain(|body| {
            let ours = |protocol: u8| protocol != PROTOCOL_KERNEL;
            body.get(4) == Some(&TABLE_MAIN)
                && body.get(5).is_some_and(|p| ours(*p))
                && body.get(7) == Some(&UNICAST)
        });
        Ok(all)
    }

    /// Deletes a route by the message the kernel described it with.
    pub fn send_route_back(&mut self, body: &[u8]) -> io::Result<()> {
        self.ask(DELETE_ROUTE, 0, body).map(|_| ())
    }

    pub fn add_route(&mut self, hop: &Hop, index: Option<u32>) -> io::Result<()> {
        let family = if hop.is_v4 {
            libc::AF_INET
        } else {
            libc::AF_INET6
        } as u8;
        let length = hop.destination.map_or(0, |p| p.length);
        let scope = if hop.gateway.is_none() && hop.is_v4 {
            SCOPE_LINK
        } else {
            0
        };
        let mut body = vec![
            family,
            length,
            0,
            0,
            TABLE_MAIN,
            PROTOCOL_STATIC,
            scope,
            UNICAST,
        ];
        body.extend([0; 4]);
        if let Some(destination) = hop.destination {
            put(&mut body, ROUTE_DESTINATION, &destination.bytes());
        }
        if let Some(gateway) = hop.gateway {
            put(&mut body, ROUTE_GATEWAY, &bytes(gateway));
        }
        if let Some(source) = hop.source {
            put(&mut body, ROUTE_SOURCE, &bytes(source));
        }
        if let Some(index) = index {
            put(&mut body, ROUTE_OUT, &index.to_ne_bytes());
        }
        if hop.metric > 0 {
            put(&mut body, ROUTE_PRIORITY, &hop.metric.to_ne_bytes());
        }
        self.ask(NEW_ROUTE, CREATE | REPLACE, &body).map(|_| ())
    }

    /// Sends one request and collects the bodies of what comes back until the kernel says it is done.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let is_dump = flags & DUMP == DUMP && (kind == GET_ADDRESS || kind == GET_ROUTE);
        let flags = flags | REQUEST | if is_dump { 0 } else { ACK };
        let length = (HEADER + body.len()) as u32;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        write(&self.socket, &message)?;
        let mut replies = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = read(&self.socket, &mut buffer)?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            while let Some((kind, sequence, body, after)) = split(rest) {
                rest = after;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    DONE => return Ok(replies),
                    ERROR => return verdict(body).map(|()| replies),
                    _ => replies.push(body.to_vec()),
                }
            }
        }
    }
}

/// `struct ifinfomsg`
fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

/// `struct ifaddrmsg` and the address.
fn address(index: u32, prefix: &Prefix) -> Vec<u8> {
    let (family, flags) = match prefix.address {
        IpAddr::V4(_) => (libc::AF_INET, 0),
        // The address is the pod's: nobody else may have it, and waiting for an objection costs a second.
        IpAddr::V6(_) => (libc::AF_INET6, NO_DAD),
    };
    let mut body = vec![family as u8, prefix.length, flags, 0];
    body.extend(index.to_ne_bytes());
    put(&mut body, ADDRESS_LOCAL, &prefix.bytes());
    put(&mut body, ADDRESS_ADDRESS, &prefix.bytes());
    body
}

/// One attribute, padded.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn address_in(body: &[u8], index: u32) -> Option<Prefix> {
    let length = *body.get(1)?;
    let of = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    if of != index {
        return None;
    }
    let mut rest = body.get(8..)?;
    let mut found = None;
    while let Some(head) = rest.first_chunk::<4>() {
        let [l0, l1, k0, k1] = *head;
        let size = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([k0, k1]);
        let value = rest.get(4..size)?;
        let ip = match value.len() {
            4 => value
                .first_chunk::<4>()
                .map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
            16 => value
                .first_chunk::<16>()
                .map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
            _ => None,
        };
        // IPv4 says the address itself in "local"; IPv6 has only "address".
        if kind == ADDRESS_LOCAL || (kind == ADDRESS_ADDRESS && found.is_none()) {
            found = ip.or(found);
        }
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    found.map(|address| Prefix { address, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        for text in ["10.0.0.7/24", "fd00::1/64"] {
            let prefix = Prefix::parse(text).expect("valid");
            assert_eq!(address_in(&address(3, &prefix), 3), Some(prefix));
            assert_eq!(address_in(&address(3, &prefix), 4), None);
        }
    }
}
