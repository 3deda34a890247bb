//! The router that the guest is told of: its advertisements, and where it is (RFC 4861).

use super::Config;
use super::packet::{ICMP6, Packet, address_at, frame};
use std::net::Ipv6Addr;

const SOLICIT_ROUTER: u8 = 133;
const ADVERTISE_ROUTER: u8 = 134;
const SOLICIT_NEIGHBOUR: u8 = 135;
const ADVERTISE_NEIGHBOUR: u8 = 136;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Addresses and everything else are DHCPv6's.
const MANAGED: u8 = 0x80 | 0x40;
/// The most RFC 4861 allows: the pod has its router for life.
const ROUTER_SECONDS: u16 = 9000;
const ON_LINK: u8 = 0x80;
const FOREVER: [u8; 4] = [0xff; 4];
/// Of an ICMPv6 message.
const CHECKSUM: usize = 2;

pub fn respond(config: &Config, packet: &Packet<'_>) -> Option<Vec<u8>> {
    // What has passed a router is not a neighbour's.
    if packet.hop_limit != 255 || *packet.payload.get(1)? != 0 {
        return None;
    }
    match *packet.payload.first()? {
        SOLICIT_ROUTER => Some(advertisement(config)),
        SOLICIT_NEIGHBOUR => neighbour(config, packet),
        _ => None,
    }
}

/// Who the router is, for everybody on the tap: that is the guest.
pub fn advertisement(config: &Config) -> Vec<u8> {
    let seconds = if config.is_default { ROUTER_SECONDS } else { 0 };
    let mut message = vec![ADVERTISE_ROUTER, 0, 0, 0, 64, MANAGED];
    message.extend_from_slice(&seconds.to_be_bytes());
    message.extend_from_slice(&[0; 8]); // reachable time, timer: the guest's own
    if let Some(mac) = config.router_mac {
        message.extend_from_slice(&[1, 1]);
        message.extend_from_slice(&mac);
    }
    if config.mtu >= 1280 {
        message.extend_from_slice(&[5, 1, 0, 0]);
        message.extend_from_slice(&config.mtu.to_be_bytes());
    }
    // Neighbours, and no addresses to be made of it.
    if config.prefix < 128 {
        message.extend_from_slice(&[3, 4, config.prefix, ON_LINK]);
        message.extend_from_slice(&FOREVER);
        message.extend_from_slice(&FOREVER);
        message.extend_from_slice(&[0; 4]);
        let mask = u128::MAX
            .checked_shl(128 - u32::from(config.prefix))
            .unwrap_or(0);
        let network = u128::from(config.address) & mask;
        message.extend_from_slice(&network.to_be_bytes());
    }
    frame(config, ALL_NODES, ICMP6, message, CHECKSUM)
}

/// Where the router is, if that is for us to say.
fn neighbour(config: &Config, packet: &Packet<'_>) -> Option<Vec<u8>> {
    let mac = config.router_mac?;
    if address_at(packet.payload, 8)? != config.router {
        return None;
    }
    let (to, flags) = match packet.source.is_unspecified() {
        true => (ALL_NODES, 0x80 | 0x20),
        false => (packet.source, 0x80 | 0x40 | 0x20),
    };
    let mut message = vec![ADVERTISE_NEIGHBOUR, 0, 0, 0, flags, 0, 0, 0];
    message.extend_from_slice(&config.router.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&mac);
    Some(frame(config, to, ICMP6, message, CHECKSUM))
}
