//! Ethernet and IPv6 around what is asked and answered.

use super::Config;
use crate::host::dhcp::checksum;
use std::net::Ipv6Addr;

pub const ICMP6: u8 = 58;
pub const UDP: u8 = 17;
const ETHERNET: usize = 14;
const HEADER: usize = 40;

/// What the guest has sent.
pub struct Packet<'a> {
    pub protocol: u8,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// None for what is not the configured guest's, is cut off, or has extension headers, which no such question needs.
    /// Checksums are not looked at: a virtio guest leaves them to the device.
    pub fn parse(config: &Config, frame: &'a [u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
        if ethernet.get(6..12)? != config.client_mac || ethernet.get(12..)? != [0x86, 0xdd] {
            return None;
        }
        let (header, rest) = packet.split_at_checked(HEADER)?;
        if header.first()? >> 4 != 6 {
            return None;
        }
        Some(Self {
            protocol: *header.get(6)?,
            hop_limit: *header.get(7)?,
            source: address_at(header, 8)?,
            payload: rest.get(..usize::from(u16_at(header, 4)?))?,
        })
    }
}

/// A frame from the router to the guest, with the checksum at `sum` of the payload.
pub fn frame(
    config: &Config,
    to: Ipv6Addr,
    protocol: u8,
    mut payload: Vec<u8>,
    sum: usize,
) -> Vec<u8> {
    let length = payload.len() as u16;
    let pseudo = [0, 0, 0, protocol];
    let length_bytes = u32::from(length).to_be_bytes();
    let (from_bytes, to_bytes) = (config.router.octets(), to.octets());
    let total = checksum(&[&from_bytes, &to_bytes, &length_bytes, &pseudo, &payload]);
    // 0 would say that there is none.
    let total = if total == 0 { 0xffff } else { total };
    if let Some(place) = payload.get_mut(sum..sum + 2) {
        place.copy_from_slice(&total.to_be_bytes());
    }
    let mut frame = Vec::with_capacity(ETHERNET + HEADER + payload.len());
    frame.extend_from_slice(&config.client_mac);
    frame.extend_from_slice(&config.server_mac);
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[protocol, 255]);
    frame.extend_from_slice(&from_bytes);
    frame.extend_from_slice(&to_bytes);
    frame.extend_from_slice(&payload);
    frame
}

pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(offset..offset + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair))
}

pub fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv6Addr> {
    let all: [u8; 16] = bytes.get(offset..offset + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(all))
}
