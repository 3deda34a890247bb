//! Callers other than containerd's CRI, each as it calls: CRI-O, dockerd, nerdctl. None of them runs here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use harness::{Client, Pod, TASK, eventually, start_of};
use trine_wire::{shim, task};

/// Where `start` writes both of its outputs, and how it is called.
fn start(pod: &Pod, id: &str, words: &[&str], ttrpc: &str) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_containerd-shim-trine-v2"))
        .args(words)
        .args(["-id", id, "start"])
        .current_dir(pod.bundle_dir(id))
        .env("TRINE_STATE", pod.state())
        .env("TTRPC_ADDRESS", ttrpc)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

fn cri_o_start(pod: &Pod, id: &str) -> String {
    let words = [
        "-namespace",
        "default",
        "-address",
        "",
        "-publish-binary",
        "/usr/bin/crio",
    ];
    start(pod, id, &words, "")
}

/// As CRI-O's annotations say it; its own words in config.json.
fn cri_o_bundle(pod: &Pod, id: &str, kind: &str) {
    let annotations = format!(
        r#""io.kubernetes.cri-o.ContainerType":"{kind}","io.kubernetes.cri-o.SandboxID":"{}""#,
        pod.id
    );
    pod.bundle(id, &annotations, "");
}

#[test]
fn cri_o_starts_each_container_reads_plain_addresses_and_comes_back_by_the_bundles_file() {
    let mut pod = Pod::new("crio");
    let sandbox = pod.id.clone();
    cri_o_bundle(&pod, &sandbox, "sandbox");
    // Both outputs are the answer: not a byte but the address.
    pod.address = cri_o_start(&pod, &sandbox);
    assert_eq!(
        pod.address,
        format!("unix://{}/shim.sock", pod.pod_dir().display())
    );
    cri_o_bundle(&pod, "ctr1", "container");
    assert_eq!(cri_o_start(&pod, "ctr1"), pod.address);

    // Its root is mounted in the bundle already, and nobody takes events.
    let (stdout, stderr) = (pod.fifo("out"), pod.fifo("err"));
    let stdio = [String::new(), stdout.clone(), stderr.clone()];
    let (cri_o, mut relay) = pod.running_task("ctr1", &stdio, false);
    drop(cri_o);

    // crio is started anew: it knows the container by this file and asks what it needs to go on.
    let saved = fs::read_to_string(pod.bundle_dir("ctr1").join("address")).unwrap();
    assert_eq!(saved, pod.address);
    let mut cri_o = pod.connect();
    let state = cri_o.task_state("ctr1").unwrap();
    assert_eq!(state.status(), task::Status::Running);
    assert_eq!((state.stdout, state.stderr), (stdout, stderr));
    assert!(!state.terminal);

    let wait = cri_o.send_wait("ctr1");
    let kill = cri_o.kill("ctr1", 9);
    relay.serve("Kill", &shim::DescribeRequest {});
    cri_o.answer::<()>(kill).unwrap();
    let end = shim::SetProcessRequest {
        id: "ctr1".into(),
        status: task::Status::Stopped as i32,
        exit_status: 137,
        ..Default::default()
    };
    pod.connect().shim::<()>("SetProcess", &end);
    let waited: task::WaitResponse = cri_o.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 137);

    // Delete, then Shutdown; it calls no `delete` binary.
    let delete = cri_o.send(
        TASK,
        "Delete",
        &task::DeleteRequest {
            id: "ctr1".into(),
            exec_id: String::new(),
        },
    );
    relay.serve("Delete", &task::DeleteResponse::default());
    cri_o.answer::<task::DeleteResponse>(delete).unwrap();
    let directory = pod.pod_dir();
    cri_o.task::<()>("Shutdown", &task::ShutdownRequest::default());
    eventually("the end of the shim", || {
        (!directory.exists()).then_some(())
    });
}

/// A container that is its own pod, in a network namespace that has no path yet.
fn alone(name: &str, namespace: &str) -> (Pod, Client, u32) {
    let mut pod = Pod::new(name);
    let id = pod.id.clone();
    pod.bundle(&id, "", r#""namespaces":[{"type":"network"}]"#);
    let words = ["-namespace", namespace, "-address", "/run/containerd.sock"];
    pod.address = start(&pod, &id, &words, "");
    let trined = pod.trined();
    let mut caller = pod.connect();
    let create = caller.send(
        TASK,
        "Create",
        &task::CreateTaskRequest {
            id: id.clone(),
            bundle: pod.bundle_dir(&id).to_string_lossy().into_owned(),
            ..Default::default()
        },
    );
    let mut relay = trined.accept();
    let relayed = relay.serve("Create", &task::CreateTaskResponse { pid: 0 });
    assert_eq!(relayed.metadata["trine-namespace"], namespace);
    let created: task::CreateTaskResponse = caller.answer(create).unwrap();
    let started = caller.send(TASK, "Start", &start_of(&id));
    relay.serve("Start", &task::StartResponse { pid: 0 });
    caller.answer::<task::StartResponse>(started).unwrap();
    (pod, caller, created.pid)
}

fn network_of(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino()
}

#[test]
fn dockerd_finds_a_network_namespace_of_the_tasks_own_behind_its_process_id() {
    let (pod, _caller, pid) = alone("docker", "moby");
    assert_ne!(network_of(pid), network_of(std::process::id()));
    // What it puts there is in the namespace in which trined's programs run.
    let name = format!("tsd{}", std::process::id());
    let made = Command::new("ip")
        .args(["link", "add", "eth0", "netns", &pid.to_string()])
        .args(["type", "veth", "peer", "name", &name])
        .status();
    assert!(made.unwrap().success());
    let argv = ["ip", "-o", "link", "show"].map(str::to_owned).to_vec();
    let seen: shim::RunResponse = pod.connect().shim(
        "Run",
        &shim::RunRequest {
            argv,
            ..Default::default()
        },
    );
    // The pair goes with either end, and this one with the shim's namespace.
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.contains("eth0@"), "{seen}");
    assert!(seen.contains("LOOPBACK,UP"), "{seen}");
}
