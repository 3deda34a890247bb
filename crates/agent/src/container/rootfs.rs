//! Builds a container's view of the file system. Runs in the child, in its new mount namespace.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::mount_api::{NewFs, attach, change, copy_tree};
use super::options::{Options, propagation};
use super::paths::{ensure_dir, ensure_file, open_source};
use super::spec::{Mount, Spec};
use super::{devices, disk_root};
use crate::sys::{check, check_long, during, open_in_root};

/// The root, mounted and filled, the current directory of nobody yet.
pub struct Rootfs {
    root: OwnedFd,
    /// Made read-only when nothing more has to be made inside.
    late_read_only: Vec<OwnedFd>,
}

impl Rootfs {
    /// Everything up to the point where the old root is still there. The namespace is apart from the agent's.
    pub fn build(spec: &Spec) -> io::Result<Rootfs> {
        let path = match &spec.disk_root {
            Some(disks) => disk_root::mount(disks)?,
            None => spec.root.path.as_str(),
        };
        let at = open_source(path).map_err(during("open the root file system"))?;
        let root = copy_tree(at.as_fd(), true).map_err(during("copy the root's mounts"))?;
        attach(&root, at.as_fd()).map_err(during("attach the root"))?;
        let mut rootfs = Rootfs {
            root,
            late_read_only: Vec::new(),
        };
        for mount in &spec.mounts {
            let what = || format!("mount {} at {}", mount.source, mount.destination);
            rootfs.mount(mount).map_err(|e| during(what())(e))?;
        }
        if !spec.mounts.iter().any(is_bound_dev) {
            devices::populate(rootfs.root.as_fd(), &spec.linux.devices)?;
        }
        if let Some(process) = &spec.process {
            ensure_dir(rootfs.root.as_fd(), &process.cwd).map_err(during("make the cwd"))?;
        }
        Ok(rootfs)
    }

    /// Binds the terminal's other end where programs look for the console.
    pub fn bind_console(&self, terminal: BorrowedFd<'_>) -> io::Result<()> {
        let tree = copy_tree(terminal, false).map_err(during("bind the console"))?;
        let target = ensure_file(self.root.as_fd(), "/dev/console")?;
        attach(&tree, target.as_fd()).map_err(during("bind the console"))
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The last steps inside the root, then it becomes `/` and the old one is gone.
    pub fn enter(self, spec: &Spec) -> io::Result<()> {
        for path in &spec.linux.readonly_paths {
            self.make_read_only(path)
                .map_err(during(format!("make {path} read-only")))?;
        }
        for path in &spec.linux.masked_paths {
            self.mask(path).map_err(during(format!("mask {path}")))?;
        }
        for mount in &self.late_read_only {
            change(mount.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, 0)
                .map_err(during("make a mount read-only"))?;
        }
        let flags = propagation(&spec.linux.rootfs_propagation)?;
        if spec.root.readonly {
            change(self.root.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, 0)
                .map_err(during("make the root read-only"))?;
        }
        pivot(&self.root).map_err(during("change the root"))?;
        if let Some(flags) = flags {
            let recursive = flags & libc::MS_REC != 0;
            change(self.root.as_fd(), recursive, 0, 0, flags & !libc::MS_REC)
                .map_err(during("set the root's propagation"))?;
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount) -> io::Result<()> {
        let options = Options::parse(&mount.kind, &mount.options)?;
        let tree = if options.bind {
            bind(mount, &options)?
        } else {
            self.fresh(mount, &options)?
        };
        let target = if options.bind && !opens_as_dir(&tree)? {
            ensure_file(self.root.as_fd(), &mount.destination)?
        } else {
            ensure_dir(self.root.as_fd(), &mount.destination)?
        };
        if target_is_proc(&target)? && !is_allowed_over_proc(mount) {
            return Err(crate::sys::invalid("the destination is inside /proc"));
        }
        attach(&tree, target.as_fd()).map_err(during("attach"))?;
        if let Some(flags) = options.propagation {
            let recursive = flags & libc::MS_REC != 0;
            change(tree.as_fd(), recursive, 0, 0, flags & !libc::MS_REC)
                .map_err(during("set the propagation"))?;
        }
        let read_only = options.set & libc::MOUNT_ATTR_RDONLY != 0;
        if read_only && !options.bind && mount.kind == "tmpfs" {
            self.late_read_only.push(tree);
        }
        Ok(())
    }

    fn fresh(&self, mount: &Mount, options: &Options) -> io::Result<OwnedFd> {
        // A cgroup v1 host says "cgroup"; the guest has version 2 only, seen from the container's own group.
        let kind = match mount.kind.as_str() {
            "cgroup" => "cgroup2",
            other => other,
        };
        let new = NewFs::open(kind)?;
        if !mount.source.is_empty() {
            new.set("source", Some(&mount.source))?;
        }
        for (key, value) in &options.data {
            new.set(key, value.as_deref())
                .map_err(during(format!("option {key}")))?;
        }
        let mut attributes = options.set;
        if kind == "tmpfs" {
            attributes &= !libc::MOUNT_ATTR_RDONLY;
        }
        new.mount(attributes)
    }

    fn make_read_only(&self, path: &str) -> io::Result<()> {
        let Some(at) = self.existing(path)? else {
            return Ok(());
        };
        let tree = copy_tree(at.as_fd(), true)?;
        change(tree.as_fd(), true, libc::MOUNT_ATTR_RDONLY, 0, 0)?;
        attach(&tree, at.as_fd())
    }

    fn mask(&self, path: &str) -> io::Result<()> {
        let Some(at) = self.existing(path)? else {
            return Ok(());
        };
        let cover = if is_dir(&at)? {
            NewFs::open("tmpfs")?.mount(libc::MOUNT_ATTR_RDONLY)?
        } else {
            copy_tree(crate::sys::open("/dev/null", libc::O_PATH)?.as_fd(), false)?
        };
        attach(&cover, at.as_fd())
    }

    fn existing(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        let name = crate::sys::c_string(path)?;
        match open_in_root(self.root.as_fd(), &name, libc::O_PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn bind(mount: &Mount, options: &Options) -> io::Result<OwnedFd> {
    let source = open_source(&mount.source).map_err(during("open the source"))?;
    let tree = copy_tree(source.as_fd(), options.recursive).map_err(during("copy"))?;
    change(tree.as_fd(), false, options.set, options.clear, 0).map_err(during("set flags"))?;
    change(tree.as_fd(), true, options.set_below, 0, 0).map_err(during("set flags"))?;
    Ok(tree)
}

/// What is mounted here later is not seen outside; what is mounted outside below a shared volume still comes.
pub fn detach_from_parent() -> io::Result<()> {
    let flags = libc::MS_SLAVE | libc::MS_REC;
    crate::sys::mount("", "/", "", flags, "")
}

fn is_bound_dev(mount: &Mount) -> bool {
    let bound = mount.kind == "bind" || mount.options.iter().any(|o| o == "bind" || o == "rbind");
    mount.destination == "/dev" && bound
}

/// The same of something that may be a share's, whose server is not asked for it.
fn opens_as_dir(fd: &OwnedFd) -> io::Result<bool> {
    match crate::sys::open_at(fd, ".", libc::O_PATH | libc::O_DIRECTORY) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_dir(fd: &OwnedFd) -> io::Result<bool> {
    Ok(mode_of(fd)? & libc::S_IFMT == libc::S_IFDIR)
}

fn mode_of(fd: &OwnedFd) -> io::Result<libc::mode_t> {
    // SAFETY: all zeroes is a valid stat, which outlives the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: a C string and a stat.
    check(unsafe { libc::fstatat(fd.as_raw_fd(), c"".as_ptr(), &raw mut stat, flags) })?;
    Ok(stat.st_mode)
}

/// A target inside procfs: whoever mounts there can fool what reads it.
fn target_is_proc(target: &OwnedFd) -> io::Result<bool> {
    // SAFETY: all zeroes is a valid statfs, which outlives the call.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    check(unsafe { libc::fstatfs(target.as_raw_fd(), &raw mut stat) })?;
    // Their types differ between C libraries.
    Ok(i128::from(stat.f_type) == i128::from(libc::PROC_SUPER_MAGIC))
}

/// What file systems that show the container's own limits (lxcfs) put over files of /proc.
fn is_allowed_over_proc(mount: &Mount) -> bool {
    const FILES: [&str; 8] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
    ];
    FILES.contains(&mount.destination.as_str())
}

/// Makes `root`, which is mounted somewhere, the root of this mount namespace, and takes the old one off.
pub fn pivot(root: &OwnedFd) -> io::Result<()> {
    let dot: &CStr = c".";
    // SAFETY: C strings; the descriptor is open.
    unsafe {
        check(libc::fchdir(root.as_raw_fd()))?;
        check_long(libc::syscall(
            libc::SYS_pivot_root,
            dot.as_ptr(),
            dot.as_ptr(),
        ))?;
        // The old root lies over the new one now; this takes it away.
        check(libc::umount2(dot.as_ptr(), libc::MNT_DETACH))?;
        check(libc::chdir(c"/".as_ptr()))?;
    }
    Ok(())
}
