//! Addresses, prefixes and routes as text.

use std::fmt;
use std::io;
use std::net::IpAddr;

use trine_wire::agent::Route;

use crate::sys::invalid;

/// An address and how much of it is the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    pub fn parse(text: &str) -> io::Result<Prefix> {
        let bad = || invalid(format!("{text:?} is no address with a prefix length"));
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let length: u8 = length.parse().map_err(|_| bad())?;
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(bad());
        }
        Ok(Prefix { address, length })
    }

    pub fn is_link_local(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        bytes(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

pub fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A route, checked.
#[derive(Debug)]
pub struct Hop {
    /// None = everything.
    pub destination: Option<Prefix>,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    pub interface: String,
    pub is_v4: bool,
    /// 0 = the kernel's own.
    pub metric: u32,
}

impl Hop {
    pub fn parse(route: &Route) -> io::Result<Hop> {
        let address = |text: &str| -> io::Result<Option<IpAddr>> {
            if text.is_empty() {
                return Ok(None);
            }
            let parsed = text.parse();
            parsed
                .map(Some)
                .map_err(|_| invalid(format!("{text:?} is no address")))
        };
        let destination = match route.destination.as_str() {
            "" => None,
            text => Some(Prefix::parse(text)?).filter(|p| p.length > 0),
        };
        let gateway = address(&route.gateway)?;
        let source = address(&route.source)?;
        let family = destination.map(|p| p.address).or(gateway).or(source);
        let text_v6 = route.destination.contains(':');
        let is_v4 = family.map_or(!text_v6, |a| a.is_ipv4());
        let all = [destination.map(|p| p.address), gateway, source];
        if all.into_iter().flatten().any(|a| a.is_ipv4() != is_v4) {
            return Err(invalid("a route mixes IPv4 and IPv6"));
        }
        if !route.interface.is_empty() {
            check_name(&route.interface)?;
        } else if gateway.is_none() {
            return Err(invalid("a route has neither a gateway nor an interface"));
        }
        Ok(Hop {
            destination,
            gateway,
            source,
            interface: route.interface.clone(),
            is_v4,
            metric: route.metric,
        })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Some(destination) => destination.fmt(f),
            None => f.write_str("everywhere"),
        }
    }
}

/// Six bytes in hexadecimal with colons.
pub fn mac(text: &str) -> io::Result<[u8; 6]> {
    let bad = || invalid(format!("{text:?} is no hardware address"));
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| p.len() == 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
    }
    match parts.next() {
        None => Ok(bytes),
        Some(_) => Err(bad()),
    }
}

pub fn check_name(name: &str) -> io::Result<()> {
    let bad = |b: &u8| *b <= b' ' || matches!(*b, b'/' | b':' | b'%') || *b >= 0x7f;
    let length = 1..libc::IFNAMSIZ;
    if !length.contains(&name.len()) || name.as_bytes().iter().any(bad) || name.starts_with('.') {
        return Err(invalid(format!("{name:?} is no interface name")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, gateway: &str, interface: &str) -> Route {
        Route {
            destination: destination.to_owned(),
            gateway: gateway.to_owned(),
            source: String::new(),
            interface: interface.to_owned(),
            metric: 0,
        }
    }

    #[test]
    fn prefixes_and_hardware_addresses() {
        let prefix = Prefix::parse("10.1.2.3/24").expect("valid");
        assert_eq!((prefix.bytes(), prefix.length), (vec![10, 1, 2, 3], 24));
        assert!(Prefix::parse("fe80::1/64").expect("valid").is_link_local());
        for bad in ["10.0.0.1", "10.0.0.1/33", "x/8", "10.0.0.1/-1"] {
            assert!(Prefix::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            mac("02:00:0a:ff:00:01").expect("valid"),
            [2, 0, 10, 255, 0, 1]
        );
        for bad in [
            "",
            "02:00:0a:ff:00",
            "02:00:0a:ff:00:01:02",
            "2:0:a:f:0:1",
            "zz:00:00:00:00:00",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_are_of_one_family_and_lead_somewhere() {
        let default = Hop::parse(&route("", "10.0.0.1", "eth0")).expect("valid");
        assert!(default.is_v4 && default.destination.is_none());
        let zero = Hop::parse(&route("0.0.0.0/0", "10.0.0.1", "")).expect("valid");
        assert!(zero.destination.is_none());
        let v6 = Hop::parse(&route("::/0", "", "eth0")).expect("valid");
        assert!(!v6.is_v4);
        assert!(Hop::parse(&route("10.0.0.0/8", "fe80::1", "eth0")).is_err());
        assert!(Hop::parse(&route("10.0.0.0/8", "", "")).is_err());
        assert!(Hop::parse(&route("", "10.0.0.1", "../x")).is_err());
    }
}
