//! Who a whole machine's guest is, and what it has: read anew each time. What is missing or cannot be read is left out.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use trine_wire::agent::{GuestFileSystem, GuestInfoResponse, GuestInterface, GuestUser};

use crate::disk_mounts::{self, DiskMount};
use crate::sys::c_string;

const MAX_TEXT: u64 = 8 << 10;
const MAX_INTERFACES: usize = 64;
const MAX_ADDRESSES: usize = 32;
const MAX_ITEMS: usize = 256;
const ZONES: &str = "zoneinfo/";

pub fn of_guest(frozen: bool) -> GuestInfoResponse {
    let kernel = |name: &str| text(&format!("/proc/sys/kernel/{name}"));
    let os_release = match text("/etc/os-release") {
        none if none.is_empty() => text("/usr/lib/os-release"),
        some => some,
    };
    GuestInfoResponse {
        hostname: kernel("hostname"),
        os_release,
        kernel_release: kernel("osrelease"),
        kernel_version: kernel("version"),
        machine: std::env::consts::ARCH.to_owned(),
        timezone: timezone(),
        offset_seconds: offset_seconds(),
        interfaces: interfaces(),
        users: users(&bytes("/run/utmp", 1 << 20)),
        file_systems: disk_mounts::all()
            .unwrap_or_default()
            .iter()
            .take(MAX_ITEMS)
            .map(file_system)
            .collect(),
        frozen,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn bytes(path: &str, most: u64) -> Vec<u8> {
    let mut read = Vec::new();
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut read)) {
        Ok(_) => read,
        Err(_) => Vec::new(),
    }
}

fn text(path: &str) -> String {
    String::from_utf8_lossy(&bytes(path, MAX_TEXT))
        .trim_end()
        .to_owned()
}

fn timezone() -> String {
    let link = fs::read_link("/etc/localtime").unwrap_or_default();
    match link.to_string_lossy().split_once(ZONES) {
        Some((_, zone)) => zone.to_owned(),
        None => text("/etc/timezone"),
    }
}

fn offset_seconds() -> i32 {
    // SAFETY: all zeroes is a valid `tm`; both pointers outlive the calls, and the agent has one thread.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() {
            return 0;
        }
        i32::try_from(local.tm_gmtoff).unwrap_or(0)
    }
}

/// With the guest's loopback: who asks knows what to leave out.
fn interfaces() -> Vec<GuestInterface> {
    let mut found: Vec<GuestInterface> = Vec::new();
    for (name, address) in addresses() {
        let known = found.iter().position(|each| each.name == name);
        let index = known.unwrap_or_else(|| {
            found.push(GuestInterface {
                mac: text(&format!("/sys/class/net/{name}/address")),
                name,
                addresses: Vec::new(),
            });
            found.len() - 1
        });
        if let (Some(each), Some(address)) = (found.get_mut(index), address)
            && each.addresses.len() < MAX_ADDRESSES
        {
            each.addresses.push(address);
        }
    }
    found.truncate(MAX_INTERFACES);
    found
}

/// The name of an interface, and an address of it or none.
fn addresses() -> Vec<(String, Option<String>)> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer outlives the call.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut next = first;
    // SAFETY: the list is the C library's, whole until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: names are C strings.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        all.push((name.to_string_lossy().into_owned(), address(entry.ifa_addr)));
        next = entry.ifa_next;
    }
    // SAFETY: it came from `getifaddrs`, and nothing of it is kept.
    unsafe { libc::freeifaddrs(first) };
    all
}

fn address(raw: *const libc::sockaddr) -> Option<String> {
    // SAFETY: null or an address of the C library's list, as long as its family says.
    unsafe {
        match i32::from(raw.as_ref()?.sa_family) {
            libc::AF_INET => {
                let v4 = raw.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).to_string())
            }
            libc::AF_INET6 => {
                let v6 = raw.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).to_string())
            }
            _ => None,
        }
    }
}

/// Bytes of `struct utmpx` on 64-bit Linux, and where its fields are.
const RECORD: usize = 384;
const USER: std::ops::Range<usize> = 44..76;
const LOGIN: std::ops::Range<usize> = 340..344;
const USER_PROCESS: [u8; 2] = 7_i16.to_le_bytes();

/// Each once, since the earliest login.
fn users(utmp: &[u8]) -> Vec<GuestUser> {
    let mut found: Vec<GuestUser> = Vec::new();
    for record in utmp.chunks_exact(RECORD) {
        let (Some(kind), Some(name), Some(login)) =
            (record.get(..2), record.get(USER), record.get(LOGIN))
        else {
            continue;
        };
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let login = login.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        if kind != USER_PROCESS || name.is_empty() {
            continue;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let login_seconds = u64::from(login);
        if let Some(known) = found.iter_mut().find(|user| user.name == name) {
            known.login_seconds = known.login_seconds.min(login_seconds);
        } else if found.len() < MAX_ITEMS {
            found.push(GuestUser {
                name,
                login_seconds,
            });
        }
    }
    found
}

fn file_system(mount: &DiskMount) -> GuestFileSystem {
    let (used_bytes, total_bytes) = usage(&mount.point).unwrap_or((0, 0));
    let block = fs::canonicalize(format!("/sys/dev/block/{}", mount.number)).unwrap_or_default();
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let serial_in = |dir: &Path| text(&dir.join("serial").to_string_lossy());
    let serial = match serial_in(&block) {
        // A partition's is its disk's.
        none if none.is_empty() => block.parent().map(serial_in).unwrap_or_default(),
        some => some,
    };
    let device = name(&block).or_else(|| name(Path::new(&mount.source)));
    GuestFileSystem {
        device: device.unwrap_or_default(),
        mount_point: mount.point.to_string_lossy().into_owned(),
        r#type: mount.kind.clone(),
        used_bytes,
        total_bytes,
        serial,
    }
}

fn usage(point: &Path) -> Option<(u64, u64)> {
    let path = c_string(point.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeroes is a valid `statvfs`; both pointers outlive the call.
    let found = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &raw mut found) != 0 {
            return None;
        }
        found
    };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some((
        bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        bytes(found.f_blocks),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, name: &str, login: u32) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        record[0] = kind;
        record[44..44 + name.len()].copy_from_slice(name.as_bytes());
        record[340..344].copy_from_slice(&login.to_le_bytes());
        record
    }

    #[test]
    fn who_is_logged_in_is_said_once_since_the_first_login() {
        let table = [
            record(7, "root", 90),
            record(2, "reboot", 1),
            record(7, "root", 50),
            record(7, "", 5),
            record(7, "ada", 70),
            vec![7; RECORD - 1],
        ]
        .concat();
        let said: Vec<_> = users(&table)
            .into_iter()
            .map(|user| (user.name, user.login_seconds))
            .collect();
        assert_eq!(said, [("root".to_owned(), 50), ("ada".to_owned(), 70)]);
    }

    #[test]
    fn this_kernels_own_words() {
        let info = of_guest(false);
        assert_eq!(info.hostname, text("/proc/sys/kernel/hostname"));
        assert!(!info.kernel_release.is_empty());
        let loopback = info.interfaces.iter().find(|each| each.name == "lo");
        assert_eq!(loopback.expect("everywhere").mac, "00:00:00:00:00:00");
        let sized = |each: &GuestFileSystem| each.used_bytes <= each.total_bytes;
        assert!(info.file_systems.iter().all(sized));
    }
}
