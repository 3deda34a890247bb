//! Moves a network interface into another network namespace, by rtnetlink.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::thread::{Builder, JoinHandle};

use super::sys::{control_socket, during, ifreq, ifreq_ioctl, invalid};

/// The thread touches little more than the kernel's answer.
const STACK: usize = 64 << 10;
const HEADER: usize = 16;
const NEW_LINK: u16 = 16;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// `IFLA_NET_NS_FD`.
const NAMESPACE: u16 = 28;
const ANSWER: usize = 4096;

/// Interfaces that a thread of their own moves out of the network namespace of who began it.
pub struct Moving(JoinHandle<io::Result<()>>);

impl Moving {
    pub fn begin(names: Vec<String>, to: File) -> io::Result<Moving> {
        let all = move || names.iter().try_for_each(|name| move_link(name, &to));
        // It stays where it began, wherever that one goes meanwhile.
        let thread = Builder::new().stack_size(STACK).spawn(all);
        thread.map(Moving).map_err(during("start a thread"))
    }

    pub fn end(self) -> io::Result<()> {
        let died = || io::Error::other("the thread that moves the interfaces died");
        self.0.join().map_err(|_| died())?
    }
}

/// Moves the interface `name` of the calling thread's network namespace into `to`. It comes down there, and
/// a tap keeps its descriptors.
pub fn move_link(name: &str, to: &File) -> io::Result<()> {
    let named = || during(format!("move {name} to another network namespace"));
    let index = index_of(name).map_err(named())?;
    let request = request(index, to.as_raw_fd());
    let mut socket = File::from(trine_linux::route_socket().map_err(named())?);
    socket.write_all(&request).map_err(named())?;
    let mut answer = [0; ANSWER];
    let count = socket.read(&mut answer).map_err(named())?;
    verdict(answer.get(..count).unwrap_or_default()).map_err(named())
}

fn index_of(name: &str) -> io::Result<i32> {
    let mut request = ifreq(name)?;
    let socket = control_socket()?;
    ifreq_ioctl(socket.as_fd(), libc::SIOCGIFINDEX as _, &mut request)?;
    // SAFETY: SIOCGIFINDEX has filled this member in.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// `struct nlmsghdr`, `struct ifinfomsg`, one attribute.
fn request(index: i32, namespace: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&[0; 4]); // family, padding, device type
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&[0; 8]); // flags and their mask
    body.extend_from_slice(&8_u16.to_ne_bytes());
    body.extend_from_slice(&NAMESPACE.to_ne_bytes());
    body.extend_from_slice(&namespace.to_ne_bytes());
    let length = (HEADER + body.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&NEW_LINK.to_ne_bytes());
    message.extend_from_slice(&(REQUEST | ACK).to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence, port
    message.extend_from_slice(&body);
    message
}

fn verdict(answer: &[u8]) -> io::Result<()> {
    let short = || invalid("the kernel's answer is too short");
    let kind = answer.get(4..6).and_then(|b| b.first_chunk());
    let code = answer.get(HEADER..).and_then(|b| b.first_chunk());
    let kind = u16::from_ne_bytes(*kind.ok_or_else(short)?);
    let code = i32::from_ne_bytes(*code.ok_or_else(short)?);
    match (kind, code) {
        (ERROR, 0) => Ok(()),
        (ERROR, code) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(invalid("an answer of another kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::net::{create_own, enter};
    use crate::host::testing::{in_thread, ip, open_tap};
    use std::path::Path;

    #[test]
    fn a_tap_moves_with_its_descriptor() {
        in_thread(|| {
            create_own().unwrap();
            let target = File::open("/proc/thread-self/ns/net").unwrap();
            create_own().unwrap();
            let tap = open_tap("tap0", 1500).unwrap();
            move_link("tap0", &target).unwrap();
            assert!(!ip("-o link").contains("tap0"));
            let path = format!("/proc/thread-self/fd/{}", target.as_raw_fd());
            enter(Path::new(&path)).unwrap();
            assert!(ip("-o link").contains("tap0"));
            drop(tap);
        });
    }

    #[test]
    fn they_move_out_of_where_it_began_wherever_that_one_goes() {
        in_thread(|| {
            create_own().unwrap();
            let target = File::open("/proc/thread-self/ns/net").unwrap();
            let path = format!("/proc/thread-self/fd/{}", target.as_raw_fd());
            create_own().unwrap();
            let taps = ["tap0", "tap1"].map(|name| open_tap(name, 1500).unwrap());
            let names = ["tap0", "tap1"].map(str::to_owned).to_vec();
            let moving = Moving::begin(names, target.try_clone().unwrap()).unwrap();
            enter(Path::new(&path)).unwrap();
            moving.end().unwrap();
            let here = ip("-o link");
            assert!(here.contains("tap0") && here.contains("tap1"), "{here}");
            drop(taps);
            let missing = Moving::begin(vec!["none".to_owned()], target).unwrap();
            assert!(missing.end().unwrap_err().to_string().contains("none"));
        });
    }

    #[test]
    fn a_name_that_is_in_use_there_is_an_error() {
        in_thread(|| {
            create_own().unwrap();
            let target = File::open("/proc/thread-self/ns/net").unwrap();
            let _taken = open_tap("tap0", 0).unwrap();
            create_own().unwrap();
            let _tap = open_tap("tap0", 0).unwrap();
            let error = move_link("tap0", &target).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
            assert_eq!(
                move_link("none", &target).unwrap_err().raw_os_error(),
                None,
                "named"
            );
        });
    }
}
