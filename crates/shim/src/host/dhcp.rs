//! Answers the DHCPv4 client behind a tap with the one address of its pod (RFC 2131, 2132).
//!
//! There is one lease and one client, so nothing is remembered: `respond` is a function of the
//! configuration and a frame. Frames come from a hostile guest.

use super::frames::{
    Frames, Instruction, JEQ, JSET, LDB_ABS, LDH_ABS, LDH_IND, LDX_IHL, MOST_FRAME, RET,
};
use super::sys::{control_socket, during, ifreq, ifreq_ioctl, invalid, owned, set_option};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

mod options;
mod packet;

pub use options::is_name;
pub use packet::{checksum, respond};

const DEFAULT_LEASE_SECONDS: u32 = 86_400;
const MOST_SERVERS: usize = 8;

/// `ServeDhcpRequest` of the shim's protocol, field for field.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub tap: String,
    pub client_mac: String,
    pub address: String,
    pub prefix: u32,
    pub server: String,
    /// Empty = none.
    pub router: String,
    /// 0 = not sent.
    pub mtu: u32,
    pub hostname: String,
    /// IPv6 addresses are left out: DHCPv4 cannot carry them.
    pub dns: Vec<String>,
    pub search: Vec<String>,
    /// Destination as a CIDR, and the router; empty = on-link.
    pub routes: Vec<(String, String)>,
    /// 0 = a day.
    pub lease_seconds: u32,
}

/// A request that has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    tap: String,
    client_mac: [u8; 6],
    /// Of the tap; the source of the answers.
    server_mac: [u8; 6],
    address: Ipv4Addr,
    prefix: u8,
    server: Ipv4Addr,
    router: Option<Ipv4Addr>,
    mtu: u16,
    hostname: String,
    dns: Vec<Ipv4Addr>,
    /// Encoded as in RFC 3397.
    search: Vec<u8>,
    domain: String,
    /// Encoded as in RFC 3442.
    routes: Vec<u8>,
    lease_seconds: u32,
}

impl Config {
    /// Checks a request; an error is invalid input and names the field.
    pub fn parse(request: &Request) -> io::Result<Self> {
        ifreq(&request.tap)?;
        let router = match request.router.as_str() {
            "" => None,
            text => Some(address("router", text)?),
        };
        let mtu = u16::try_from(request.mtu)
            .ok()
            .filter(|mtu| *mtu == 0 || *mtu >= 68);
        if !request.hostname.is_empty() && !options::is_name(&request.hostname) {
            return Err(invalid(format!(
                "dhcp hostname {:?} is no name",
                request.hostname
            )));
        }
        let dns = request.dns.iter().filter(|text| !text.contains(':'));
        let dns = dns
            .map(|text| address("dns", text))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            tap: request.tap.clone(),
            client_mac: parse_mac(&request.client_mac)?,
            server_mac: [0; 6],
            address: address("address", &request.address)?,
            prefix: prefix(request.prefix)?,
            server: address("server", &request.server)?,
            router,
            mtu: mtu.ok_or_else(|| invalid(format!("dhcp mtu {}", request.mtu)))?,
            hostname: request.hostname.clone(),
            dns: dns.into_iter().take(MOST_SERVERS).collect(),
            search: options::encode_search(&request.search)?,
            domain: request.search.first().cloned().unwrap_or_default(),
            routes: options::encode_routes(&routes(&request.routes)?, router)?,
            lease_seconds: match request.lease_seconds {
                0 => DEFAULT_LEASE_SECONDS,
                seconds => seconds,
            },
        })
    }
}

/// Destination, prefix length and router.
type Route = (Ipv4Addr, u8, Ipv4Addr);

fn routes(routes: &[(String, String)]) -> io::Result<Vec<Route>> {
    let parse = |(destination, via): &(String, String)| {
        let wrong = || invalid(format!("dhcp route {destination:?} is no CIDR"));
        let (network, length) = destination.split_once('/').ok_or_else(wrong)?;
        let length = prefix(length.parse().map_err(|_| wrong())?)?;
        let via = match via.as_str() {
            "" => Ipv4Addr::UNSPECIFIED,
            text => address("route", text)?,
        };
        Ok((address("route", network)?, length, via))
    };
    routes.iter().map(parse).collect()
}

fn address(field: &str, text: &str) -> io::Result<Ipv4Addr> {
    text.parse()
        .map_err(|_| invalid(format!("dhcp {field} {text:?} is no IPv4 address")))
}

fn prefix(length: u32) -> io::Result<u8> {
    match u8::try_from(length) {
        Ok(length) if length <= 32 => Ok(length),
        _ => Err(invalid(format!("dhcp prefix length {length} is above 32"))),
    }
}

pub fn parse_mac(text: &str) -> io::Result<[u8; 6]> {
    let wrong = || invalid(format!("dhcp client_mac {text:?} is no MAC address"));
    let mut mac = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let hex = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let part = parts.next().filter(hex).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    Ok(mac)
}

/// The socket on the tap.
pub struct Server {
    config: Config,
    frames: Frames,
    _sink: Option<OwnedFd>,
}

impl Server {
    /// Listens on the tap of the calling thread's network namespace.
    pub fn open(mut config: Config) -> io::Result<Self> {
        config.server_mac = hardware_address(&config.tap)?;
        let frames = Frames::open(&config.tap, &FILTER).map_err(during("dhcp"))?;
        Ok(Self {
            _sink: sink(&config.tap).ok(),
            config,
            frames,
        })
    }

    /// Readable when `on_readable` has something to do.
    pub fn fd(&self) -> RawFd {
        self.frames.fd()
    }

    /// Answers by another configuration from now on. For another tap, open another server.
    pub fn set_config(&mut self, config: Config) -> io::Result<()> {
        if config.tap != self.config.tap {
            return Err(invalid(format!(
                "dhcp serves {}, not {}",
                self.config.tap, config.tap
            )));
        }
        let server_mac = self.config.server_mac;
        self.config = Config {
            server_mac,
            ..config
        };
        Ok(())
    }

    /// Answers what has arrived, within the limit; never waits.
    pub fn on_readable(&mut self) {
        let config = &self.config;
        self.frames.on_readable(|frame| respond(config, frame));
    }
}

pub fn hardware_address(tap: &str) -> io::Result<[u8; 6]> {
    let mut request = ifreq(tap)?;
    ifreq_ioctl(control_socket()?.as_fd(), libc::SIOCGIFHWADDR, &mut request)
        .map_err(during(format!("hardware address of {tap}")))?;
    // SAFETY: SIOCGIFHWADDR has filled this member in.
    let [a, b, c, d, e, f, ..] = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
    Ok([a, b, c, d, e, f].map(|byte| byte as u8))
}

/// A UDP socket on port 67 that takes nothing: where the server's address is one of this namespace, a
/// renewal would else be answered with "port unreachable" besides.
fn sink(tap: &str) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, flags, 0) })?;
    let fd = socket.as_raw_fd();
    let nothing = [(RET, 0, 0, 0)].map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let program = libc::sock_fprog {
        len: 1,
        filter: nothing.as_ptr().cast_mut(),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32)?;
    set_option(
        fd,
        libc::SOL_SOCKET,
        libc::SO_BINDTODEVICE,
        &ifreq(tap)?.ifr_name,
    )?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 67u16.to_be(),
        sin_addr: libc::in_addr { s_addr: 0 },
        sin_zero: [0; 8],
    };
    // SAFETY: the pointer and the length describe `address`.
    super::sys::check(unsafe {
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        libc::bind(fd, (&raw const address).cast(), length)
    })?;
    Ok(socket)
}

/// Classic BPF: an Ethernet frame with an unfragmented IPv4 UDP packet for port 67.
const FILTER: [Instruction; 11] = [
    (LDH_ABS, 0, 0, 12), // ethertype
    (JEQ, 0, 8, 0x0800),
    (LDB_ABS, 0, 0, 23), // protocol
    (JEQ, 0, 6, 17),
    (LDH_ABS, 0, 0, 20), // fragment offset and more-fragments flag
    (JSET, 4, 0, 0x3fff),
    (LDX_IHL, 0, 0, 14),
    (LDH_IND, 0, 0, 16), // destination port, behind the IP header
    (JEQ, 0, 1, 67),
    (RET, 0, 0, MOST_FRAME as u32),
    (RET, 0, 0, 0),
];

#[cfg(test)]
mod tests;
