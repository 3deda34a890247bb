//! What of a container is on disks: block volumes, and its root file system. That is made of two: below the image,
//! erofs; above an ext4 file system that takes what is written. They are mounted in the container's own mount
//! namespace, and end with it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};

use trine_wire::agent::{BlockDevice, CreateContainerRequest};

use super::mount_api::{NewFs, attach};
use super::paths::ensure_dir;
use super::spec::{Device, MAX_LIST, Spec};
use crate::disks;
use crate::sys::{check, during, invalid, open};

/// Mount points; what is mounted there is seen in one container's namespace only.
const LOWER: &str = "/run/trine/roots/lower";
const UPPER: &str = "/run/trine/roots/upper";
const ROOT: &str = "/run/trine/roots/root";
/// The host has made it without a journal and with tables of zeroes: nothing is to be written unasked. What is
/// deleted is given back to the host. A list of all the places that no file may have is not made: it is a sixth of the
/// mount, and what damages the layer damages what is its container's alone.
const UPPER_OPTIONS: [&str; 3] = ["discard", "noinit_itable", "noblock_validity"];

/// Serial numbers.
#[derive(Debug, Default, Clone)]
pub struct DiskRoot {
    pub lower: String,
    pub upper: String,
}

impl Spec {
    /// All that a request says. `in_use`: serial numbers of other containers' disks.
    pub fn asked(request: &CreateContainerRequest, in_use: &[String]) -> io::Result<Spec> {
        let root = request.root.clone().map(|root| DiskRoot {
            lower: root.lower,
            upper: root.upper,
        });
        Spec::parse(&request.spec)?.with_disks(root, &request.devices, in_use)
    }

    fn with_disks(
        mut self,
        root: Option<DiskRoot>,
        added: &[BlockDevice],
        in_use: &[String],
    ) -> io::Result<Spec> {
        self.disk_root = root;
        if added.len() > MAX_LIST {
            return Err(invalid(format!("more than {MAX_LIST} devices")));
        }
        for device in added {
            if device.size_bytes != 0 {
                let used = in_use.contains(&device.serial);
                disks::know_size(&device.serial, device.size_bytes, used)?;
            }
            let (major, minor) = disks::number(&device.serial)?;
            self.linux.devices.push(Device {
                path: device.path.clone(),
                kind: "b".to_owned(),
                major,
                minor,
                file_mode: Some(device.mode),
                uid: Some(device.uid),
                gid: Some(device.gid),
                disk: Some(device.serial.clone()),
                access: device.access.clone(),
            });
        }
        Ok(self)
    }

    /// Serial numbers of all disks the container uses.
    pub fn disks(&self) -> Vec<String> {
        let root = self.disk_root.iter().flat_map(|r| [&r.lower, &r.upper]);
        let devices = self.linux.devices.iter().filter_map(|d| d.disk.as_ref());
        root.chain(devices).cloned().collect()
    }
}

/// Mounts it and answers the path. In the child, in its new mount namespace.
pub fn mount(disks: &DiskRoot) -> io::Result<&'static str> {
    let DiskRoot { lower, upper } = disks;
    let image = disks::file_system(lower, "erofs", ["ro"], libc::MOUNT_ATTR_RDONLY);
    place(
        &image.map_err(during(format!("mount the image on {lower}")))?,
        LOWER,
    )?;
    let layer = disks::file_system(upper, "ext4", UPPER_OPTIONS, 0);
    place(
        &layer.map_err(during(format!("mount the layer on {upper}")))?,
        UPPER,
    )?;
    let (files, work) = (format!("{UPPER}/files"), format!("{UPPER}/work"));
    make_layer(&files, &work).map_err(during("make the layer's directories"))?;
    let new = NewFs::open("overlay")?;
    for (key, value) in [
        ("lowerdir", LOWER),
        ("upperdir", &files),
        ("workdir", &work),
    ] {
        new.set(key, Some(value))?;
    }
    // Device nodes of the image work as on any node: the container's device rules say which.
    place(&new.mount(0).map_err(during("mount the root"))?, ROOT)?;
    // By their paths they would be in reach of nobody, and would hold the disks as long as this namespace.
    for path in [LOWER, UPPER] {
        let path = crate::sys::c_string(path)?;
        // SAFETY: a C string.
        check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) })
            .map_err(during("let go of the disks"))?;
    }
    Ok(ROOT)
}

/// The root directory itself is the layer's: its owner is the image's. The host makes a layer with both directories,
/// the superuser's; one of an older host has none.
fn make_layer(files: &str, work: &str) -> io::Result<()> {
    let image = fs::metadata(LOWER)?;
    match fs::symlink_metadata(files) {
        Ok(there) if (there.uid(), there.gid()) == (image.uid(), image.gid()) => return Ok(()),
        // Overlay has made it: the container has run, and may have given its root to another.
        Ok(_) if fs::exists(format!("{work}/work"))? => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for path in [files, work] {
        match fs::DirBuilder::new().mode(0o755).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => chown(path, Some(image.uid()), Some(image.gid()))?,
        }
    }
    Ok(())
}

fn place(mount: &OwnedFd, path: &str) -> io::Result<()> {
    let root = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
    attach(mount, ensure_dir(root.as_fd(), path)?.as_fd()).map_err(during(path))
}
