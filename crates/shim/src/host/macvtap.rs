//! Opens a macvtap of the thread's network namespace. The kernel names its device in sysfs and in devtmpfs, but
//! what is mounted there shows the namespace of the host: both are looked at, and made, in mounts of our own.

use super::net::{attach_queue, set_up};
use super::sys::{c_string, check, control_socket, during, ifreq, ifreq_ioctl, invalid, owned};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

// linux/mount.h
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
/// Of `MAJOR:MINOR` and a newline.
const MOST_DEVICE: u64 = 32;

/// A descriptor for each queue of the macvtap `name`, with virtio-net headers; it is up then.
pub fn open(name: &str, queues: u32) -> io::Result<Vec<OwnedFd>> {
    let opening = || during(format!("open the macvtap {name}"));
    let several = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let device = device_of(index_of(name)?).map_err(opening())?;
    let nodes = detached(c"tmpfs").map_err(opening())?;
    // SAFETY: a C string.
    check(unsafe {
        libc::mknodat(
            nodes.as_raw_fd(),
            NODE.as_ptr(),
            libc::S_IFCHR | 0o600,
            device,
        )
    })
    .map_err(opening())?;
    let mut opened = Vec::new();
    for _ in 0..queues {
        let queue = open_at(&nodes, NODE, libc::O_RDWR | libc::O_NONBLOCK).map_err(opening())?;
        attach_queue(&queue, name, several)?;
        opened.push(queue);
    }
    set_up(name)?;
    Ok(opened)
}

const NODE: &CStr = c"tap";

fn index_of(name: &str) -> io::Result<libc::c_int> {
    let mut request = ifreq(name)?;
    ifreq_ioctl(control_socket()?.as_fd(), libc::SIOCGIFINDEX, &mut request)
        .map_err(during(format!("look for {name}")))?;
    // SAFETY: SIOCGIFINDEX has filled this member in.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

fn device_of(index: libc::c_int) -> io::Result<libc::dev_t> {
    let sys = detached(c"sysfs")?;
    let path = c_string(format!("class/macvtap/tap{index}/dev"))?;
    let mut text = String::new();
    File::from(open_at(&sys, &path, libc::O_RDONLY)?)
        .take(MOST_DEVICE)
        .read_to_string(&mut text)?;
    let numbers = text.trim().split_once(':');
    let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (major, minor) = numbers.ok_or_else(|| invalid(format!("{text:?} is no device")))?;
    Ok(libc::makedev(major, minor))
}

fn open_at(dir: &OwnedFd, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: a C string.
    owned(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC) })
}

/// A new mount that is nowhere; it goes with its descriptor and what is open in it.
fn detached(kind: &CStr) -> io::Result<OwnedFd> {
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: C strings, null pointers and plain integers.
    unsafe {
        let fs = libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC);
        let fs = owned(fs as libc::c_int)?;
        let create = FSCONFIG_CMD_CREATE;
        check(
            libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), create, null, null, 0) as libc::c_int,
        )?;
        let mount = libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, 0);
        owned(mount as libc::c_int)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::net::create_own;
    use crate::host::testing::{in_thread, ip};

    #[test]
    fn opens_a_macvtap_of_its_own_namespace_as_often_as_it_has_queues() {
        in_thread(|| {
            create_own().unwrap();
            ip("link add eth0 type veth peer name far");
            ip("link add link eth0 name mvt0 type macvtap mode bridge");
            assert_eq!(open("mvt0", 2).unwrap().len(), 2);
            assert!(ip("-o link show dev mvt0").contains(",UP"));
            let other = open("eth0", 1).unwrap_err();
            assert_eq!(other.kind(), io::ErrorKind::NotFound);
            assert!(open("mvt9", 1).unwrap_err().to_string().contains("mvt9"));
        });
    }
}
