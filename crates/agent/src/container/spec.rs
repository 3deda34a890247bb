//! The fields of an OCI runtime specification (config.json, version 1.0 and 1.1) that a guest acts on. The rest
//! is the host's business and is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::disk_root::DiskRoot;
use crate::sys::invalid;

const MAX_SPEC_BYTES: usize = 2 << 20;
pub const MAX_LIST: usize = 4096;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub process: Option<Process>,
    pub root: Root,
    /// Instead of the root's path. Not OCI's: the request says it.
    #[serde(skip)]
    pub disk_root: Option<DiskRoot>,
    pub hostname: String,
    pub domainname: String,
    pub mounts: Vec<Mount>,
    pub linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Root {
    pub path: String,
    pub readonly: bool,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    pub user: User,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub capabilities: Option<Capabilities>,
    pub rlimits: Vec<Rlimit>,
    pub no_new_privileges: bool,
    pub oom_score_adj: Option<i32>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub umask: Option<u32>,
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub bounding: Vec<String>,
    pub effective: Vec<String>,
    pub inheritable: Vec<String>,
    pub permitted: Vec<String>,
    pub ambient: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub destination: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    pub namespaces: Vec<Namespace>,
    pub devices: Vec<Device>,
    pub sysctl: BTreeMap<String, String>,
    pub resources: Resources,
    pub seccomp: Option<Seccomp>,
    pub rootfs_propagation: String,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: u32,
    pub minor: u32,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Serial number of the disk it is. Not OCI's: the request says it.
    #[serde(skip)]
    pub disk: Option<String>,
    /// What the container may do with it, as in `DeviceRule`. Not OCI's either.
    #[serde(skip)]
    pub access: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub devices: Vec<DeviceRule>,
    pub memory: Memory,
    pub cpu: Cpu,
    pub pids: Pids,
    /// Files of the control group as they are, e.g. `memory.high`.
    pub unified: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    pub allow: bool,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub access: String,
}

/// Bytes; -1 = no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    /// Memory and swap together, as cgroup v1 counted.
    pub swap: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub period: Option<u64>,
    pub cpus: String,
    pub mems: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pids {
    pub limit: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Seccomp {
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    pub architectures: Vec<String>,
    pub flags: Vec<String>,
    pub syscalls: Vec<SyscallRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyscallRule {
    pub names: Vec<String>,
    pub action: String,
    pub errno_ret: Option<u32>,
    pub args: Option<Vec<SyscallArg>>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyscallArg {
    pub index: u32,
    pub value: u64,
    pub value_two: u64,
    pub op: String,
}

impl Spec {
    /// Reads and checks the whole document.
    pub fn parse(json: &[u8]) -> std::io::Result<Spec> {
        let spec: Spec = read(json, "the container's specification")?;
        let Some(process) = &spec.process else {
            return Err(invalid("the container's specification has no process"));
        };
        process.check()?;
        if !spec.root.path.starts_with('/') {
            return Err(invalid(format!(
                "root.path {:?} is not absolute",
                spec.root.path
            )));
        }
        for mount in &spec.mounts {
            if !mount.destination.starts_with('/') {
                return Err(invalid(format!(
                    "the mount destination {:?} is not absolute",
                    mount.destination
                )));
            }
        }
        let lists = [spec.mounts.len(), spec.linux.devices.len()];
        if lists.iter().any(|n| *n > MAX_LIST) {
            return Err(invalid(format!("more than {MAX_LIST} mounts or devices")));
        }
        Ok(spec)
    }
}

impl Process {
    pub fn parse(json: &[u8]) -> std::io::Result<Process> {
        let process: Process = read(json, "the process's specification")?;
        process.check()?;
        Ok(process)
    }

    fn check(&self) -> std::io::Result<()> {
        if self.args.first().is_none_or(String::is_empty) {
            return Err(invalid("process.args is empty"));
        }
        if !self.cwd.starts_with('/') {
            return Err(invalid(format!("the cwd {:?} is not absolute", self.cwd)));
        }
        let texts = self.args.iter().chain(&self.env);
        if texts.clone().any(|text| text.contains('\0')) {
            return Err(invalid("a NUL byte in process.args or process.env"));
        }
        Ok(())
    }

    /// The value of an environment variable; the last one counts.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            (key == name).then_some(value)
        })
    }
}

impl Resources {
    pub fn parse(json: &[u8]) -> std::io::Result<Resources> {
        read(json, "the resources")
    }
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8], what: &str) -> std::io::Result<T> {
    if json.len() > MAX_SPEC_BYTES {
        return Err(invalid(format!("{what} is over {MAX_SPEC_BYTES} bytes")));
    }
    serde_json::from_slice(json).map_err(|e| invalid(format!("read {what}: {e}")))
}
