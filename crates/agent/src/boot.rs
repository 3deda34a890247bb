//! What PID 1 of the guest does before it is an agent: file systems, modules, its own protection.

use std::fs;
use std::io;

use crate::modules;
use crate::sys::{c_string, check, during, make_dir, mount};

const SAFE: libc::c_ulong = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;

/// Makes the initramfs a system that containers can be run in.
pub fn prepare() -> io::Result<()> {
    leave_ramfs()?;
    for (source, target, kind, flags, data) in [
        ("proc", "/proc", "proc", SAFE, ""),
        ("sysfs", "/sys", "sysfs", SAFE, ""),
        ("devtmpfs", "/dev", "devtmpfs", libc::MS_NOSUID, "mode=0755"),
        (
            "devpts",
            "/dev/pts",
            "devpts",
            libc::MS_NOSUID | libc::MS_NOEXEC,
            "mode=0620,ptmxmode=0666",
        ),
        ("tmpfs", "/dev/shm", "tmpfs", SAFE, "mode=1777"),
        ("mqueue", "/dev/mqueue", "mqueue", SAFE, ""),
        (
            "tmpfs",
            "/run",
            "tmpfs",
            libc::MS_NOSUID | libc::MS_NODEV,
            "mode=0755",
        ),
        (
            "cgroup2",
            "/sys/fs/cgroup",
            "cgroup2",
            SAFE,
            "nsdelegate,memory_recursiveprot",
        ),
    ] {
        if !target.starts_with("/sys/") {
            make_dir(target)?;
        }
        match mount(source, target, kind, flags, data) {
            // devtmpfs is mounted by a kernel that is told to; message queues are an option.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            Err(error) if kind == "mqueue" && error.kind() != io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    for dir in ["/etc", "/run/trine", "/tmp"] {
        make_dir(dir)?;
    }
    // What is mounted below a volume later shows in containers that ask for it.
    mount("", "/", "", libc::MS_SHARED | libc::MS_REC, "")?;
    modules::load_at_boot()?;
    fs::write("/proc/self/oom_score_adj", "-1000").map_err(during("protect the agent"))?;
    crate::net::loopback_up()
}

/// An initramfs cannot be the old root of pivot_root(2): it is bound over itself, which can.
fn leave_ramfs() -> io::Result<()> {
    make_dir("/run")?;
    mount("/", "/run", "", libc::MS_BIND | libc::MS_REC, "")?;
    let (at, dot, root) = (c_string("/run")?, c_string(".")?, c_string("/")?);
    // SAFETY: C strings.
    unsafe {
        check(libc::chdir(at.as_ptr()))?;
        let none = std::ptr::null();
        check(libc::mount(
            dot.as_ptr(),
            root.as_ptr(),
            none,
            libc::MS_MOVE,
            none.cast(),
        ))
        .map_err(during("move the root"))?;
        check(libc::chroot(dot.as_ptr()))?;
        check(libc::chdir(root.as_ptr()))?;
    }
    Ok(())
}

/// `NAME` of `trine.port=NAME` on the kernel's command line.
pub fn port_name() -> String {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    port_in(&line).unwrap_or("trine.agent").to_owned()
}

fn port_in(line: &str) -> Option<&str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("trine.port="))
}

/// Nothing is left that could be done: the machine goes down, and the host learns of it.
pub fn power_off() {
    // SAFETY: takes no pointers.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_on_the_command_line() {
        assert_eq!(port_in("quiet trine.port=x.y console=ttyS0\n"), Some("x.y"));
        assert_eq!(port_in("quiet"), None);
    }
}
