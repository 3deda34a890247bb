//! The guest's disks, by the serial numbers the host has chosen for them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

use crate::container::mount_api::NewFs;
use crate::sys::{during, invalid, open};

/// Bytes of a serial number (virtio, 5.2.6).
const MAX_SERIAL: usize = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const SECTOR_BYTES: u64 = 512;
/// Until the kernel has taken a size that the host has announced.
const SIZE_PATIENCE: Duration = Duration::from_secs(5);
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_blk";

/// Path of the device with this serial number.
pub fn find(serial: &str) -> io::Result<String> {
    if serial.is_empty() || serial.len() > MAX_SERIAL {
        return Err(invalid(format!("{serial:?} is no serial number of a disk")));
    }
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if found.trim_end() == serial {
            return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("no disk has the serial number {serial:?}"),
    ))
}

/// (major, minor)
pub fn number(serial: &str) -> io::Result<(u32, u32)> {
    let path = find(serial)?;
    let metadata = fs::metadata(&path).map_err(during(&path))?;
    if !metadata.file_type().is_block_device() {
        return Err(invalid(format!("{path} is no disk")));
    }
    let device = metadata.rdev();
    Ok((libc::major(device), libc::minor(device)))
}

/// Makes sure that the guest knows the disk by the size the host has it in. The host announces that of a disk that can
/// be written; of a read-only one its driver hears nothing, and takes it in when it is bound anew. `in_use`: by another
/// container, which would lose it so.
pub fn know_size(serial: &str, bytes: u64, in_use: bool) -> io::Result<()> {
    let attributes = sysfs(&find(serial)?);
    let read_only = attribute(&attributes, "ro")? == "1";
    if !read_only {
        let end = Instant::now() + SIZE_PATIENCE;
        while size(&attributes)? != bytes && Instant::now() < end {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    if size(&attributes)? == bytes {
        return Ok(());
    }
    if !may_bind_anew(read_only, in_use) {
        return Err(other_size(serial, size(&attributes)?, bytes));
    }
    let device = fs::read_link(format!("{attributes}/device"))?;
    let device = device.file_name().map(|name| name.to_string_lossy());
    let device = device.ok_or_else(|| invalid(format!("{serial} is no device")))?;
    for step in ["unbind", "bind"] {
        let file = format!("{DRIVER}/{step}");
        fs::write(&file, device.as_bytes()).map_err(during(format!("{step} disk {serial}")))?;
    }
    let found = size(&sysfs(&find(serial)?))?;
    if found == bytes {
        return Ok(());
    }
    Err(other_size(serial, found, bytes))
}

/// A disk that is written hears of its size in time or not at all: what is written to it is not risked for that.
fn may_bind_anew(read_only: bool, in_use: bool) -> bool {
    read_only && !in_use
}

fn other_size(serial: &str, found: u64, bytes: u64) -> io::Error {
    io::Error::other(format!(
        "disk {serial} has {found} bytes here and {bytes} on the host"
    ))
}

/// Where a disk's attributes are.
fn sysfs(device: &str) -> String {
    device.replacen("/dev/", "/sys/block/", 1)
}

fn attribute(dir: &str, name: &str) -> io::Result<String> {
    let path = format!("{dir}/{name}");
    let text = fs::read_to_string(&path).map_err(during(&path))?;
    Ok(text.trim_end().to_owned())
}

fn size(dir: &str) -> io::Result<u64> {
    let sectors = attribute(dir, "size")?;
    let sectors: u64 = sectors
        .parse()
        .map_err(|_| invalid(format!("{dir}: {sectors:?} sectors")))?;
    Ok(sectors * SECTOR_BYTES)
}

/// The file system of a disk, attached nowhere yet. `options`: `name` or `name=value`.
pub fn file_system<'a>(
    serial: &str,
    kind: &str,
    options: impl IntoIterator<Item = &'a str>,
    attributes: u64,
) -> io::Result<std::os::fd::OwnedFd> {
    let device = find(serial)?;
    let new = NewFs::open(kind)?;
    new.set("source", Some(&device))?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => new.set(key, Some(value))?,
            None => new.set(option, None)?,
        }
    }
    new.mount(attributes)
}

/// Waits until no file system and nobody else holds any of the disks, at most so long. In a child of the agent.
pub fn wait_until_free(serials: &[String], patience: Duration) -> io::Result<()> {
    let end = Instant::now() + patience;
    for serial in serials {
        let device = find(serial)?;
        // O_EXCL on a block device: refused while it is mounted, whoever has the mount.
        while let Err(error) = open(&device, libc::O_RDONLY | libc::O_EXCL) {
            let busy = error.raw_os_error() == Some(libc::EBUSY);
            if !busy || Instant::now() >= end {
                return Err(during(format!("disk {serial}"))(error));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disk_that_is_read_and_that_nobody_has_is_bound_anew() {
        assert!(may_bind_anew(true, false));
        for (read_only, in_use) in [(true, true), (false, false), (false, true)] {
            assert!(!may_bind_anew(read_only, in_use), "{read_only} {in_use}");
        }
    }

    #[test]
    fn a_serial_number_no_disk_can_have_is_refused() {
        for bad in ["", "a-serial-number-that-is-too-long"] {
            let error = find(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = find("no-such-disk").expect_err("none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
