//! Carries connections to the pod's localhost on to the machine: containerd's port-forward dials
//! localhost in the pod's network namespace, where nothing of a machine listens. An nft rule
//! redirects loopback TCP to this listener; the kernel remembers the port that was meant. Beside
//! ordinary containers `tproxy` brings it what no socket waits for, under the address that was meant.
//!
//! All descriptors are behind one epoll descriptor. Memory is bounded: data waits in the kernel
//! while its other side is slow, at most 64 KiB for each direction wait here.

use super::sys::{Epoll, Timer, check, during, invalid, owned, reset_on_close, set_option};
use connection::{Connection, Side};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

mod connection;

const MOST_CONNECTIONS: usize = 256;
const MOST_ACCEPTS: usize = 16;
const CHUNK: usize = 65_536;
/// How long to leave the listeners alone when descriptors or memory have run out.
const RECOVERY: Duration = Duration::from_secs(1);
const PORT_TRIES: usize = 16;
const SO_ORIGINAL_DST: libc::c_int = 80;

/// Tokens of the listeners and the timer; connections have smaller ones.
const LISTENERS: u64 = u64::MAX - 8;
const TIMER: u64 = u64::MAX;

pub struct Forwarder {
    epoll: Epoll,
    timer: Timer,
    listeners: Vec<TcpListener>,
    port: u16,
    target: IpAddr,
    source: Option<IpAddr>,
    /// Connections for the guest, with the ports that were meant.
    for_guest: Vec<(TcpStream, u16)>,
    /// Connections to localhost are for the guest; others, and without this all, go to `target`.
    through_guest: bool,
    slots: Vec<Option<Connection>>,
    open: usize,
    most: usize,
    accepting: bool,
    generation: u32,
    /// Empty while there are no connections.
    chunk: Vec<u8>,
}

impl Forwarder {
    /// Listens on 127.0.0.1 and, where there is IPv6, on ::1, under the same port. Connects to
    /// `target` from `source` (none = what the routes say).
    pub fn new(target: IpAddr, source: Option<IpAddr>) -> io::Result<Self> {
        check_families(target, source)?;
        let listeners = listen().map_err(during("listen on localhost"))?;
        let first = listeners.first().ok_or_else(|| invalid("no listener"))?;
        let port = first.local_addr()?.port();
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.add(timer.fd(), libc::EPOLLIN, TIMER)?;
        for (listener, token) in listeners.iter().zip(LISTENERS..) {
            epoll.add(listener.as_raw_fd(), libc::EPOLLIN, token)?;
        }
        Ok(Self {
            epoll,
            timer,
            listeners,
            port,
            target,
            source,
            for_guest: Vec::new(),
            through_guest: false,
            slots: Vec::new(),
            open: 0,
            most: MOST_CONNECTIONS,
            accepting: true,
            generation: 0,
            chunk: Vec::new(),
        })
    }

    /// The port both listeners have.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Readable when `on_ready` has something to do.
    pub fn fd(&self) -> RawFd {
        self.epoll.fd()
    }

    /// Where connections go that come from now on.
    pub fn set_target(&mut self, target: IpAddr, source: Option<IpAddr>) -> io::Result<()> {
        check_families(target, source)?;
        (self.target, self.source) = (target, source);
        Ok(())
    }

    pub fn target(&self) -> IpAddr {
        self.target
    }

    /// Whether connections to localhost that come from now on are given out by `take_for_guest`.
    pub fn set_through_guest(&mut self, through_guest: bool) {
        self.through_guest = through_guest;
    }

    /// What `on_ready` has accepted for the guest. Whoever takes them bounds their number.
    pub fn take_for_guest(&mut self) -> Vec<(TcpStream, u16)> {
        std::mem::take(&mut self.for_guest)
    }

    /// Takes the next step on whatever is ready; never waits. Trouble ends the connection it is
    /// with, by a reset.
    pub fn on_ready(&mut self) {
        for (token, events) in self.epoll.ready() {
            match token {
                TIMER => {
                    self.timer.clear();
                    self.listen_again();
                }
                token if token >= LISTENERS => self.accept((token - LISTENERS) as usize),
                token => self.step(token, events),
            }
        }
        if self.open == 0 {
            self.slots = Vec::new();
            self.chunk = Vec::new();
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..MOST_ACCEPTS {
            if self.open >= self.most {
                return self.stop_listening();
            }
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            match listener.accept() {
                Ok((client, _)) => self.open_connection(client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_shortage(&error) => {
                    self.stop_listening();
                    let _ = self.timer.start(RECOVERY);
                    return;
                }
                Err(_) => {} // that client is gone again
            }
        }
    }

    fn open_connection(&mut self, client: TcpStream) {
        if self.through_guest && is_to_localhost(&client) {
            return match meant(&client, self.port) {
                Ok(port) => self.for_guest.push((client, port)),
                Err(_) => reset_on_close(&client),
            };
        }
        self.carry_to_target(client);
    }

    /// Whatever is said of the guest: also one of those that were given out for it, unread.
    pub fn carry_to_target(&mut self, client: TcpStream) {
        if self.open >= self.most {
            return reset_on_close(&client);
        }
        let connection = match self.connect(&client) {
            Ok(machine) => {
                self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
                Connection::new(client, machine, self.generation)
            }
            Err(_) => return reset_on_close(&client),
        };
        let index = match self.slots.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.chunk.resize(CHUNK, 0);
        self.open += 1;
        self.keep(index, connection);
    }

    /// A connection under way to the port that `client` meant.
    fn connect(&self, client: &TcpStream) -> io::Result<TcpStream> {
        let port = meant(client, self.port)?;
        connect_from(self.source, SocketAddr::new(self.target, port))
    }

    fn step(&mut self, token: u64, events: i32) {
        let (generation, index, side) = parse_token(token);
        let slot = self.slots.get_mut(index);
        // An event may be of a connection that ended a moment ago.
        let Some(mut connection) =
            slot.and_then(|slot| slot.take_if(|c| c.generation == generation))
        else {
            return;
        };
        match connection.step(side, events, &mut self.chunk) {
            Ok(true) => self.keep(index, connection),
            Ok(false) => self.closed(),
            Err(_) => {
                connection.reset();
                self.closed();
            }
        }
    }

    /// Registers what the connection waits for and puts it (back) into its slot.
    fn keep(&mut self, index: usize, mut connection: Connection) {
        let generation = connection.generation;
        let token = |side| make_token(generation, index, side);
        if connection.register(&self.epoll, token).is_err() {
            connection.reset();
            return self.closed();
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(connection);
        }
    }

    fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
        self.listen_again();
    }

    fn stop_listening(&mut self) {
        self.set_listening(false);
    }

    fn listen_again(&mut self) {
        if !self.accepting && self.open < self.most {
            self.set_listening(true);
        }
    }

    fn set_listening(&mut self, on: bool) {
        let events = if on { libc::EPOLLIN } else { 0 };
        for (listener, token) in self.listeners.iter().zip(LISTENERS..) {
            let _ = self.epoll.modify(listener.as_raw_fd(), events, token);
        }
        self.accepting = on;
    }
}

/// One that `tproxy` brought may be for the pod's address, where the guest's localhost is nobody's business.
fn is_to_localhost(client: &TcpStream) -> bool {
    client
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback())
}

/// Makes a client's connection ready for use; the port it was meant for.
fn meant(client: &TcpStream, own: u16) -> io::Result<u16> {
    client.set_nonblocking(true)?;
    let port = match original_port(client) {
        // Not tracked, so nothing was redirected: it came as it was meant.
        Err(error) if error.kind() == io::ErrorKind::NotFound => client.local_addr()?.port(),
        other => other?,
    };
    if port == own {
        return Err(invalid("not redirected"));
    }
    keep_alive(client)?;
    Ok(port)
}

fn make_token(generation: u32, index: usize, side: Side) -> u64 {
    u64::from(generation) << 32 | (index as u64) << 1 | u64::from(side == Side::Machine)
}

fn parse_token(token: u64) -> (u32, usize, Side) {
    let side = if token & 1 == 0 {
        Side::Client
    } else {
        Side::Machine
    };
    (
        (token >> 32) as u32,
        ((token & 0xffff_ffff) >> 1) as usize,
        side,
    )
}

fn check_families(target: IpAddr, source: Option<IpAddr>) -> io::Result<()> {
    match source {
        Some(source) if source.is_ipv4() != target.is_ipv4() => Err(invalid(format!(
            "forward from {source} to {target}: two address families"
        ))),
        _ => Ok(()),
    }
}

/// Both listeners on one port; without IPv6 there is one.
fn listen() -> io::Result<Vec<TcpListener>> {
    let mut result = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for _ in 0..PORT_TRIES {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        first.set_nonblocking(true)?;
        set_option(first.as_raw_fd(), libc::SOL_IP, libc::IP_TRANSPARENT, &1i32)?;
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Ok(second) => {
                second.set_nonblocking(true)?;
                let fd = second.as_raw_fd();
                set_option(fd, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, &1i32)?;
                return Ok(vec![first, second]);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = Err(error),
            Err(_) => return Ok(vec![first]),
        }
    }
    result
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// The port before the redirection (`SO_ORIGINAL_DST`, the same number for IPv4 and IPv6).
fn original_port(client: &TcpStream) -> io::Result<u16> {
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let (level, size) = match client.local_addr()? {
        SocketAddr::V4(_) => (libc::SOL_IP, size_of::<libc::sockaddr_in>()),
        SocketAddr::V6(_) => (libc::SOL_IPV6, size_of::<libc::sockaddr_in6>()),
    };
    let mut length = size as libc::socklen_t;
    // SAFETY: the pointer and the length describe (the beginning of) `address`.
    check(unsafe {
        let to = (&raw mut address).cast();
        libc::getsockopt(
            client.as_raw_fd(),
            level,
            SO_ORIGINAL_DST,
            to,
            &raw mut length,
        )
    })?;
    // The port is at the same place in both kinds of address.
    Ok(u16::from_be(address.sin6_port))
}

/// A connection being made; its outcome comes as an event. A peer that has vanished is noticed.
pub fn connect_from(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(family, flags, 0) })?;
    let fd = socket.as_raw_fd();
    // About half a minute for a machine that does not answer at all.
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT, &4i32)?;
    if let Some(source) = source {
        set_option(fd, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
        let (address, length) = socket_address(SocketAddr::new(source, 0));
        // SAFETY: the pointer and the length describe `address`.
        check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })
            .map_err(during(format!("connect from {source}")))?;
    }
    let (address, length) = socket_address(target);
    // SAFETY: as above.
    match check(unsafe { libc::connect(fd, (&raw const address).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    keep_alive(&stream)?;
    Ok(stream)
}

fn socket_address(address: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: all zeroes is a valid address.
    let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    raw.sin6_port = address.port().to_be();
    match address.ip() {
        IpAddr::V4(ip) => {
            raw.sin6_family = libc::AF_INET as u16;
            // An IPv4 address lies where the flow information of an IPv6 one does.
            raw.sin6_flowinfo = u32::from_ne_bytes(ip.octets());
            (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        IpAddr::V6(ip) => {
            raw.sin6_family = libc::AF_INET6 as u16;
            raw.sin6_addr.s6_addr = ip.octets();
            (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

/// No delay for small writes; a peer that has vanished is noticed after about two minutes.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let fd = stream.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, &60i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, &15i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, &4i32)
}

#[cfg(test)]
mod tests;
