//! A stream of the link joined to a socket of the guest: connections made inside it, and the kernel's 9p client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::agent::{Agent, Role};
use crate::gather::Gather;
use crate::reactor::{READ, Token, WRITE, Watched};
use crate::sockets::{connect_to, is_connected, reset_on_close};
use crate::sys::{is_not_now, read, write};

const PIECE: usize = 32 << 10;
const MAX_PIECES: usize = 8;
const MAX_PUMPS: usize = 512;
/// Of one stream's name.
const MAX_ADDRESSES: usize = 4;

/// Who is at the other end of the socket.
pub enum Peer {
    /// A service, once it has accepted the connection; else one at another of these addresses, the next one last.
    Service(Vec<SocketAddr>),
    /// Who has connected to a port of the guest's.
    Client,
    /// The kernel's 9P client.
    NineP,
}

pub struct Pump {
    socket: Watched,
    stream: u32,
    connecting: bool,
    /// Where else to try, the next one last, when nobody accepts.
    others: Vec<SocketAddr>,
    /// Set where only whole messages go to the socket.
    messages: Option<Gather>,
    is_clients: bool,
    /// The socket has sent its last; the stream has.
    socket_ended: bool,
    stream_ended: bool,
}

/// `tcp/<address>[,<address>...]/<port>`: whatever listens there as seen from inside, loopback too; the first address
/// that accepts.
pub fn connect(
    agent: &mut Agent,
    id: u32,
    addresses: &str,
    port: &str,
) -> Result<(), &'static str> {
    if agent.pod.is_none() {
        return Err("this guest belongs to no pod yet");
    }
    let port: u16 = port.parse().map_err(|_| "no port")?;
    let mut others = Vec::new();
    for address in addresses.split(',').take(MAX_ADDRESSES) {
        let address: IpAddr = address.parse().map_err(|_| "no address")?;
        others.insert(0, SocketAddr::new(address, port));
    }
    let socket = next_of(&mut others).ok_or("no connection")?;
    join(agent, socket, id, Peer::Service(others))
}

/// A connection under way to the next address that this guest can have one to.
fn next_of(addresses: &mut Vec<SocketAddr>) -> Option<OwnedFd> {
    std::iter::from_fn(|| addresses.pop()).find_map(|address| connect_to(address).ok())
}

/// Joins a stream that is open with a socket.
pub fn join(
    agent: &mut Agent,
    socket: OwnedFd,
    stream: u32,
    peer: Peer,
) -> Result<(), &'static str> {
    if agent.pumps.len() >= MAX_PUMPS {
        reset_on_close(&socket);
        return Err("too many connections");
    }
    let number = agent.number();
    let is_clients = matches!(peer, Peer::Client);
    let (connecting, others, messages) = match peer {
        Peer::Service(others) => (true, others, None),
        Peer::Client => (false, Vec::new(), None),
        Peer::NineP => (false, Vec::new(), Some(Gather::default())),
    };
    let pump = Pump {
        socket: Watched::new(socket, Token::Pump(number)),
        stream,
        connecting,
        others,
        messages,
        is_clients,
        socket_ended: false,
        stream_ended: false,
    };
    agent.pumps.insert(number, pump);
    agent.roles.insert(stream, Role::Pump(number));
    agent.pump(number);
    Ok(())
}

impl Agent {
    /// Moves bytes both ways as far as they go.
    pub fn pump(&mut self, number: u32) {
        let Some(pump) = self.pumps.get_mut(&number) else {
            return;
        };
        let why = match pump.advance(number, &mut self.link.mux) {
            Ok(_) if pump.has_lost_server() => "its server has ended".to_owned(),
            Ok(interest) if !pump.is_over() => return pump.socket.set(&self.reactor, interest),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let (stream, is_over) = (pump.stream, pump.is_over());
        self.roles.remove(&stream);
        if !is_over {
            self.link.mux.abort(stream, &why);
        }
        self.pump_ended(number);
    }

    pub fn pump_ended(&mut self, number: u32) {
        if let Some(pump) = self.pumps.remove(&number)
            && !pump.socket_ended
        {
            self.share_ended(pump.stream);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.is_over() {
            reset_on_close(&self.socket);
        }
    }
}

impl Pump {
    pub fn is_clients(&self) -> bool {
        self.is_clients
    }

    fn is_over(&self) -> bool {
        self.socket_ended && self.stream_ended
    }

    /// The kernel, which has not given the share up, would wait for answers.
    fn has_lost_server(&self) -> bool {
        self.messages.is_some() && self.stream_ended && !self.socket_ended
    }

    fn advance(&mut self, number: u32, mux: &mut trine_wire::mux::Mux) -> io::Result<u32> {
        if self.connecting {
            match is_connected(&self.socket) {
                Ok(connected) => self.connecting = !connected,
                Err(error) => {
                    let socket = next_of(&mut self.others).ok_or(error)?;
                    self.socket = Watched::new(socket, Token::Pump(number));
                }
            }
        }
        if self.connecting {
            return Ok(WRITE);
        }
        Ok(self.outwards(mux)? | self.inwards(mux)?)
    }

    /// From the socket to the host.
    fn outwards(&mut self, mux: &mut trine_wire::mux::Mux) -> io::Result<u32> {
        if self.socket_ended {
            return Ok(0);
        }
        let mut buffer = [0_u8; PIECE];
        for _ in 0..MAX_PIECES {
            let room = mux.room(self.stream).min(PIECE);
            if room == 0 {
                // Asks to be told when there is room.
                mux.send(self.stream, &[0]);
                return Ok(0);
            }
            match read(&self.socket, buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => {
                    self.socket_ended = true;
                    mux.fin(self.stream);
                    return Ok(0);
                }
                Ok(count) => {
                    mux.send(self.stream, buffer.get(..count).unwrap_or_default());
                }
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(READ)
    }

    /// From the host to the socket.
    fn inwards(&mut self, mux: &mut trine_wire::mux::Mux) -> io::Result<u32> {
        while !self.stream_ended {
            if let Some(gather) = &mut self.messages
                && let whole = gather.whole()?
                && !whole.is_empty()
            {
                match write(&self.socket, whole) {
                    Ok(count) => gather.sent(count),
                    Err(error) if is_not_now(&error) => return Ok(WRITE),
                    Err(error) => return Err(error),
                }
                continue;
            }
            let data = mux.data(self.stream);
            if data.is_empty() {
                if mux.at_end(self.stream) {
                    self.stream_ended = true;
                    // SAFETY: takes no pointers. A peer that has gone already is no error.
                    unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_WR) };
                }
                return Ok(0);
            }
            if let Some(gather) = &mut self.messages {
                let taken = gather.take(data)?;
                mux.consume(self.stream, taken);
                continue;
            }
            match write(&self.socket, data) {
                Ok(count) => mux.consume(self.stream, count),
                Err(error) if is_not_now(&error) => return Ok(WRITE),
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }
}
