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
    fn a_serial_number_no_disk_can_have_is_refused() {
        for bad in ["", "a-serial-number-that-is-too-long"] {
            let error = find(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = find("no-such-disk").expect_err("none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
