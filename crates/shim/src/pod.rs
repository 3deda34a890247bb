//! Which pod a bundle belongs to, and where its things are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::json::Value;

/// A spec beyond this is not from containerd.
const MAX_SPEC_BYTES: u64 = 8 << 20;
const DEFAULT_STATE: &str = "/run/trine";

/// What the shim wants to know of a bundle's config.json.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Spec {
    pub role: Role,
    /// Empty = the spec names no network namespace.
    pub netns: String,
    pub cgroups_path: String,
    pub annotations: BTreeMap<String, String>,
    /// Of the container itself, in bytes.
    pub memory_limit: Option<u64>,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub enum Role {
    /// ctr, docker, nerdctl: a pod of one container, its id the pod's.
    #[default]
    Alone,
    Sandbox,
    ContainerOf(String),
}

impl Spec {
    pub fn read(bundle: &Path) -> io::Result<Spec> {
        let mut text = Vec::new();
        let file = File::open(bundle.join("config.json"))?;
        file.take(MAX_SPEC_BYTES + 1).read_to_end(&mut text)?;
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if text.len() as u64 > MAX_SPEC_BYTES {
            return Err(invalid("config.json is over 8 MiB"));
        }
        let spec = Value::parse(&text).ok_or_else(|| invalid("config.json is not valid JSON"))?;
        Spec::from_json(&spec).ok_or_else(|| invalid("config.json: a container without sandbox id"))
    }

    fn from_json(spec: &Value) -> Option<Spec> {
        let linux = spec.get("linux");
        let member = |key| linux.and_then(|l| l.get(key));
        let netns = member("namespaces")
            .map(Value::list)
            .unwrap_or_default()
            .iter()
            .find(|n| n.get("type").and_then(Value::text) == Some("network"))
            .and_then(|n| n.get("path"))
            .and_then(Value::text);
        Some(Spec {
            role: role_of(spec)?,
            netns: netns.unwrap_or_default().to_owned(),
            cgroups_path: member("cgroupsPath")
                .and_then(Value::text)
                .unwrap_or_default()
                .to_owned(),
            annotations: annotations_of(spec),
            memory_limit: member("resources")
                .and_then(|resources| resources.get("memory")?.get("limit")?.number())
                .filter(|limit| *limit > 0),
        })
    }
}

fn annotations_of(spec: &Value) -> BTreeMap<String, String> {
    let Some(Value::Object(members)) = spec.get("annotations") else {
        return BTreeMap::new();
    };
    let texts = members
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.text()?.to_owned())));
    texts.collect()
}

/// containerd's annotations, else CRI-O's. `None`: a container that does not say whose.
fn role_of(spec: &Value) -> Option<Role> {
    let annotation = |key| {
        spec.get("annotations")
            .and_then(|a| a.get(key))
            .and_then(Value::text)
    };
    let families = [
        (
            "io.kubernetes.cri.container-type",
            "io.kubernetes.cri.sandbox-id",
        ),
        (
            "io.kubernetes.cri-o.ContainerType",
            "io.kubernetes.cri-o.SandboxID",
        ),
    ];
    for (kind, sandbox) in families {
        match annotation(kind) {
            Some("sandbox") => return Some(Role::Sandbox),
            Some("container") => {
                let id = annotation(sandbox).filter(|id| valid_id(id))?;
                return Some(Role::ContainerOf(id.to_owned()));
            }
            _ => {}
        }
    }
    Some(Role::Alone)
}

/// Ids become parts of paths.
pub fn valid_id(id: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=255).contains(&id.len()) && id.bytes().all(safe) && !id.starts_with('.')
}

/// The state directory: the runtime's ConfigPath option, else the environment, else the default.
pub fn state_dir(option: &str) -> PathBuf {
    let given = |text: &str| text.starts_with('/').then(|| PathBuf::from(text));
    given(option)
        .or_else(|| {
            std::env::var("TRINE_STATE")
                .ok()
                .and_then(|text| given(&text))
        })
        .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE))
}

/// `<state>/pods/<dir>`: short enough for socket paths, unique by the hash.
pub fn pod_dir(state: &Path, namespace: &str, sandbox_id: &str) -> PathBuf {
    let hash = fnv1a64(&[namespace.as_bytes(), b"\0", sandbox_id.as_bytes()].concat());
    let short: String = sandbox_id.chars().take(12).collect();
    state.join("pods").join(format!("{short}-{hash:016x}"))
}

pub fn socket_path(pod_dir: &Path) -> PathBuf {
    pod_dir.join("shim.sock")
}

pub fn lock_path(pod_dir: &Path) -> PathBuf {
    pod_dir.join("lock")
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Option<Spec> {
        Spec::from_json(&Value::parse(text.as_bytes()).expect("valid JSON"))
    }

    #[test]
    fn fnv_is_the_published_one() {
        assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn pod_directory_is_id_and_hash() {
        let dir = pod_dir(Path::new("/run/trine"), "k8s.io", "0123456789abcdef");
        let hash = fnv1a64(b"k8s.io\x000123456789abcdef");
        assert_eq!(
            dir,
            PathBuf::from(format!("/run/trine/pods/0123456789ab-{hash:016x}"))
        );
    }

    #[test]
    fn both_families_of_annotations_group() {
        let sandbox = spec(r#"{"annotations":{"io.kubernetes.cri.container-type":"sandbox"}}"#);
        assert_eq!(sandbox.expect("spec").role, Role::Sandbox);
        let cri_o = r#"{"annotations":{"io.kubernetes.cri-o.ContainerType":"container",
            "io.kubernetes.cri-o.SandboxID":"abc"}}"#;
        assert_eq!(
            spec(cri_o).expect("spec").role,
            Role::ContainerOf("abc".into())
        );
        assert_eq!(spec("{}").expect("spec").role, Role::Alone);
        let lost = r#"{"annotations":{"io.kubernetes.cri.container-type":"container"}}"#;
        assert_eq!(spec(lost), None);
    }

    #[test]
    fn network_namespace_and_cgroup_come_from_linux() {
        let text = r#"{"annotations":{"a":"b","c":1},"linux":{"cgroupsPath":"/pods/x",
            "resources":{"memory":{"limit":1048576}},
            "namespaces":[{"type":"pid"},{"type":"network","path":"/var/run/netns/cni-1"}]}}"#;
        let got = spec(text).expect("spec");
        assert_eq!(got.memory_limit, Some(1 << 20));
        assert_eq!(
            got.annotations.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "b".to_owned())]
        );
        assert_eq!(got.netns, "/var/run/netns/cni-1");
        assert_eq!(got.cgroups_path, "/pods/x");
    }

    #[test]
    fn ids_that_would_leave_the_directory_are_refused() {
        for id in ["", ".", "..", "a/b", "../x", "a\0b", &"x".repeat(256)] {
            assert!(!valid_id(id), "{id}");
        }
        assert!(valid_id("0f3a_b.c-d"));
    }
}
