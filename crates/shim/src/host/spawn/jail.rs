//! The child's own root: a tmpfs with the jail's binds, made with system calls only.

use super::child::{Done, Failure, Step, failure, step};
use super::{CStr, Prepared, PreparedBind, RawFd};
use std::io;

/// Builds the new root beside the old one and moves into it. The binds are opened first: the paths
/// mean what they mean to the shim, and nothing of the old root is in reach of the targets.
pub fn enter_jail(prepared: &Prepared) -> Done {
    // SAFETY: takes no pointers.
    step(Step::MountNamespace, unsafe {
        libc::unshare(libc::CLONE_NEWNS)
    })?;
    // The copy of a slave is one too, and goes on getting what is mounted on the host.
    set_propagation(libc::MS_SLAVE)?;
    open_trees(prepared, true)?;
    set_propagation(libc::MS_PRIVATE)?;
    open_trees(prepared, false)?;
    change_root()?;
    for (index, (bind, tree)) in prepared.binds.iter().zip(&prepared.trees).enumerate() {
        mount_bind(bind, tree.get()).map_err(|step| failure(step, index as i32))?;
    }
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | ROOT_FLAGS;
    // SAFETY: C strings and null pointers only.
    step(Step::ReadOnlyRoot, unsafe {
        mount(c"none", c"/", None, flags, None)
    })
}

fn set_propagation(kind: libc::c_ulong) -> Done {
    // SAFETY: C strings and null pointers only.
    step(Step::PrivateMounts, unsafe {
        mount(c"none", c"/", None, libc::MS_REC | kind, None)
    })
}

fn open_trees(prepared: &Prepared, live: bool) -> Done {
    let binds = prepared.binds.iter().zip(&prepared.trees).enumerate();
    for (index, (bind, tree)) in binds.filter(|(_, (bind, _))| bind.live == live) {
        let opened = open_tree(&bind.source, live);
        tree.set(opened.map_err(|()| failure(Step::OpenBind, index as i32))?);
    }
    Ok(())
}

const ROOT_FLAGS: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// # Safety
/// None beyond the borrow: the C strings live through the call.
unsafe fn mount(
    source: &CStr,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> libc::c_int {
    let null = std::ptr::null();
    // SAFETY: C strings or null, as mount(2) takes them.
    unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.map_or(null, CStr::as_ptr),
            flags,
            data.map_or(null, CStr::as_ptr).cast(),
        )
    }
}

fn open_tree(source: &CStr, live: bool) -> Result<RawFd, ()> {
    let below = if live { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | below as libc::c_uint;
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    if fd < 0 { Err(()) } else { Ok(fd as RawFd) }
}

/// Mounts a tmpfs over the root and makes it the root. The old root ends up on top of the new one
/// and is taken off.
fn change_root() -> Done {
    let root = c"/".as_ptr();
    let here = c".".as_ptr();
    // SAFETY: C strings and plain integers only; descriptors are closed by `place_descriptors`.
    unsafe {
        let old = libc::open(root, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC);
        step(Step::MakeRoot, old)?;
        let new = make_root()?;
        step(Step::ChangeRoot, libc::fchdir(new))?;
        step(
            Step::ChangeRoot,
            libc::syscall(libc::SYS_pivot_root, here, here) as i32,
        )?;
        step(Step::DetachRoot, libc::fchdir(old))?;
        step(Step::DetachRoot, libc::umount2(here, libc::MNT_DETACH))?;
        step(Step::DetachRoot, libc::chdir(root))
    }
}

/// A tmpfs mounted over the root, as a descriptor of its top directory.
///
/// # Safety
/// Plain system calls; only for a process with a mount namespace of its own.
unsafe fn make_root() -> Result<RawFd, Failure> {
    let set = |fs: RawFd, key: &CStr, value: &CStr| {
        // SAFETY: C strings.
        let result = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                fs,
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        };
        step(Step::MakeRoot, result as i32)
    };
    // SAFETY: C strings, null pointers and plain integers.
    unsafe {
        let fs = libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), FSOPEN_CLOEXEC) as RawFd;
        step(Step::MakeRoot, fs)?;
        set(fs, c"source", c"jail")?;
        set(fs, c"mode", c"0755")?;
        set(fs, c"size", c"1m")?;
        let null = std::ptr::null::<libc::c_char>();
        let created = libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, null, null, 0);
        step(Step::MakeRoot, created as i32)?;
        let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let new = libc::syscall(libc::SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes) as RawFd;
        step(Step::MakeRoot, new)?;
        step(Step::MountRoot, move_mount(new, c"/"))?;
        Ok(new)
    }
}

// linux/mount.h; the C library's crate does not name them all.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const MOUNT_ATTR_NOSUID: libc::c_uint = 2;
const MOUNT_ATTR_NODEV: libc::c_uint = 4;
const MOUNT_ATTR_NOEXEC: libc::c_uint = 8;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

fn move_mount(tree: RawFd, target: &CStr) -> libc::c_int {
    // SAFETY: C strings and plain integers.
    unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree,
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        ) as libc::c_int
    }
}

fn mount_bind(bind: &PreparedBind, tree: RawFd) -> Result<(), Step> {
    let failed = |step| move |result: libc::c_int| if result == -1 { Err(step) } else { Ok(()) };
    // SAFETY: C strings and plain integers; `old` is filled in by the kernel.
    unsafe {
        for parent in &bind.parents {
            make_directory(parent).map_err(|()| Step::MakeTarget)?;
        }
        if bind.is_directory {
            make_directory(&bind.target).map_err(|()| Step::MakeTarget)?;
        } else {
            make_file(&bind.target).map_err(|()| Step::MakeTarget)?;
        }
        failed(Step::MountBind)(move_mount(tree, &bind.target))?;
        let mut old: libc::statvfs = std::mem::zeroed();
        failed(Step::BindFlags)(libc::fstatvfs(tree, &raw mut old))?;
        // What the host forbids on the source stays forbidden; the ST_ flags are the MS_ ones.
        let kept = old.f_flag & (libc::MS_RDONLY | libc::MS_NOEXEC);
        failed(Step::BindFlags)(mount(c"none", &bind.target, None, bind.flags | kept, None))
    }
}

fn make_directory(path: &CStr) -> Result<(), ()> {
    // SAFETY: the path is a C string.
    let result = unsafe { libc::mkdir(path.as_ptr(), 0o755) };
    if result == -1 && !exists(path) {
        Err(())
    } else {
        Ok(())
    }
}

fn make_file(path: &CStr) -> Result<(), ()> {
    // SAFETY: the path is a C string. Not a plain open, which would wait for the other end of a FIFO.
    let result = unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o444, 0) };
    if result == -1 && !exists(path) {
        Err(())
    } else {
        Ok(())
    }
}

/// Inside an earlier, read-only bind the making fails with EROFS where EEXIST is the truth.
fn exists(path: &CStr) -> bool {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // SAFETY: the path is a C string; restoring errno keeps the report about the making.
    unsafe {
        let found = libc::access(path.as_ptr(), libc::F_OK) == 0;
        *libc::__errno_location() = errno;
        found
    }
}
