//! The pod's network inside the guest: interfaces, addresses and routes, as the host's CNI made them.

mod announce;
mod messages;
mod netlink;
mod parse;

use std::fs;
use std::io;

use trine_wire::agent::{Interface, Route};

use crate::sys::{check, during, invalid, owned};
use netlink::Netlink;
use parse::Prefix;

const MAX_INTERFACES: usize = 32;
const MAX_ROUTES: usize = 1024;
const MAX_ADDRESSES: usize = 64;

/// Gives the interfaces their names, hardware addresses and addresses and replaces the routes. What is so already
/// stays. Everything is checked before anything changes.
pub fn configure(interfaces: &[Interface], routes: &[Route]) -> io::Result<()> {
    if interfaces.len() > MAX_INTERFACES || routes.len() > MAX_ROUTES {
        return Err(invalid("too many interfaces or routes"));
    }
    let mut wanted = Vec::new();
    for interface in interfaces {
        if interface.addresses.len() > MAX_ADDRESSES {
            return Err(invalid(format!("{}: too many addresses", interface.name)));
        }
        let addresses: Vec<Prefix> = interface
            .addresses
            .iter()
            .map(|text| Prefix::parse(text))
            .collect::<io::Result<_>>()?;
        parse::check_name(&interface.name)?;
        wanted.push((interface, parse::mac(&interface.mac)?, addresses));
    }
    let routes: Vec<parse::Hop> = routes
        .iter()
        .map(parse::Hop::parse)
        .collect::<io::Result<_>>()?;
    let mut netlink = Netlink::open()?;
    let named: Vec<_> = wanted
        .iter()
        .map(|(interface, mac, _)| (*interface, *mac))
        .collect();
    let indices = give_names(&mut netlink, &named)?;
    for ((interface, _, addresses), index) in wanted.iter().zip(indices) {
        one(&mut netlink, interface, index, addresses)
            .map_err(during(format!("set up interface {}", interface.name)))?;
    }
    set_routes(&mut netlink, &routes)?;
    for (interface, mac, addresses) in &wanted {
        // Neighbours that remember another hardware address learn of this one; nobody answers, nothing is lost.
        let _ = announce::arp(index_of(&interface.name)?, *mac, addresses);
    }
    Ok(())
}

/// Finds each interface and gives it its name and hardware address; their indices, in the same order.
fn give_names(netlink: &mut Netlink, wanted: &[(&Interface, [u8; 6])]) -> io::Result<Vec<u32>> {
    let all = present()?;
    let places = choose(&all, wanted)?;
    let mut found = Vec::new();
    for place in places {
        let Some(one) = all.get(place) else { continue };
        found.push((one, index_of(&one.name)?));
    }
    // A name that is wanted may be another's as yet: that one steps aside first.
    for other in &all {
        let own = found
            .iter()
            .zip(wanted)
            .find(|((f, _), _)| f.name == other.name);
        let stays = own.is_some_and(|(_, (interface, _))| interface.name == other.name);
        if !stays
            && wanted
                .iter()
                .any(|(interface, _)| interface.name == other.name)
        {
            let index = index_of(&other.name)?;
            netlink.set_up(index, false)?;
            netlink
                .rename(index, &format!("aside{index}"), other.mac)
                .map_err(during(format!("rename {}", other.name)))?;
        }
    }
    for ((one, index), (interface, mac)) in found.iter().zip(wanted) {
        if one.name != interface.name || one.mac != *mac {
            netlink.set_up(*index, false)?;
            netlink
                .rename(*index, &interface.name, *mac)
                .map_err(during(format!("set up interface {}", interface.name)))?;
        }
    }
    Ok(found.into_iter().map(|(_, index)| index).collect())
}

fn one(
    netlink: &mut Netlink,
    interface: &Interface,
    index: u32,
    addresses: &[Prefix],
) -> io::Result<()> {
    if interface.mtu > 0 {
        netlink.set_mtu(index, interface.mtu)?;
    }
    netlink.set_up(index, true)?;
    let present = netlink.addresses(index)?;
    for old in present
        .iter()
        .filter(|a| !addresses.contains(a) && !a.is_link_local())
    {
        netlink.delete_address(index, old)?;
    }
    for new in addresses.iter().filter(|a| !present.contains(a)) {
        netlink
            .add_address(index, new)
            .map_err(during(format!("add {new}")))?;
    }
    Ok(())
}

fn set_routes(netlink: &mut Netlink, routes: &[parse::Hop]) -> io::Result<()> {
    for old in netlink.routes()? {
        // A route that went with its interface's address is gone already.
        let _ = netlink.send_route_back(&old);
    }
    // Gateways must be reachable when they are named.
    let (direct, via): (Vec<_>, Vec<_>) = routes.iter().partition(|r| r.gateway.is_none());
    for route in direct.into_iter().chain(via) {
        let index = match route.interface.as_str() {
            "" => None,
            name => Some(index_of(name)?),
        };
        netlink
            .add_route(route, index)
            .map_err(during(format!("add the route to {route}")))?;
    }
    Ok(())
}

struct Found {
    name: String,
    mac: [u8; 6],
    /// Of the virtio device behind it.
    device: Option<u32>,
}

/// For each the one with its hardware address; else, as in a clone, the n-th virtio NIC. None is taken twice:
/// interfaces of one parent may share an address. Answers places in `all`.
fn choose(all: &[Found], wanted: &[(&Interface, [u8; 6])]) -> io::Result<Vec<usize>> {
    let mut taken: Vec<usize> = Vec::new();
    for (interface, mac) in wanted {
        let nth = usize::try_from(interface.index).ok();
        let nth = nth.filter(|n| all.get(*n).is_some_and(|found| found.device.is_some()));
        let free = |place: &usize| !taken.contains(place);
        let same = |place: &usize| all.get(*place).is_some_and(|found| found.mac == *mac);
        let place = nth
            .filter(|place| free(place) && same(place))
            .or_else(|| (0..all.len()).find(|place| free(place) && same(place)))
            .or_else(|| nth.filter(free))
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the guest has no virtio NIC {}", interface.index),
                )
            })?;
        taken.push(place);
    }
    Ok(taken)
}

/// All with a hardware address: virtio NICs in the order of their devices, then the others.
fn present() -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let address = fs::read_to_string(path.join("address")).unwrap_or_default();
        let Ok(mac) = parse::mac(address.trim_end()) else {
            continue;
        };
        let device = fs::read_link(path.join("device")).ok();
        let device = device.as_deref().and_then(|d| d.file_name()?.to_str());
        let device = device.and_then(|d| d.strip_prefix("virtio")?.parse().ok());
        all.push(Found { name, mac, device });
    }
    all.sort_by_key(|found| found.device.unwrap_or(u32::MAX));
    Ok(all)
}

fn index_of(name: &str) -> io::Result<u32> {
    let name = crate::sys::c_string(name)?;
    // SAFETY: a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Starts `lo` of this network namespace.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: takes no pointers.
    let socket =
        owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the pointer is to an `ifreq`.
    check(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw mut request) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const NONE: [u8; 6] = [2, 0, 0, 0, 0, 0];

    fn nic(name: &str, mac: [u8; 6], device: u32) -> Found {
        Found {
            name: name.to_owned(),
            mac,
            device: Some(device),
        }
    }

    fn wanted(index: u32) -> Interface {
        Interface {
            index,
            ..Interface::default()
        }
    }

    #[test]
    fn found_by_hardware_address_and_in_a_clone_by_place() {
        let (zero, one) = (wanted(0), wanted(1));
        let by_mac = [nic("eth0", B, 3), nic("eth1", A, 4)];
        let places = choose(&by_mac, &[(&zero, A), (&one, B)]).expect("both");
        assert_eq!(places, [1, 0]);
        let clone = [nic("eth0", NONE, 3), nic("eth1", NONE, 4)];
        let places = choose(&clone, &[(&zero, A), (&one, B)]).expect("both");
        assert_eq!(places, [0, 1]);
    }

    #[test]
    fn two_of_one_address_are_told_apart_and_none_is_taken_twice() {
        let (zero, one) = (wanted(0), wanted(1));
        let twins = [nic("eth0", A, 3), nic("eth1", A, 4)];
        let places = choose(&twins, &[(&zero, A), (&one, A)]).expect("both");
        assert_eq!(places, [0, 1]);
        assert!(choose(&twins[..1], &[(&zero, A), (&one, A)]).is_err());
        let other = [Found {
            name: "lo".to_owned(),
            mac: [0; 6],
            device: None,
        }];
        assert!(choose(&other, &[(&zero, A)]).is_err(), "no virtio NIC");
    }
}
