//! The first process of a container that was forked before its container was known.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Guest, process, shell};
use serde_json::{Value, json};
use trine_wire::agent::source::What;
use trine_wire::agent::{MountRequest, Source, Tmpfs};

/// In the namespaces that a pod's container has in its guest.
fn usual(script: &str) -> Value {
    let mut spec = shell(script);
    spec["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}]);
    spec
}

fn remove(guest: &mut Guest, id: &str) {
    guest
        .call::<()>("RemoveContainer", &process(id, ""))
        .expect("removed");
}

/// A container that has taken the child that waited, its control group before, and its output. On a busy machine a child
/// may have waited for its longest before its container comes: then another guest is tried.
fn taken(prepare: impl Fn(&mut Guest), spec: &Value) -> (Guest, PathBuf, u32) {
    for _ in 0..10 {
        let mut guest = Guest::revived();
        let (group, pid) = guest.parked();
        prepare(&mut guest);
        guest.create("c1", spec).expect("created");
        let out = guest.open("stdout/c1/");
        if guest.start("c1", "").expect("started") == pid {
            return (guest, group, out);
        }
    }
    panic!("no container takes the child that waits");
}

fn pid_of(guest: &mut Guest, id: &str, spec: &Value) -> u32 {
    guest.create(id, spec).expect("created");
    guest.start(id, "").expect("started")
}

#[test]
fn a_container_takes_the_child_that_waits_and_goes_with_all_of_it() {
    let script = "echo $$; cat=/bin/busybox; $cat cat /proc/self/cgroup; $cat sleep 1000";
    let (mut guest, group, out) = taken(|_| {}, &usual(script));
    let said = guest.until("its words", |g| {
        let said = String::from_utf8_lossy(g.received.get(&out)?).into_owned();
        (said.lines().count() > 1).then_some(said)
    });
    assert!(said.starts_with("1\n"), "{said}");
    assert!(said.lines().any(|line| line == "0::/"), "{said}");
    guest.exec("c1", "e1", "echo beside it").expect("made");
    assert_eq!(guest.finish("c1", "e1").0, "beside it\n");
    remove(&mut guest, "c1");
    assert!(!group.exists());
}

#[test]
fn what_is_mounted_later_is_there() {
    let tmpfs = Tmpfs {
        size_bytes: 1 << 20,
        mode: 0o1777,
    };
    let source = Source {
        what: Some(What::Tmpfs(tmpfs)),
        read_only: false,
    };
    let request = MountRequest {
        target: "/run/trine/late".to_owned(),
        source: Some(source),
    };
    let mut spec = usual("/bin/busybox grep -c ' /late tmpfs ' /proc/self/mounts");
    let bind = json!({"destination": "/late", "type": "bind", "source": "/run/trine/late", "options": ["rbind"]});
    spec["mounts"].as_array_mut().expect("mounts").push(bind);
    let mount = |guest: &mut Guest| guest.call::<()>("Mount", &request).expect("mounted");
    let (mut guest, _, out) = taken(mount, &spec);
    assert_eq!(guest.whole(out), "1\n");
}

#[test]
fn other_namespaces_than_the_usual_are_made_when_they_are_asked_for() {
    let mut guest = Guest::revived();
    let (_, pid) = guest.parked();
    let mut shared = usual("exec /bin/busybox sleep 1000");
    shared["linux"]["namespaces"] = json!([
        {"type": "pid", "path": "/run/trine/pod/ns/pid"}, {"type": "mount"}, {"type": "cgroup"}
    ]);
    assert_ne!(pid_of(&mut guest, "c1", &shared), pid);
    let mut own = usual("exec /bin/busybox sleep 1000");
    own["linux"]["namespaces"] =
        json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}]);
    assert_ne!(pid_of(&mut guest, "c2", &own), pid);
}

#[test]
fn a_child_that_dies_while_it_waits_is_missed_by_nobody() {
    let mut guest = Guest::revived();
    let (_, pid) = guest.parked();
    // It may have ended by itself, which comes to the same.
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    guest.until_none_parked();
    assert_eq!(guest.run("c1", &usual("echo well")).0, "well\n");
}

#[test]
fn a_container_that_is_refused_leaves_neither_child_nor_group() {
    let mut guest = Guest::revived();
    guest.parked();
    let mut spec = usual("true");
    spec["linux"]["resources"] = json!({"unified": {"no.such.file": "1"}});
    guest.create("c1", &spec).expect_err("no such file");
    guest.until_none_parked();
    assert_eq!(guest.run("c1", &usual("echo well")).0, "well\n");
}

#[test]
fn none_waits_for_ever() {
    let mut guest = Guest::revived();
    let (_, pid) = guest.parked();
    guest.until_none_parked();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn process_ids_that_a_pod_shares_are_made_anew_when_their_first_process_has_died() {
    let mut guest = Guest::revived();
    let mut spec = usual("exec /bin/busybox sleep 1000");
    spec["linux"]["namespaces"] =
        json!([{"type": "pid", "path": "/run/trine/pod/ns/pid"}, {"type": "mount"}]);
    let first = pid_of(&mut guest, "c1", &spec);
    let pause = pause_beside(first);
    kill(pause);
    assert_eq!(guest.exit("c1", "").status, 137);
    // It has ended when all others have; the agent takes note of that then.
    guest.until("its end", |_| {
        (!Path::new(&format!("/proc/{pause}")).exists()).then_some(())
    });
    let second = pid_of(&mut guest, "c2", &spec);
    assert_ne!(pause_beside(second), pause);
}

/// The first process of the namespace of this process's ids.
fn pause_beside(pid: u32) -> u32 {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let is_first = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        inner.is_some_and(|ids| ids.split_whitespace().last() == Some("1"))
    };
    let own = namespace(pid).expect("it runs");
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|other| namespace(*other).as_ref() == Some(&own) && is_first(*other))
        .expect("the namespace's first process")
}

fn kill(pid: u32) {
    // SAFETY: takes no pointers.
    let killed = unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    assert_eq!(killed, 0);
}
