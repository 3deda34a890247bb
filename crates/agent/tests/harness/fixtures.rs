//! Requests, specifications and directories for the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use trine_wire::agent::{ProcessRequest, ReviveRequest};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub fn fresh_name() -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("trine-agent-{}-{number}", std::process::id())
}

pub fn remove_groups(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_groups(&path)?;
        }
    }
    fs::remove_dir(dir)
}

pub fn process(id: &str, exec: &str) -> ProcessRequest {
    ProcessRequest {
        container: id.to_owned(),
        exec: exec.to_owned(),
    }
}

pub fn revive() -> ReviveRequest {
    ReviveRequest {
        entropy: vec![42; 64],
        pod: "default/pod".to_owned(),
        hostname: "pod".to_owned(),
        ..Default::default()
    }
}

/// What containerd writes (`ctr oci spec`), with these arguments.
pub fn spec(args: &[&str]) -> Value {
    let mut spec: Value =
        serde_json::from_str(include_str!("../fixtures/spec.json")).expect("JSON");
    spec["root"]["path"] = json!("/run/trine/rootfs");
    spec["process"]["args"] = json!(args);
    spec["process"]["env"] = json!(["PATH=/bin:/sbin"]);
    spec
}

pub fn shell(script: &str) -> Value {
    spec(&["/bin/sh", "-c", script])
}

pub fn make_rootfs(root: &Path) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "run", "root"] {
        fs::create_dir_all(root.join(dir)).expect("made");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
    for name in ["sh", "true"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("link");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
}

pub fn cgroup_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    let line = mounts
        .lines()
        .find(|l| l.split(' ').nth(2) == Some("cgroup2"));
    let path = line.and_then(|l| l.split(' ').nth(1));
    PathBuf::from(path.expect("a cgroup2 mount"))
}
