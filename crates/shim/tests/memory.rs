//! Shims without a pod, and memory that one of them gives to another's children.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::path::PathBuf;

use harness::{Client, Pod, SHIM, eventually};
use trine_wire::shim::{self, descriptor::Source};

const FAILED_PRECONDITION: i32 = 9;
const BYTES: u64 = 1 << 20;

/// A shim without a pod; ended with its test's directory.
struct Made {
    pod: Pod,
    dir: PathBuf,
    client: Client,
}

impl Made {
    fn new(name: &str) -> Made {
        let pod = Pod::new(name);
        let dir = pod.state().join("templates").join(name);
        let address = make(&pod, name);
        assert_eq!(address, format!("unix://{}/shim.sock", dir.display()));
        let client = Client::new(&dir.join("shim.sock"));
        Made { pod, dir, client }
    }

    /// Runs a child to its end; what it printed.
    fn run(&mut self, request: shim::SpawnRequest) -> String {
        let log = self.pod.dir.join(format!("{}.log", request.key));
        let key = request.key.clone();
        let request = shim::SpawnRequest {
            log_path: log.to_string_lossy().into_owned(),
            ..request
        };
        let _: shim::SpawnResponse = self.client.call(SHIM, "Spawn", &request).unwrap();
        eventually("the child ends", || {
            let facts: shim::DescribeResponse = self
                .client
                .call(SHIM, "Describe", &shim::DescribeRequest {})
                .unwrap();
            let child = facts.children.into_iter().find(|child| child.key == key);
            child.filter(|child| !child.running)
        });
        fs::read_to_string(&log).unwrap()
    }
}

fn make(pod: &Pod, name: &str) -> String {
    let dir = pod.state().join("templates").join(name);
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_containerd-shim-trine-v2"))
        .args(["-namespace", "trine", "-id", name, "-state"])
        .arg(pod.state())
        .arg("-dir")
        .arg(dir)
        .arg("make")
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn script(key: &str, text: &str, source: Source) -> shim::SpawnRequest {
    shim::SpawnRequest {
        key: key.to_owned(),
        argv: ["/bin/busybox", "sh", "-c", text]
            .map(str::to_owned)
            .to_vec(),
        descriptors: vec![shim::Descriptor {
            number: 3,
            source: Some(source),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn a_shim_without_a_pod_stays_until_it_is_ended() {
    let mut made = Made::new("held");
    assert!(make(&made.pod, "held").ends_with("/held/shim.sock")); // found, not made again
    let facts: shim::DescribeResponse = made
        .client
        .call(SHIM, "Describe", &shim::DescribeRequest {})
        .unwrap();
    assert_eq!(
        (facts.namespace.as_str(), facts.sandbox_id.as_str()),
        ("trine", "held")
    );
    made.client.call::<()>(SHIM, "End", &()).unwrap();
    eventually("it is gone", || (!made.dir.exists()).then_some(()));
}

#[test]
fn a_pods_shim_is_not_ended_by_the_call() {
    let pod = Pod::started("pods");
    let refused = pod.connect().call::<()>(SHIM, "End", &()).unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION);
}

#[test]
fn a_child_with_a_sealed_memory_of_another_shim_reads_it_and_cannot_change_it() {
    let mut template = Made::new("template");
    let memory = shim::Memory {
        name: "memory".to_owned(),
        bytes: BYTES,
    };
    let write = script("write", "printf template >&3", Source::Memory(memory));
    assert_eq!(template.run(write), "");
    let request = shim::SealMemoryRequest {
        name: "memory".to_owned(),
    };
    let sealed: shim::SealMemoryResponse =
        template.client.call(SHIM, "SealMemory", &request).unwrap();
    assert_eq!(sealed.bytes, BYTES);

    let mut clone = Made::new("clone");
    let place = shim::SealedMemory {
        path: sealed.path,
        inode: sealed.inode,
        bytes: sealed.bytes,
    };
    // As a VMM has it: unprivileged, in a root of its own that has nothing of /proc but its own descriptors.
    let attack = "exec 4<>/proc/self/fd/3 || echo not opened
        /bin/busybox head -c 8 <&4; echo
        echo attack >&4 || echo not written
        command : > /proc/self/fd/3 || echo not cut
        /bin/busybox ls /proc /proc/self";
    let bind = |path: &str| shim::Bind {
        source: path.to_owned(),
        target: path.to_owned(),
        ..Default::default()
    };
    let attack = shim::SpawnRequest {
        uid: 4711,
        gid: 4711,
        jail: Some(shim::Jail {
            binds: vec![bind("/bin/busybox"), bind("/proc/self/fd")],
            ..Default::default()
        }),
        ..script("attack", attack, Source::Sealed(place.clone()))
    };
    let said = clone.run(attack);
    for wanted in ["template\n", "not written", "not cut"] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(!said.contains("not opened"), "{said}");
    assert!(
        said.ends_with("/proc:\nself\n\n/proc/self:\nfd\n"),
        "{said}"
    );
    let look = script(
        "look",
        "/bin/busybox head -c 8 <&3",
        Source::Sealed(place.clone()),
    );
    assert_eq!(clone.run(look), "template");

    // The template has gone: nothing else is taken for it.
    let facts: shim::DescribeResponse = template
        .client
        .call(SHIM, "Describe", &shim::DescribeRequest {})
        .unwrap();
    template.client.call::<()>(SHIM, "End", &()).unwrap();
    let process = PathBuf::from(format!("/proc/{}/fd", facts.pid));
    eventually("it is gone", || {
        fs::read_dir(&process).is_err().then_some(())
    });
    let late = script("late", "true", Source::Sealed(place));
    let refused = clone
        .client
        .call::<shim::SpawnResponse>(SHIM, "Spawn", &late)
        .unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION, "{}", refused.message);
}
