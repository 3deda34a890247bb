//! Ports of the pod's localhost that the guest may connect to: those that were given to containers beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Guest;
use super::joins::{MAX_JOINS, Origin};
use crate::answer::Failure;
use crate::descriptors::invalid;
use crate::host::forward::connect_from;
use crate::shim::Shim;

/// First word of such streams' names.
pub const WORD: &str = "tcp";
const MAX_PORTS: usize = 64;

#[derive(Debug, Default)]
pub struct Ports(Vec<u16>);

impl Ports {
    pub fn parse(ports: &[u32]) -> Result<Ports, Failure> {
        let port = |port: &u32| u16::try_from(*port).ok().filter(|port| *port > 0);
        let all: Option<Vec<u16>> = ports.iter().map(port).collect();
        match all.filter(|all| all.len() <= MAX_PORTS) {
            Some(all) => Ok(Ports(all)),
            None => Err(invalid(format!(
                "guest_ports are at most {MAX_PORTS}, from 1 to 65535"
            ))),
        }
    }

    fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    /// Where a stream of that name leads, if it may.
    fn address_of(&self, name: &str) -> Option<SocketAddr> {
        let mut words = name.strip_prefix(WORD)?.strip_prefix('/')?.split('/');
        let localhost = match words.next()? {
            "127.0.0.1" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            "::1" => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => return None,
        };
        let port: u16 = words.next()?.parse().ok()?;
        let is_given = words.next().is_none() && self.contains(port);
        is_given.then(|| SocketAddr::new(localhost, port))
    }
}

impl Shim {
    /// The guest wants a connection to a container.
    pub fn guest_connects(&mut self, guest: &mut Guest, id: u32, name: &str) {
        let Some(address) = guest.ports.address_of(name) else {
            return guest.mux.abort(id, "no such port is a container's");
        };
        if self.join_count(Origin::Port) >= MAX_JOINS {
            return guest.mux.abort(id, "too many connections");
        }
        match connect_from(None, address) {
            Ok(stream) => self.join(guest, id, Origin::Port, stream.into()),
            Err(error) => guest.mux.abort(id, &error.to_string()),
        }
    }

    /// Whether a guest that is there comes to it by the shim: what is for its localhost would come back for ever.
    pub fn is_port_of_container(&self, port: u16) -> bool {
        self.newest_guest(|guest| guest.stream.is_some() && guest.ports.contains(port))
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_leads_to_localhost_and_a_port_that_was_given() {
        let ports = Ports::parse(&[80, 65535]).expect("ports");
        let leads = |name: &str| ports.address_of(name).map(|to| to.to_string());
        assert_eq!(leads("tcp/127.0.0.1/80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(leads("tcp/::1/65535").as_deref(), Some("[::1]:65535"));
        for bad in [
            "tcp",
            "tcp/",
            "tcp/80",
            "tcp/127.0.0.1/81",
            "tcp/127.0.0.1/",
            "tcp/127.0.0.1/80/",
            "tcp/127.0.0.1/80/80",
            "tcp/127.0.0.1,::1/80",
            "tcp/127.0.0.2/80",
            "tcp/0.0.0.0/80",
            "tcp/::ffff:127.0.0.1/80",
            "tcp/10.0.0.1/80",
            "tcp/127.0.0.1/65616",
            "tcp/127.0.0.1/-80",
            "udp/127.0.0.1/80",
            "tcp127.0.0.1/80",
        ] {
            assert_eq!(leads(bad), None, "{bad}");
        }
        assert_eq!(Ports::default().address_of("tcp/127.0.0.1/80"), None);
    }

    #[test]
    fn what_is_no_port_and_too_many_are_refused() {
        for bad in [vec![0], vec![65536], vec![80; MAX_PORTS + 1]] {
            assert!(Ports::parse(&bad).is_err(), "{bad:?}");
        }
        assert!(Ports::parse(&vec![80; MAX_PORTS]).is_ok());
    }
}
