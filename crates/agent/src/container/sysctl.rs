//! Kernel parameters of a container or of the pod.

use std::io;

use crate::sys::{during, invalid};

/// Sets those of a container or of the pod: only such as belong to a namespace. The kernel's own are
/// nobody's to change.
pub fn apply<'a>(sysctls: impl IntoIterator<Item = (&'a String, &'a String)>) -> io::Result<()> {
    for (name, value) in sysctls {
        if !is_namespaced(name) {
            return Err(invalid(format!("sysctl {name:?} belongs to no namespace")));
        }
        set(name, value)?;
    }
    Ok(())
}

/// Through the agent's own /proc, before the workload's mounts.
fn set(name: &str, value: &str) -> io::Result<()> {
    let path = path_of(name)?;
    std::fs::write(&path, value).map_err(during(format!("set sysctl {name}")))
}

fn is_namespaced(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.domainname",
        "kernel.hostname",
    ];
    let name = name.replace('/', ".");
    name.starts_with("net.") || name.starts_with("fs.mqueue.") || NAMES.contains(&name.as_str())
}

/// `a.b.c` and `a/b/c` name the same; in the second form a part may hold a dot (an interface's name).
fn path_of(name: &str) -> io::Result<String> {
    let parts: Vec<&str> = if name.contains('/') {
        name.split('/').collect()
    } else {
        name.split('.').collect()
    };
    let bad = |part: &&str| part.is_empty() || *part == "." || *part == ".." || part.contains('\0');
    if parts.iter().any(bad) || parts.len() > 16 {
        return Err(invalid(format!("{name:?} is no sysctl")));
    }
    Ok(format!("/proc/sys/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_cannot_lead_elsewhere() {
        assert_eq!(
            path_of("net.core.somaxconn").expect("path"),
            "/proc/sys/net/core/somaxconn"
        );
        assert_eq!(
            path_of("net/ipv4/conf/eth0.100/forwarding").expect("path"),
            "/proc/sys/net/ipv4/conf/eth0.100/forwarding"
        );
        for bad in ["", "net/../../etc/passwd", "net..core", "/net"] {
            assert!(path_of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_belongs_to_no_namespace_is_not_a_containers_to_set() {
        for name in ["kernel.panic", "vm.swappiness", "fs.file-max"] {
            let one = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            assert!(apply(&one).is_err(), "{name}");
        }
        assert!(is_namespaced("net/core/somaxconn") && is_namespaced("kernel.shmmax"));
    }
}
