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
    for (interface, mac, addresses) in &wanted {
        one(&mut netlink, interface, *mac, addresses)
            .map_err(during(format!("set up interface {}", interface.name)))?;
    }
    set_routes(&mut netlink, &routes)?;
    for (interface, mac, addresses) in &wanted {
        // Neighbours that remember another hardware address learn of this one; nobody answers, nothing is lost.
        let _ = announce::arp(index_of(&interface.name)?, *mac, addresses);
    }
    Ok(())
}

fn one(
    netlink: &mut Netlink,
    interface: &Interface,
    mac: [u8; 6],
    addresses: &[Prefix],
) -> io::Result<()> {
    let found = find(interface, mac)?;
    let index = index_of(&found.name)?;
    if found.name != interface.name || found.mac != mac {
        netlink.set_up(index, false)?;
        netlink.rename(index, &interface.name, mac)?;
    }
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

/// The one with that hardware address; else, as in a clone, the n-th virtio NIC.
fn find(interface: &Interface, mac: [u8; 6]) -> io::Result<Found> {
    let mut all = present()?;
    if let Some(same) = all.iter().position(|found| found.mac == mac) {
        return Ok(all.swap_remove(same));
    }
    all.retain(|found| found.device.is_some());
    all.sort_by_key(|found| found.device);
    let n = usize::try_from(interface.index).unwrap_or(usize::MAX);
    all.into_iter().nth(n).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the guest has no virtio NIC {}", interface.index),
        )
    })
}

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
