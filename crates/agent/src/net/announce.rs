//! Gratuitous ARP: "this address is here now".

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use super::parse::Prefix;
use crate::sys::{check_long, owned};

const ETH_P_ARP: u16 = 0x0806;

/// One request for each IPv4 address, asked and answered by its owner.
pub fn arp(index: u32, mac: [u8; 6], addresses: &[Prefix]) -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: all zeroes is a valid address.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = ETH_P_ARP.to_be();
    to.sll_ifindex = index.cast_signed();
    to.sll_halen = 6;
    to.sll_addr = [255, 255, 255, 255, 255, 255, 0, 0];
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    for prefix in addresses {
        let IpAddr::V4(v4) = prefix.address else {
            continue;
        };
        // Ethernet, IPv4, sizes 6 and 4, request.
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
        packet.extend(mac);
        packet.extend(v4.octets());
        packet.extend([0; 6]);
        packet.extend(v4.octets());
        // SAFETY: the pointers and lengths describe the packet and the address.
        check_long(unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        } as libc::c_long)?;
    }
    Ok(())
}
