//! Ports of containers beside a whole machine, at the guest's localhost: a connection is carried over the link to the pod's.
//! What a program of the guest has is its own; it is tried again, for that may end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::pause::Pause;
use crate::pump::{self, Peer};
use crate::reactor::{READ, Reactor, Token, Watched};
use crate::sockets::reset_on_close;
use crate::sys::{invalid, is_not_now, owned};

const MAX_PORTS: usize = 64;
/// Accepted in one turn before the rest of the agent has its own.
const TURN: usize = 16;
/// Connections of this kind at one time: others of the agent's are not kept out by them.
const MAX_OPEN: usize = 256;
/// Nothing tells when there are descriptors again.
const REST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct LocalPorts {
    all: Vec<LocalPort>,
    /// Before those are tried again that a program of the guest has.
    pause: Pause,
    /// Until when those rest that could not accept; however long a program keeps its port.
    rest: Option<Instant>,
}

impl LocalPorts {
    fn rest(&mut self, now: Instant) {
        self.rest.get_or_insert(now + REST);
    }

    /// True once when the rest is over.
    fn is_rested(&mut self, now: Instant) -> bool {
        self.rest.take_if(|until| *until <= now).is_some()
    }

    fn deadline(&self) -> Option<Instant> {
        self.pause.deadline().into_iter().chain(self.rest).min()
    }
}

struct LocalPort {
    number: u32,
    address: SocketAddr,
    listener: Option<Watched>,
}

impl LocalPort {
    /// False: it is a program's, or there is no such address (yet).
    fn listen(&mut self, reactor: &Reactor) -> bool {
        if self.listener.is_none() {
            self.listener = TcpListener::bind(self.address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .map(|listener| Watched::new(listener.into(), Token::LocalPort(self.number)))
                .ok();
        }
        let Some(listener) = &mut self.listener else {
            return false;
        };
        listener.set(reactor, READ);
        true
    }
}

/// Numbers with commas between.
pub fn parse(list: &str) -> io::Result<Vec<u16>> {
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let ports: Option<Vec<u16>> = list.split(',').map(port).collect();
    ports
        .filter(|ports| ports.len() <= MAX_PORTS)
        .ok_or_else(|| invalid(format!("{list:?} are not up to {MAX_PORTS} ports")))
}

impl Agent {
    pub fn add_local_ports(&mut self, ports: &[u16]) {
        let both = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        for (port, localhost) in ports.iter().flat_map(|port| both.map(|ip| (*port, ip))) {
            let number = self.number();
            self.local_ports.all.push(LocalPort {
                number,
                address: SocketAddr::new(localhost, port),
                listener: None,
            });
        }
        self.listen_at_ports(Instant::now());
    }

    fn listen_at_ports(&mut self, now: Instant) {
        let ports = &mut self.local_ports;
        let mut is_whole = true;
        for port in &mut ports.all {
            is_whole &= port.listen(&self.reactor);
        }
        match is_whole {
            true => ports.pause.succeeded(now),
            false => ports.pause.begin(now),
        }
    }

    pub fn listen_at_ports_again(&mut self, now: Instant) {
        if self.local_ports.is_rested(now) {
            let all = self.local_ports.all.iter_mut();
            for listener in all.filter_map(|port| port.listener.as_mut()) {
                listener.set(&self.reactor, READ);
            }
        }
        if self.local_ports.pause.ends(now) {
            self.listen_at_ports(now);
        }
    }

    pub fn ports_deadline(&self) -> Option<Instant> {
        self.local_ports.deadline()
    }

    pub fn accept_at_port(&mut self, number: u32) {
        for _ in 0..TURN {
            let ports = &mut self.local_ports;
            let Some(port) = ports.all.iter_mut().find(|port| port.number == number) else {
                return;
            };
            let Some(listener) = &mut port.listener else {
                return;
            };
            match accept(listener) {
                Ok(client) => {
                    let address = port.address;
                    self.carry(address, client);
                }
                Err(error) if is_not_now(&error) => return,
                // A client that is gone again, or no descriptor left: nobody is told when there is one.
                Err(_) => {
                    listener.set(&self.reactor, 0);
                    return ports.rest(Instant::now());
                }
            }
        }
    }

    fn carry(&mut self, address: SocketAddr, client: OwnedFd) {
        let open = self.pumps.values().filter(|pump| pump.is_clients());
        if open.count() >= MAX_OPEN {
            return reset_on_close(&client);
        }
        let name = format!("tcp/{}/{}", address.ip(), address.port());
        let Ok(stream) = self.link.mux.open(&name) else {
            return reset_on_close(&client);
        };
        if let Err(why) = pump::join(self, client, stream, Peer::Client) {
            self.link.mux.abort(stream, why);
        }
    }
}

fn accept(listener: &Watched) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let nobody = std::ptr::null_mut();
    // SAFETY: who has connected is not asked for.
    owned(unsafe { libc::accept4(listener.as_raw_fd(), nobody, nobody.cast(), flags) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_rests_for_a_second_however_long_another_is_a_programs() {
        let (mut ports, now) = (LocalPorts::default(), Instant::now());
        for _ in 0..6 {
            ports.pause.begin(now);
        }
        assert_eq!(ports.deadline(), Some(now + Duration::from_secs(30)));
        ports.rest(now);
        ports.rest(now + REST / 2);
        assert_eq!(ports.deadline(), Some(now + REST));
        assert!(!ports.is_rested(now) && ports.is_rested(now + REST));
        assert!(!ports.is_rested(now + REST));
        assert_eq!(ports.deadline(), Some(now + Duration::from_secs(30)));
    }

    #[test]
    fn ports_are_numbers_and_not_too_many() {
        assert_eq!(parse("443,8080,65535").expect("fine"), [443, 8080, 65535]);
        let many = vec!["1"; MAX_PORTS + 1].join(",");
        for bad in ["", "0", "65536", "80,", "a", "80 ,81", "-1", &many] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
