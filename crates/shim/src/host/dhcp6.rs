//! Gives the guest behind a tap the one IPv6 address of its pod: router advertisements that send it to DHCPv6
//! (RFC 4861), and the server for it (RFC 8415). As with DHCPv4 nothing is remembered: `respond` is a function of
//! the configuration and a frame of a hostile guest.

use super::dhcp::{hardware_address, is_name, parse_mac};
use super::frames::{Frames, Instruction, JEQ, LDB_ABS, LDH_ABS, MOST_FRAME, RET};
use super::sys::{during, ifreq, invalid};
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::RawFd;
use std::time::Duration;

mod message;
mod packet;
mod router;

pub use router::advertisement;

const MOST_SERVERS: usize = 8;
/// Bytes of search domains; the pod may have 2048 of them.
const MOST_SEARCH: usize = 512;
/// Well within the time for which the guest keeps its router.
const ADVERTISE_EVERY: Duration = Duration::from_secs(600);

/// `ServeDhcp6Request` of the shim's protocol, field for field.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub tap: String,
    pub client_mac: String,
    pub address: String,
    pub prefix: u32,
    pub router: String,
    pub router_mac: String,
    pub is_default: bool,
    pub mtu: u32,
    pub dns: Vec<String>,
    pub search: Vec<String>,
}

/// A request that has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    tap: String,
    client_mac: [u8; 6],
    /// Of the tap; the source of the answers.
    server_mac: [u8; 6],
    address: Ipv6Addr,
    prefix: u8,
    /// Link-local; whom advertisements and answers come from.
    router: Ipv6Addr,
    /// What the guest is told of the router's whereabouts; none where a router of the network answers itself.
    router_mac: Option<[u8; 6]>,
    is_default: bool,
    mtu: u32,
    dns: Vec<Ipv6Addr>,
    /// Names as in RFC 1035, uncompressed.
    search: Vec<u8>,
}

impl Config {
    /// Checks a request; an error is invalid input and names the field.
    pub fn parse(request: &Request) -> io::Result<Self> {
        ifreq(&request.tap)?;
        let router = address("router", &request.router)?;
        if !router.is_unicast_link_local() {
            return Err(invalid(format!("dhcp6 router {router} is not link-local")));
        }
        let prefix = u8::try_from(request.prefix).ok().filter(|n| *n <= 128);
        let dns = request.dns.iter().filter(|text| text.contains(':'));
        let dns = dns.map(|text| address("dns", text));
        let router_mac = match request.router_mac.as_str() {
            "" => None,
            text => Some(parse_mac(text)?),
        };
        Ok(Self {
            tap: request.tap.clone(),
            client_mac: parse_mac(&request.client_mac)?,
            server_mac: [0; 6],
            address: address("address", &request.address)?,
            prefix: prefix.ok_or_else(|| invalid(format!("dhcp6 prefix {}", request.prefix)))?,
            router,
            router_mac,
            is_default: request.is_default,
            mtu: request.mtu,
            dns: dns.take(MOST_SERVERS).collect::<io::Result<_>>()?,
            search: encode_search(&request.search)?,
        })
    }
}

fn address(field: &str, text: &str) -> io::Result<Ipv6Addr> {
    text.parse()
        .map_err(|_| invalid(format!("dhcp6 {field} {text:?} is no IPv6 address")))
}

/// Domains that no longer fit are left out.
fn encode_search(domains: &[String]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for domain in domains.iter().filter(|domain| *domain != ".") {
        let name = domain.strip_suffix('.').unwrap_or(domain);
        if !is_name(name) {
            return Err(invalid(format!(
                "dhcp6 search domain {domain:?} is no name"
            )));
        }
        if bytes.len() + name.len() + 2 > MOST_SEARCH {
            break;
        }
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
    }
    Ok(bytes)
}

/// The answer to an Ethernet frame, or none: when it is no sound question of the configured guest.
pub fn respond(config: &Config, frame: &[u8]) -> Option<Vec<u8>> {
    let packet = packet::Packet::parse(config, frame)?;
    match packet.protocol {
        packet::ICMP6 => router::respond(config, &packet),
        packet::UDP => message::respond(config, &packet),
        _ => None,
    }
}

/// The socket on the tap.
pub struct Server {
    config: Config,
    frames: Frames,
}

impl Server {
    /// Listens on the tap of the calling thread's network namespace.
    pub fn open(mut config: Config) -> io::Result<Self> {
        config.server_mac = hardware_address(&config.tap)?;
        let mut frames = Frames::open(&config.tap, &FILTER).map_err(during("dhcp6"))?;
        frames.wake_after(ADVERTISE_EVERY)?;
        Ok(Self { config, frames })
    }

    /// Readable when `on_readable` has something to do.
    pub fn fd(&self) -> RawFd {
        self.frames.fd()
    }

    /// Answers by another configuration from now on. For another tap, open another server.
    pub fn set_config(&mut self, config: Config) -> io::Result<()> {
        if config.tap != self.config.tap {
            let (ours, theirs) = (&self.config.tap, &config.tap);
            return Err(invalid(format!("dhcp6 serves {ours}, not {theirs}")));
        }
        let server_mac = self.config.server_mac;
        self.config = Config {
            server_mac,
            ..config
        };
        Ok(())
    }

    /// Answers what has arrived, within the limit, and says again who the router is; never waits.
    pub fn on_readable(&mut self) {
        if self.frames.woke() {
            self.frames.send(&advertisement(&self.config));
            // Without a timer the guest has its router until it asks anew.
            let _ = self.frames.wake_after(ADVERTISE_EVERY);
        }
        let config = &self.config;
        self.frames.on_readable(|frame| respond(config, frame));
    }
}

/// Classic BPF: router and neighbour solicitations, and UDP for port 547, right behind an IPv6 header.
const FILTER: [Instruction; 12] = [
    (LDH_ABS, 0, 0, 12), // ethertype
    (JEQ, 0, 9, 0x86dd),
    (LDB_ABS, 0, 0, 20), // next header
    (JEQ, 0, 3, 58),
    (LDB_ABS, 0, 0, 54), // type
    (JEQ, 4, 0, 133),
    (JEQ, 3, 4, 135),
    (JEQ, 0, 3, 17),
    (LDH_ABS, 0, 0, 56), // destination port
    (JEQ, 0, 1, 547),
    (RET, 0, 0, MOST_FRAME as u32),
    (RET, 0, 0, 0),
];

#[cfg(test)]
mod tests;
