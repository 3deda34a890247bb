//! Capabilities by name, and setting all five sets of a process.

use std::io;

use super::spec::Capabilities;
use crate::sys::{check, check_long, during};

/// In the order of their numbers (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
/// What a service may that gives nothing up.
pub fn own() -> Capabilities {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let permitted = named(permitted_in(&status));
    Capabilities {
        bounding: permitted.clone(),
        effective: permitted.clone(),
        permitted,
        ..Capabilities::default()
    }
}

fn permitted_in(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn named(set: u64) -> Vec<String> {
    let known = NAMES.iter().enumerate();
    known
        .filter(|(number, _)| set & (1 << number) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;

/// Five sets as bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sets {
    bounding: u64,
    effective: u64,
    inheritable: u64,
    permitted: u64,
    ambient: u64,
}

impl Sets {
    /// Names the agent does not know are left out, as runc does: nobody can have them here.
    pub fn of(capabilities: &Capabilities) -> Sets {
        Sets {
            bounding: bits(&capabilities.bounding),
            effective: bits(&capabilities.effective),
            inheritable: bits(&capabilities.inheritable),
            permitted: bits(&capabilities.permitted),
            ambient: bits(&capabilities.ambient),
        }
    }

    /// Takes the rest out of the bounding set. Needs CAP_SETPCAP, so it comes before the change of user.
    pub fn limit_bounding(self) -> io::Result<()> {
        for number in 0..u64::BITS {
            if self.bounding & (1 << number) != 0 {
                continue;
            }
            // The kernel itself says where its list ends: no file of the workload's is asked.
            // SAFETY: takes no pointers.
            match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                Err(error) => return Err(during("drop capabilities")(error)),
            }
        }
        Ok(())
    }

    /// After the change of user, which must have kept the permitted set (PR_SET_KEEPCAPS).
    pub fn apply(self) -> io::Result<()> {
        let low = |set: u64| (set & 0xffff_ffff) as u32;
        let high = |set: u64| (set >> 32) as u32;
        let header: [u32; 2] = [VERSION, 0];
        let data: [u32; 6] = [
            low(self.effective),
            low(self.permitted),
            low(self.inheritable),
            high(self.effective),
            high(self.permitted),
            high(self.inheritable),
        ];
        // SAFETY: header and data have the layout of version 3 and outlive the call.
        check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })
            .map_err(during("set capabilities"))?;
        let (clear, raise) = (libc::PR_CAP_AMBIENT_CLEAR_ALL, libc::PR_CAP_AMBIENT_RAISE);
        // SAFETY: takes no pointers.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) })
            .map_err(during("clear ambient capabilities"))?;
        for number in (0..u64::BITS).filter(|n| self.ambient & (1 << n) != 0) {
            // SAFETY: takes no pointers.
            check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0) })
                .map_err(during("raise ambient capabilities"))?;
        }
        Ok(())
    }
}

fn bits(names: &[String]) -> u64 {
    let number = |name: &String| NAMES.iter().position(|known| known == name);
    names
        .iter()
        .filter_map(number)
        .fold(0, |set, n| set | 1 << n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_kernels_numbers() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(bits(&names(&["CAP_CHOWN"])), 1);
        assert_eq!(bits(&names(&["CAP_SETFCAP", "CAP_KILL"])), 1 << 31 | 1 << 5);
        assert_eq!(bits(&names(&["CAP_CHECKPOINT_RESTORE"])), 1 << 40);
        assert_eq!(bits(&names(&["CAP_OF_TOMORROW"])), 0);
        assert_eq!(bits(&named(1 << 40 | 5)), 1 << 40 | 5);
        let status = "Name:\tx\nCapInh:\t0\nCapPrm:\t000001ffffffffff\n";
        assert_eq!(permitted_in(status), (1 << 41) - 1);
    }
}
