//! `-info`: what containerd 2.x asks of every configured runtime.

use std::io::{self, Write};

use crate::args::Args;

/// What containerd takes the features for: runtime-spec's features document, as JSON.
const FEATURES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Of level microvm. containerd offers recursive read-only mounts by the one option, and user namespaces by the
/// last two members: where `linux` is there and `mountExtensions` is not, it ends itself.
const FEATURES: &str = r#"{
"ociVersionMin":"1.0.0","ociVersionMax":"1.2.0","hooks":[],
"mountOptions":["bind","defaults","dev","diratime","exec","noatime","nodev","nodiratime","noexec","nosuid","private","rbind","relatime","rnodev","rnoexec","rnosuid","ro","rprivate","rro","rslave","runbindable","rw","slave","strictatime","suid","unbindable"],
"linux":{"namespaces":["cgroup","ipc","mount","network","pid","uts"],"mountExtensions":{"idmap":{"enabled":false}}}
}"#;

/// A RuntimeInfo: 1 name, 2 version {1 version}, 4 features {1 type, 2 value}; options are left out. A machine of
/// level vm is no runtime of OCI's, and has no features.
pub fn info(args: &Args) -> io::Result<()> {
    io::stdout().write_all(&message(&args.runtime))
}

fn message(runtime: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, 1, runtime.as_bytes());
    let mut version = Vec::new();
    put(&mut version, 1, env!("CARGO_PKG_VERSION").as_bytes());
    put(&mut out, 2, &version);
    if !runtime.contains("trine-vm") {
        let mut features = Vec::new();
        put(&mut features, 1, FEATURES_TYPE.as_bytes());
        put(&mut features, 2, FEATURES.as_bytes());
        put(&mut out, 4, &features);
    }
    out
}

/// One length-delimited field: the message has few, which need no generated type.
fn put(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f | 0x80) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Value;

    #[test]
    fn features_are_those_of_containers_in_a_guest() {
        let said = |runtime: &str| String::from_utf8_lossy(&message(runtime)).into_owned();
        for runtime in [
            "containerd-shim-trine-microvm-v2",
            "containerd-shim-trine-v2",
        ] {
            let text = said(runtime);
            assert!(text.contains(FEATURES_TYPE), "{text:?}");
            assert!(text.ends_with(FEATURES), "{text:?}");
        }
        assert!(!said("containerd-shim-trine-vm-v2").contains("features"));
    }

    #[test]
    fn features_are_a_document() {
        let document = Value::parse(FEATURES.as_bytes()).unwrap();
        assert!(document.get("mountOptions").is_some());
        let linux = document.get("linux").unwrap();
        assert!(linux.get("mountExtensions").is_some());
    }
}
