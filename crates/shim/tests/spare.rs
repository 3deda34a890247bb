//! Spares: shims made ahead of time that `start` claims for a pod, and every way in which that goes wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{Client, Pod, SHIM, TASK, channel, eventually, script};
use trine_wire::shim::channel::Kind;
use trine_wire::shim::{self, descriptor::Source};
use trine_wire::task;

const FAILED_PRECONDITION: i32 = 9;
const SANDBOX: &str = r#""io.kubernetes.cri.container-type":"sandbox""#;
const CLASS: &str = r#"{"version":1,"runtimes":["containerd-shim-trine-v2"],"cpus":1,
    "memoryBytes":268435456,"defaultCpus":1,"defaultMemoryBytes":268435456,"mostCpus":8,
    "leastMemoryBytes":100663296,"besidesBelowBytes":0,"annotations":{}}"#;

/// A pod that has not started, with a spare for it whose VMM is a sleep.
struct Spared {
    pod: Pod,
    dir: PathBuf,
    pid: u32,
}

impl Spared {
    fn new(name: &str) -> Spared {
        let pod = Pod::new(name);
        pod.bundle(&pod.id, SANDBOX, "");
        let class = pod.state().join("spares/c");
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("class.json"), CLASS).unwrap();
        let dir = make(&pod, "n1");
        let mut client = Client::new(&dir.join("shim.sock"));
        let pid = describe(&mut client).pid;
        client.shim::<shim::SpawnResponse>("Spawn", &script("vmm", "", "exec sleep 100"));
        fs::write(dir.join("ready"), "").unwrap();
        Spared { pod, dir, pid }
    }

    fn client(&self) -> Client {
        Client::new(&self.dir.join("shim.sock"))
    }

    /// As containerd does it; a client of the shim that the pod has then.
    fn start(&mut self) -> Client {
        let out = self.pod.start(&self.pod.id, &[]);
        self.pod.address = address(&out);
        self.pod.connect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.pod.pod_dir().join("shim.log")).unwrap()
    }

    /// Where the spare goes when this pod claims it.
    fn pod_dir(&self) -> PathBuf {
        let address = self.pod.start(&self.pod.id, &[]);
        let dir = PathBuf::from(address_path(&self::address(&address)));
        let dir = dir.parent().unwrap().to_owned();
        assert!(self.pod.delete(&self.pod.id).status.success());
        assert!(!dir.exists());
        dir
    }
}

impl Drop for Spared {
    /// Also one that was never claimed.
    fn drop(&mut self) {
        let lock = self.dir.join("lock");
        let held = fs::File::open(&lock).is_ok_and(|lock| lock.try_lock().is_err());
        if held {
            kill(fs::read_to_string(lock).unwrap().trim().parse().unwrap());
        }
    }
}

fn kill(pid: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn make(pod: &Pod, name: &str) -> PathBuf {
    let dir = pod.state().join("spares/c").join(name);
    let out = Command::new(env!("CARGO_BIN_EXE_containerd-shim-trine-v2"))
        .args(["-namespace", "trine", "-id", name, "-state"])
        .arg(pod.state())
        .arg("-dir")
        .arg(&dir)
        .arg("make")
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    dir
}

fn address(out: &Output) -> String {
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn address_path(address: &str) -> &str {
    address.strip_prefix("unix://").unwrap()
}

fn describe(client: &mut Client) -> shim::DescribeResponse {
    client.shim("Describe", &shim::DescribeRequest {})
}

fn claim_of(pod: &Pod) -> shim::ClaimRequest {
    let link = |name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    shim::ClaimRequest {
        protocol: 1,
        namespace: harness::NAMESPACE.into(),
        sandbox_id: pod.id.clone(),
        runtime: "containerd-shim-trine-v2".into(),
        bundle: pod.bundle_dir(&pod.id).to_string_lossy().into_owned(),
        publish_address: String::new(),
        same_namespaces: ["mnt", "pid"]
            .map(|name| link(name).to_string_lossy().into_owned())
            .to_vec(),
    }
}

#[test]
fn a_spare_becomes_the_pods_shim_with_all_it_has() {
    let mut spared = Spared::new("claim");
    let before = describe(&mut spared.client());
    assert_eq!(before.sandbox_id, "n1");
    let mut client = spared.start();
    let after = describe(&mut client);
    assert_eq!(
        (after.pid, after.sandbox_id),
        (spared.pid, spared.pod.id.clone())
    );
    assert_eq!(after.namespace, harness::NAMESPACE);
    assert_eq!(after.pod_dir, spared.pod.pod_dir().to_string_lossy());
    assert_eq!(
        after.bundle,
        spared.pod.bundle_dir(&spared.pod.id).to_string_lossy()
    );
    assert_eq!(after.children[0].pid, before.children[0].pid);
    assert!(after.children[0].running);
    assert!(!spared.dir.exists());
    assert!(spared.log().contains("now serves pod"), "{}", spared.log());

    let again = spared.pod.start(&spared.pod.id, &[]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("has a shim already"), "{said}");
    let other = shim::ClaimRequest {
        sandbox_id: "other".into(),
        ..claim_of(&spared.pod)
    };
    let refused = client.call::<()>(SHIM, "Claim", &other).unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION);
    let end = client.call::<()>(SHIM, "End", &shim::DescribeRequest {});
    assert_eq!(end.unwrap_err().code, FAILED_PRECONDITION, "it is a pod's");
}

#[test]
fn a_claimed_shim_serves_tasks_and_events_as_any_other() {
    let mut spared = Spared::new("serves");
    let events = spared.pod.containerd();
    spared.start();
    let none = [const { String::new() }; 3];
    let (mut containerd, _relay) = spared.pod.running_task("ctr1", &none, false);
    let relayed = events.accept().serve("Forward", &shim::DescribeRequest {});
    assert_eq!(relayed.request.method, "Forward");
    let state = containerd.task_state("ctr1").unwrap();
    assert_eq!(state.status(), task::Status::Running);
}

#[test]
fn calls_name_the_new_pod_to_trined() {
    let mut spared = Spared::new("relay");
    let trined = spared.pod.trined();
    let mut client = spared.start();
    let create = task::CreateTaskRequest {
        id: "ctr1".into(),
        ..Default::default()
    };
    client.send(TASK, "Create", &create);
    let relayed = trined.accept().request();
    assert_eq!(relayed.metadata["trine-sandbox"], spared.pod.id);
    assert_eq!(relayed.metadata["trine-namespace"], harness::NAMESPACE);
    assert_eq!(
        relayed.metadata["trine-address"],
        address_path(&spared.pod.address)
    );
}

#[test]
fn sockets_and_mounts_go_on_under_the_new_name() {
    let mut spared = Spared::new("paths");
    let path = |name: &str| spared.dir.join(name).to_string_lossy().into_owned();
    let mut client = spared.client();
    let listen = shim::Listen {
        path: path("p9.sock"),
        mode: 0o600,
        serves: "9p".into(),
    };
    let guest = shim::Channel {
        name: "link".into(),
        kind: Kind::Guest.into(),
        guest_path: path("guest.sock"),
        ..Default::default()
    };
    let console = shim::Channel {
        name: "console".into(),
        kind: Kind::Console.into(),
        spool_path: path("console.log"),
        attach_path: path("console.sock"),
        ..Default::default()
    };
    let request = shim::SpawnRequest {
        descriptors: vec![
            shim::Descriptor {
                number: 3,
                source: Some(Source::Listen(listen)),
                ..Default::default()
            },
            channel(4, guest),
            channel(5, console),
        ],
        ..script("machine", "", "echo hello >&5; exec sleep 100")
    };
    client.shim::<shim::SpawnResponse>("Spawn", &request);
    fs::create_dir(spared.dir.join("share")).unwrap();
    let shared = shim::MountRequest {
        target: path("share"),
        shared: true,
        ..Default::default()
    };
    client.shim::<()>("Mount", &shared);

    spared.start();
    let pod_dir = spared.pod.pod_dir();
    for socket in ["p9.sock", "guest.sock", "console.sock"] {
        UnixStream::connect(pod_dir.join(socket)).unwrap();
    }
    let mut attached = UnixStream::connect(pod_dir.join("console.sock")).unwrap();
    attached.set_nonblocking(true).unwrap();
    harness::read_until(&mut attached, "hello");
    let unmount = shim::UnmountRequest {
        target: pod_dir.join("share").to_string_lossy().into_owned(),
    };
    assert!(is_mounted(&pod_dir.join("share")));
    client.shim::<()>("Unmount", &unmount);
    assert!(!is_mounted(&pod_dir.join("share")));
    // Mounted once more, so that there is something to take off at the end.
    let again = shim::MountRequest {
        target: unmount.target.clone(),
        ..shared
    };
    client.shim::<()>("Mount", &again);
    assert!(spared.pod.delete(&spared.pod.id).status.success());
    assert!(!pod_dir.exists() && !is_mounted(&pod_dir.join("share")));
}

fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&*path.to_string_lossy())
}

/// A network namespace with a name, as CNI's are.
struct Netns(String);

impl Netns {
    fn new(name: &str) -> Netns {
        let name = format!("trine-{}-{name}", std::process::id());
        ip(&["netns", "add", &name]);
        Netns(name)
    }

    fn linux(&self) -> String {
        format!(
            r#""namespaces":[{{"type":"network","path":"/run/netns/{}"}}]"#,
            self.0
        )
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn set_nice(pid: u32, nice: i32) {
    // SAFETY: takes no pointers.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, nice) };
    assert_eq!(set, 0);
}

fn nice(pid: u32) -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, pid) }
}

fn ip(args: &[&str]) -> String {
    let out = Command::new("ip").args(args).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn it_enters_the_pods_network_and_control_groups_with_its_tap_and_children() {
    let mut spared = Spared::new("place");
    let netns = Netns::new("place");
    let tap = |mtu| shim::OpenTapRequest {
        name: "tap0".into(),
        mtu,
        ..Default::default()
    };
    spared.client().shim::<()>("OpenTap", &tap(1500));
    let group = format!("/trine-spare-{}", std::process::id());
    let linux = format!(r#"{},"cgroupsPath":"{group}""#, netns.linux());
    spared.pod.bundle(&spared.pod.id, SANDBOX, &linux);
    let machine = describe(&mut spared.client()).children[0].pid;
    set_nice(machine, 10);
    let mut client = spared.start();
    assert_eq!(nice(machine), 0);
    // It may still be on its way: OpenTap waits for it.
    client.shim::<()>("OpenTap", &tap(1400));
    let shown = ip(&["-n", &netns.0, "-o", "link", "show"]);
    assert!(
        shown.contains("mtu 1400") && shown.contains(",UP"),
        "{shown}"
    );

    let facts = describe(&mut client);
    assert!(facts.netns.ends_with(&netns.0) && !facts.cgroups.is_empty());
    for pid in [facts.pid, facts.children[0].pid] {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(groups.contains(&group), "{groups}");
    }
    for name in ["ipc", "uts"] {
        let own = fs::read_link(format!("/proc/{}/ns/{name}", facts.pid)).unwrap();
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(own, host);
    }
    assert!(spared.pod.delete(&spared.pod.id).status.success());
    assert!(facts.cgroups.iter().all(|dir| !Path::new(dir).exists()));
}

#[test]
fn a_pod_that_does_not_fit_gets_a_shim_of_its_own() {
    let mut spared = Spared::new("fit");
    let annotations = format!(r#"{SANDBOX},"trine.dev/cpus":"2""#);
    spared.pod.bundle(&spared.pod.id, &annotations, "");
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
    assert!(spared.dir.exists());
    assert!(spared.log().contains("no class of spares fits"));
}

#[test]
fn one_of_other_namespaces_is_left_alone_and_one_of_ours_is_taken() {
    let mut spared = Spared::new("elsewhere");
    let own = claim_of(&spared.pod).same_namespaces;
    fs::write(spared.dir.join("ready"), "mnt:[1]\npid:[1]\n").unwrap();
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
    assert!(spared.log().contains("no spare is ready"));
    assert!(spared.dir.exists(), "it was not even moved");
    assert!(spared.pod.delete(&spared.pod.id).status.success());
    fs::write(spared.dir.join("ready"), own.join("\n")).unwrap();
    assert_eq!(describe(&mut spared.start()).pid, spared.pid);
}

#[test]
fn what_containers_begin_with_is_what_start_began_with() {
    let mut spared = Spared::new("limits");
    let limited = "ulimit -c 4096; ulimit -n 1000; exec \"$@\"";
    let mut command = Command::new("sh");
    let start = spared.pod.prepared(&spared.pod.id, "start");
    command.args(["-c", limited, "sh"]).arg(start.get_program());
    command.args(start.get_args());
    for (name, value) in start.get_envs() {
        command.env(name, value.unwrap());
    }
    command.current_dir(start.get_current_dir().unwrap());
    let out = command.stdin(Stdio::null()).output().unwrap();
    spared.pod.address = address(&out);
    assert_eq!(describe(&mut spared.pod.connect()).pid, spared.pid);
    let limits = fs::read_to_string(spared.pod.pod_dir().join("limits")).unwrap();
    let line = |name| limits.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("Max open files").contains(" 1000 "), "{limits}");
    assert!(line("Max core file size").contains(" 2097152 "), "{limits}");
}

#[test]
fn one_that_is_not_ready_is_left_alone() {
    let mut spared = Spared::new("unready");
    fs::remove_file(spared.dir.join("ready")).unwrap();
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
    assert!(spared.log().contains("no spare is ready"));
}

#[test]
fn a_spare_whose_machine_has_died_is_ended_and_the_pod_starts_without() {
    let mut spared = Spared::new("dead");
    let machine = describe(&mut spared.client()).children[0].pid;
    kill(i32::try_from(machine).unwrap());
    let mut watch = spared.client();
    eventually("the shim has seen it", || {
        (!describe(&mut watch).children[0].running).then_some(())
    });
    let mut client = spared.start();
    let facts = describe(&mut client);
    assert_ne!(facts.pid, spared.pid);
    assert!(facts.children.is_empty());
    assert!(
        spared.log().contains("child vmm has ended"),
        "{}",
        spared.log()
    );
    assert!(watch.next_request().is_none(), "the spare's shim has ended");
}

#[test]
fn a_dead_shim_is_no_spare() {
    let mut spared = Spared::new("gone");
    kill(i32::try_from(spared.pid).unwrap());
    let lock = fs::File::open(spared.dir.join("lock")).unwrap();
    eventually("its lock is free", || lock.try_lock().ok());
    lock.unlock().unwrap();
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
    assert!(spared.log().contains("no spare is ready"));
}

#[test]
fn of_two_starts_for_the_last_spare_one_gets_it_and_neither_fails() {
    for round in 0..5 {
        let spared = Spared::new(&format!("race{round}"));
        let ids = [spared.pod.id.clone(), "sandbox-b".to_owned()];
        spared.pod.bundle("sandbox-b", SANDBOX, "");
        let running = ids.each_ref().map(|id| {
            let mut command = spared.pod.prepared(id, "start");
            command.stdin(Stdio::null()).spawn().unwrap()
        });
        let pids = running.map(|child| {
            let address = address(&child.wait_with_output().unwrap());
            describe(&mut Client::new(Path::new(address_path(&address)))).pid
        });
        let with = pids.iter().filter(|pid| **pid == spared.pid).count();
        assert_eq!(with, 1, "{pids:?}");
        assert_ne!(pids[0], pids[1]);
        for id in ids {
            assert!(spared.pod.delete(&id).status.success());
        }
    }
}

#[test]
fn a_claim_that_died_before_it_told_the_shim_is_cleared_by_delete() {
    let mut spared = Spared::new("untold");
    fs::remove_file(spared.dir.join("ready")).unwrap();
    let pod_dir = spared.pod_dir();
    fs::rename(&spared.dir, &pod_dir).unwrap();
    let out = spared.pod.start(&spared.pod.id, &[]);
    assert!(!out.status.success(), "somebody has that pod in hand");
    assert!(spared.pod.delete(&spared.pod.id).status.success());
    assert!(!pod_dir.exists());
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
}

#[test]
fn a_claim_that_died_before_it_was_answered_is_cleared_by_delete() {
    let mut spared = Spared::new("unanswered");
    fs::remove_file(spared.dir.join("ready")).unwrap();
    let pod_dir = spared.pod_dir();
    fs::rename(&spared.dir, &pod_dir).unwrap();
    let mut half = Client::new(&pod_dir.join("shim.sock"));
    half.send(SHIM, "Claim", &claim_of(&spared.pod));
    drop(half);
    let mut client = Client::new(&pod_dir.join("shim.sock"));
    eventually("the claim is done", || {
        (describe(&mut client).sandbox_id == spared.pod.id).then_some(())
    });
    // Again, as a start that lost the answer might: it is this pod's already.
    client.shim::<()>("Claim", &claim_of(&spared.pod));
    assert!(spared.pod.delete(&spared.pod.id).status.success());
    assert!(!pod_dir.exists());
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
}

#[test]
fn other_namespaces_and_other_protocols_are_refused_and_change_nothing() {
    let mut spared = Spared::new("refuse");
    let mut client = spared.client();
    let elsewhere = shim::ClaimRequest {
        same_namespaces: vec!["mnt:[1]".into(), "pid:[1]".into()],
        ..claim_of(&spared.pod)
    };
    let newer = shim::ClaimRequest {
        protocol: 2,
        ..claim_of(&spared.pod)
    };
    for request in [elsewhere, newer] {
        client.call::<()>(SHIM, "Claim", &request).unwrap_err();
        assert_eq!(describe(&mut client).sandbox_id, "n1");
    }
    assert_eq!(describe(&mut spared.start()).pid, spared.pid);
}

#[test]
fn a_claim_that_fails_half_way_ends_the_spare_and_the_pod_fails_as_without() {
    let mut spared = Spared::new("halfway");
    let linux = r#""namespaces":[{"type":"network","path":"/run/trine-no-such-netns"}]"#;
    let group = format!("/trine-halfway-{}", std::process::id());
    let linux = format!(r#"{linux},"cgroupsPath":"{group}""#);
    spared.pod.bundle(&spared.pod.id, SANDBOX, &linux);
    let out = spared.pod.start(&spared.pod.id, &[]);
    assert!(!out.status.success());
    assert!(!spared.dir.exists());
    let groups = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut groups = groups.lines().filter(|line| line.contains(" - cgroup"));
    let left = groups
        .find(|line| Path::new(&format!("{}{group}", line.split(' ').nth(4).unwrap())).exists());
    assert_eq!(left, None, "what it had entered is gone with it");
    assert_eq!(
        fs::read_dir(spared.pod.state().join("pods"))
            .unwrap()
            .count(),
        0
    );
    spared.pod.bundle(&spared.pod.id, SANDBOX, "");
    assert_ne!(describe(&mut spared.start()).pid, spared.pid);
}

/// What holds the lock and answers as a shim that knows no Claim; its pid is a sleep's.
#[test]
fn an_older_shim_that_knows_no_claim_is_ended_and_the_pod_starts_without() {
    let mut spared = Spared::new("older");
    kill(i32::try_from(spared.pid).unwrap());
    fs::remove_dir_all(&spared.dir).unwrap();
    fs::create_dir(&spared.dir).unwrap();
    let mut holder = Command::new("flock")
        .args(["--no-fork"])
        .arg(spared.dir.join("lock"))
        .args(["sleep", "100"])
        .current_dir(&spared.dir)
        .spawn()
        .unwrap();
    let lock = spared.dir.join("lock");
    eventually("the lock is held", || {
        fs::File::open(&lock)
            .ok()?
            .try_lock()
            .is_err()
            .then_some(())
    });
    fs::write(&lock, holder.id().to_string()).unwrap();
    let listener = UnixListener::bind(spared.dir.join("shim.sock")).unwrap();
    fs::write(spared.dir.join("ready"), "").unwrap();
    let silent = std::thread::spawn(move || listener.accept().map(drop));
    let facts = describe(&mut spared.start());
    assert!(facts.children.is_empty() && facts.sandbox_id == spared.pod.id);
    assert!(spared.log().contains("the spare could not be used"));
    silent.join().unwrap().unwrap();
    assert!(!holder.wait().unwrap().success(), "it was killed");
}

#[test]
fn a_claim_that_fails_in_the_middle_of_its_groups_leaves_none_of_them() {
    let spared = Spared::new("groups");
    let parent = format!("/trine-groups-{}", std::process::id());
    // The name of a file that one of the hierarchies has in every group: there it cannot be entered.
    let group = format!("{parent}/pids.max");
    let linux = format!(r#""cgroupsPath":"{group}""#);
    spared.pod.bundle(&spared.pod.id, SANDBOX, &linux);
    let mut client = spared.client();
    client
        .call::<()>(SHIM, "Claim", &claim_of(&spared.pod))
        .unwrap_err();
    let lock = fs::File::open(spared.dir.join("lock")).unwrap();
    eventually("the spare's end", || lock.try_lock().ok());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let roots = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let roots: Vec<&str> = roots.filter_map(|line| line.split(' ').nth(4)).collect();
    let left = roots.iter().map(|root| format!("{root}{group}"));
    let left: Vec<String> = left.filter(|dir| Path::new(dir).is_dir()).collect();
    for dir in &left {
        let _ = fs::remove_dir(dir);
    }
    for root in roots {
        let above = format!("{root}{parent}");
        // The spare is in it until its very end.
        eventually("the end of the group above", || {
            let _ = fs::remove_dir(&above);
            (!Path::new(&above).exists()).then_some(())
        });
    }
    assert_eq!(left, [""; 0], "what it had entered is gone with it");
}
