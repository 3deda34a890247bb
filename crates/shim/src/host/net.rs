//! Network namespaces and tap devices. The shim's only thread lives in its pod's network namespace.

use super::sys::{check, control_socket, during, ifreq, ifreq_ioctl, owned};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Moves the calling thread into the network namespace at `path` (a bind mount or `/proc/PID/ns/net`).
pub fn enter(path: &Path) -> io::Result<()> {
    let named = || format!("enter the network namespace {}", path.display());
    let file = File::open(path).map_err(during(named()))?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map_err(during(named()))?;
    Ok(())
}

/// Gives the calling thread an empty network namespace with its loopback up.
pub fn create_own() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
        .map_err(during("make a network namespace"))?;
    set_up("lo")
}

/// A tap device with virtio-net headers and a descriptor for each of its queues, up, without IPv6 of its own: router advertisements of the
/// pod's network or of the guest must not configure the host's side of it. It lasts as long as a
/// descriptor of it is open. `mtu` 0 keeps the kernel's. A name in use is an error.
pub fn open_queues(name: &str, mtu: u32, queues: u32) -> io::Result<Vec<OwnedFd>> {
    let several = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let mut opened = vec![open_queue(name, several | libc::IFF_TUN_EXCL)?];
    for _ in 1..queues {
        opened.push(open_queue(name, several)?);
    }
    set_up_tap(name, mtu)?;
    Ok(opened)
}

fn open_queue(name: &str, how: libc::c_int) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the path is a C string.
    let tap = owned(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })
        .map_err(during("open /dev/net/tun"))?;
    attach_queue(&tap, name, how)?;
    Ok(tap)
}

/// Says what the queue carries: Ethernet frames with virtio-net headers.
pub fn attach_queue(tap: &OwnedFd, name: &str, how: libc::c_int) -> io::Result<()> {
    let mut request = ifreq(name)?;
    let kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | how;
    request.ifr_ifru.ifru_flags = kind as libc::c_short;
    ifreq_ioctl(tap.as_fd(), libc::TUNSETIFF as _, &mut request)
        .map_err(during(format!("make the tap {name}")))
}

/// Puts a queue back that a machine has taken off: that is the open file's state and outlives the QEMU that did it,
/// and the next one stops at a queue that is off. Repeatable.
pub fn put_queue_back(queue: &OwnedFd) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_flags = libc::IFF_ATTACH_QUEUE as libc::c_short;
    match ifreq_ioctl(queue.as_fd(), libc::TUNSETQUEUE as _, &mut request) {
        // It is there already.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.map_err(during("put a queue of a tap back")),
    }
}

/// The same of a tap that is there. Repeatable.
pub fn set_up_tap(name: &str, mtu: u32) -> io::Result<()> {
    switch_ipv6_off(name)?;
    if mtu != 0 {
        set_mtu(name, mtu)?;
    }
    set_up(name)
}

fn switch_ipv6_off(name: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::write(&path, "1") {
        // A kernel without IPv6 has nothing to switch off.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(during(format!("write {path}"))),
    }
}

fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    let mut request = ifreq(name)?;
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).unwrap_or(libc::c_int::MAX);
    let socket = control_socket()?;
    ifreq_ioctl(socket.as_fd(), libc::SIOCSIFMTU, &mut request)
        .map_err(during(format!("set the MTU of {name} to {mtu}")))
}

pub fn set_up(name: &str) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = ifreq(name)?;
    let up = || during(format!("bring {name} up"));
    ifreq_ioctl(socket.as_fd(), libc::SIOCGIFFLAGS, &mut request).map_err(up())?;
    // SAFETY: SIOCGIFFLAGS has filled this member in.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    ifreq_ioctl(socket.as_fd(), libc::SIOCSIFFLAGS, &mut request).map_err(up())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{eventually, in_thread, ip, open_tap};

    #[test]
    fn an_own_namespace_has_nothing_but_a_loopback_that_is_up() {
        in_thread(|| {
            create_own().unwrap();
            let links = ip("-o link show");
            assert_eq!(links.lines().count(), 1, "{links}");
            assert!(links.contains("LOOPBACK,UP"), "{links}");
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        });
    }

    #[test]
    fn enters_a_namespace_by_its_path() {
        in_thread(|| {
            create_own().unwrap();
            let tap = open_tap("inner", 0).unwrap();
            let path = format!(
                "/proc/self/task/{}/ns/net",
                crate::host::testing::thread_id()
            );
            in_thread(move || {
                create_own().unwrap();
                assert!(!ip("-o link").contains("inner"));
                enter(Path::new(&path)).unwrap();
                assert!(ip("-o link").contains("inner"));
            });
            drop(tap);
        });
    }

    #[test]
    fn refuses_what_is_no_namespace_and_says_which() {
        in_thread(|| {
            let missing = enter(Path::new("/run/trine-none")).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
            assert!(missing.to_string().contains("/run/trine-none"));
            let other = enter(Path::new("/proc/self/ns/uts")).unwrap_err();
            assert_eq!(other.kind(), io::ErrorKind::InvalidInput);
        });
    }

    #[test]
    fn a_tap_is_up_has_no_ipv6_and_goes_with_its_descriptor() {
        in_thread(|| {
            create_own().unwrap();
            let tap = open_tap("tap0", 1380).unwrap();
            let shown = ip("-d addr show dev tap0");
            assert!(shown.contains("mtu 1380"), "{shown}");
            assert!(
                shown.contains("vnet_hdr on") && shown.contains("persist off"),
                "{shown}"
            );
            assert!(shown.contains(",UP") && !shown.contains("inet6"), "{shown}");
            assert_eq!(open_tap("tap0", 0).unwrap_err().raw_os_error(), None);
            drop(tap);
            // A program that another test is starting has a copy until it runs.
            eventually("the tap is gone", || !ip("-o link").contains("tap0"));
        });
    }

    #[test]
    fn refuses_names_the_kernel_would_change() {
        for name in ["", "a/b", "tap%d", "sixteen-letters-", "a b", ".."] {
            let error = open_tap(name, 0).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
