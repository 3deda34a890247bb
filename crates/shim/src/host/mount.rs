//! Mounts a container's root filesystem from the layers containerd names, and takes it off again.

use super::mountinfo;
use super::sys::{c_string, check, during, invalid};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The kernel copies one page of mount data and needs its end for a NUL.
const MOST_DATA: usize = 4095;
/// Mounts stacked on one place that `unmount_all` takes off at most.
const MOST_STACKED: usize = 256;

/// A mount as containerd's `Create.rootfs` gives it.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// `overlay`, `bind`, `ext4`, …
    pub kind: String,
    pub source: String,
    /// fstab words such as `ro` and `rbind`; what is not known here is the file system's own.
    pub options: Vec<String>,
    /// Below the target of the whole; empty = the target itself.
    pub target: String,
}

/// Mounts `layers` on `target` in their order. When the first one's place is a mount point already
/// the whole is taken as done; a layer that fails takes those before it off again.
pub fn mount_layers(target: &Path, layers: &[Layer]) -> io::Result<()> {
    let mut done: Vec<PathBuf> = Vec::with_capacity(layers.len());
    for layer in layers {
        let point = layer_target(target, &layer.target)?;
        if done.is_empty() && is_mounted(&point)? {
            return Ok(());
        }
        if let Err(error) = mount_layer(&point, layer) {
            for point in done.iter().rev() {
                unmount_all(point)?;
            }
            return Err(error);
        }
        done.push(point);
    }
    Ok(())
}

/// Lazily unmounts whatever is at `target`, however many times it is covered. Nothing there, or no
/// such path, is a success.
pub fn unmount_all(target: &Path) -> io::Result<()> {
    let path = c_string(target.as_os_str().as_bytes())?;
    for _ in 0..MOST_STACKED {
        let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
        // SAFETY: the path is a C string.
        match check(unsafe { libc::umount2(path.as_ptr(), flags) }) {
            Ok(_) => {}
            // EINVAL: no mount point (any more).
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOENT | libc::ENOTDIR)
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(during(format!("unmount {}", target.display()))(error)),
        }
    }
    let shown = target.display();
    Err(io::Error::other(format!(
        "unmount {shown}: more than {MOST_STACKED} mounts on it"
    )))
}

/// Removes a directory with all in it, but nothing of what is mounted there: that is taken off first, and
/// while something stays mounted nothing is removed. Nothing there is a success.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    let real = match dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(during(format!("resolve {}", dir.display())))?,
    };
    // The newest first: it may lie on an older one.
    for mount in mountinfo::read()?.iter().rev() {
        if mount.point.starts_with(&real) {
            unmount_all(&mount.point)?;
        }
    }
    match std::fs::remove_dir_all(&real) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(during(format!("remove {}", dir.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Whether `target` is a mount point in this mount namespace. A path that is not there is none.
pub fn is_mounted(target: &Path) -> io::Result<bool> {
    let real = match target.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(during(format!("resolve {}", target.display()))(error)),
    };
    Ok(mountinfo::read()?.iter().any(|mount| mount.point == real))
}

fn mount_layer(point: &Path, layer: &Layer) -> io::Result<()> {
    let mut options = Options::parse(&layer.options)?;
    match layer.kind.as_str() {
        "bind" => options.flags |= libc::MS_BIND,
        "rbind" => options.flags |= libc::MS_BIND | libc::MS_REC,
        _ => {}
    }
    let directory = if options.data_len() > MOST_DATA {
        options.shorten_lower_directories(&layer.source)?
    } else {
        None
    };
    let call = Call {
        source: c_string(layer.source.as_str())?,
        target: c_string(point.as_os_str().as_bytes())?,
        kind: c_string(layer.kind.as_str())?,
        data: c_string(options.data.join(","))?,
    };
    let named = || {
        format!(
            "mount {} ({}) on {}",
            layer.source,
            layer.kind,
            point.display()
        )
    };
    call.mount(options.flags, directory.as_deref())
        .map_err(during(named()))?;
    if let Some(flags) = options.second_flags() {
        call.mount(flags, None).map_err(during(named()))?;
    }
    for flags in &options.propagation {
        call.mount(*flags, None).map_err(during(named()))?;
    }
    Ok(())
}

/// The place of a layer that names one below the target. Its links are not followed: what is
/// mounted there already may come from an image.
fn layer_target(target: &Path, below: &str) -> io::Result<PathBuf> {
    let mut point = target.to_owned();
    for part in Path::new(below).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                point.push(name);
                let kind = point.symlink_metadata();
                if kind.is_ok_and(|kind| kind.is_symlink()) {
                    return Err(invalid(format!("layer target {below} leads over a link")));
                }
            }
            _ => return Err(invalid(format!("layer target {below} leads upwards"))),
        }
    }
    Ok(point)
}

/// The options of a layer, taken apart.
#[derive(Debug, Default)]
struct Options {
    flags: libc::c_ulong,
    propagation: Vec<libc::c_ulong>,
    data: Vec<String>,
}

impl Options {
    fn parse(words: &[String]) -> io::Result<Self> {
        let mut options = Self::default();
        for word in words.iter().flat_map(|words| words.split(',')) {
            if word == "loop" {
                return Err(invalid("the mount option loop is not supported"));
            }
            match flag(word) {
                Some(Flag::Set(bits)) => options.flags |= bits,
                Some(Flag::Clear(bits)) => options.flags &= !bits,
                Some(Flag::Propagation(bits)) => options.propagation.push(bits),
                None if word.is_empty() => {}
                None => options.data.push(word.to_owned()),
            }
        }
        Ok(options)
    }

    fn data_len(&self) -> usize {
        let separators = self.data.len().saturating_sub(1);
        self.data.iter().map(String::len).sum::<usize>() + separators
    }

    /// A bind takes its other flags only by a second call.
    fn second_flags(&self) -> Option<libc::c_ulong> {
        let own = self.flags & !(libc::MS_BIND | libc::MS_REC | libc::MS_REMOUNT);
        (self.flags & libc::MS_BIND != 0 && own != 0)
            .then_some(own | libc::MS_BIND | libc::MS_REMOUNT)
    }

    /// Makes the paths of `lowerdir` relative to the directory they have in common, which is the
    /// one to mount from. `None` when they have none.
    fn shorten_lower_directories(&mut self, source: &str) -> io::Result<Option<PathBuf>> {
        let mut common = None;
        for option in &mut self.data {
            let Some(list) = option.strip_prefix("lowerdir=") else {
                continue;
            };
            // A backslash quotes a colon inside a path; such paths are left alone.
            let (false, Some(directory)) = (list.contains('\\'), common_directory(list)) else {
                continue;
            };
            let prefix = format!("{directory}/");
            let short: Vec<&str> = list
                .split(':')
                .map(|path| path.strip_prefix(&prefix).unwrap_or(path))
                .collect();
            let directory = PathBuf::from(directory);
            *option = format!("lowerdir={}", short.join(":"));
            common = Some(directory);
        }
        if self.data_len() > MOST_DATA {
            let length = self.data_len();
            return Err(invalid(format!(
                "mount {source}: {length} bytes of options, {MOST_DATA} at most"
            )));
        }
        Ok(common)
    }
}

enum Flag {
    Set(libc::c_ulong),
    Clear(libc::c_ulong),
    Propagation(libc::c_ulong),
}

/// mount(8)'s words for mount(2)'s flags.
fn flag(word: &str) -> Option<Flag> {
    use Flag::{Clear, Propagation, Set};
    Some(match word {
        "ro" => Set(libc::MS_RDONLY),
        "rw" => Clear(libc::MS_RDONLY),
        "nosuid" => Set(libc::MS_NOSUID),
        "suid" => Clear(libc::MS_NOSUID),
        "nodev" => Set(libc::MS_NODEV),
        "dev" => Clear(libc::MS_NODEV),
        "noexec" => Set(libc::MS_NOEXEC),
        "exec" => Clear(libc::MS_NOEXEC),
        "sync" => Set(libc::MS_SYNCHRONOUS),
        "async" => Clear(libc::MS_SYNCHRONOUS),
        "dirsync" => Set(libc::MS_DIRSYNC),
        "remount" => Set(libc::MS_REMOUNT),
        "mand" => Set(libc::MS_MANDLOCK),
        "nomand" => Clear(libc::MS_MANDLOCK),
        "noatime" => Set(libc::MS_NOATIME),
        "atime" => Clear(libc::MS_NOATIME),
        "nodiratime" => Set(libc::MS_NODIRATIME),
        "diratime" => Clear(libc::MS_NODIRATIME),
        "relatime" => Set(libc::MS_RELATIME),
        "norelatime" => Clear(libc::MS_RELATIME),
        "strictatime" => Set(libc::MS_STRICTATIME),
        "nostrictatime" => Clear(libc::MS_STRICTATIME),
        "bind" => Set(libc::MS_BIND),
        "rbind" => Set(libc::MS_BIND | libc::MS_REC),
        "defaults" => Set(0),
        "private" => Propagation(libc::MS_PRIVATE),
        "rprivate" => Propagation(libc::MS_PRIVATE | libc::MS_REC),
        "shared" => Propagation(libc::MS_SHARED),
        "rshared" => Propagation(libc::MS_SHARED | libc::MS_REC),
        "slave" => Propagation(libc::MS_SLAVE),
        "rslave" => Propagation(libc::MS_SLAVE | libc::MS_REC),
        "unbindable" => Propagation(libc::MS_UNBINDABLE),
        "runbindable" => Propagation(libc::MS_UNBINDABLE | libc::MS_REC),
        _ => return None,
    })
}

/// The longest directory that all paths of a colon-separated list lie in.
fn common_directory(list: &str) -> Option<&str> {
    let mut paths = list.split(':');
    let mut common = paths.next()?.rsplit_once('/')?.0;
    for path in paths {
        while !path
            .strip_prefix(common)
            .is_some_and(|rest| rest.starts_with('/'))
        {
            common = common.rsplit_once('/')?.0;
        }
    }
    common.starts_with('/').then_some(common)
}

/// The strings of a mount(2) call.
struct Call {
    source: CString,
    target: CString,
    kind: CString,
    data: CString,
}

impl Call {
    fn mount(&self, flags: libc::c_ulong, directory: Option<&Path>) -> io::Result<()> {
        match directory {
            Some(directory) => self.mount_from(flags, &c_string(directory.as_os_str().as_bytes())?),
            None => check(self.system_call(flags)).map(drop),
        }
    }

    fn system_call(&self, flags: libc::c_ulong) -> libc::c_int {
        // SAFETY: C strings that outlive the call.
        unsafe {
            libc::mount(
                self.source.as_ptr(),
                self.target.as_ptr(),
                self.kind.as_ptr(),
                flags,
                self.data.as_ptr().cast(),
            )
        }
    }

    /// Mounts with `directory` as the working directory, in a child: the shim's own stays. The
    /// child makes system calls only and ends with the error number.
    fn mount_from(&self, flags: libc::c_ulong, directory: &CString) -> io::Result<()> {
        let none = std::ptr::null_mut::<libc::c_void>();
        // No exit signal: the shim's own watch over its children must not see this one.
        let plain: libc::c_ulong = 0;
        // SAFETY: a plain fork; the child makes system calls with memory prepared before, then exits.
        let pid = unsafe { libc::syscall(libc::SYS_clone, plain, none, none, none, none) };
        if pid == 0 {
            // SAFETY: C strings; `_exit` runs nothing of the parent's.
            unsafe {
                let done = libc::chdir(directory.as_ptr()) == 0 && self.system_call(flags) == 0;
                let errno = io::Error::last_os_error()
                    .raw_os_error()
                    .unwrap_or(libc::EIO);
                libc::_exit(if done { 0 } else { errno.clamp(1, 255) });
            }
        }
        let mut status = 0;
        loop {
            // SAFETY: `status` outlives the call.
            match check(unsafe { libc::waitpid(pid as i32, &raw mut status, libc::__WCLONE) }) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => return Ok(()),
                Ok(_) if libc::WIFEXITED(status) => {
                    return Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status)));
                }
                Ok(_) => return Err(io::Error::other("the helper process was killed")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
