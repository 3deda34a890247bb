//! Tasks handed over to a nested shim: one that the test plays, and the node's own containerd-shim-runc-v2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Client, Pod, TASK, Trined, eventually, fifo_reader, read_to_end, start_of};
use trine_wire::{Any, Message, shim, task, ttrpc};

const RUNC_SHIM: &str = "/usr/bin/containerd-shim-runc-v2";
const BUSYBOX: &str = "/usr/bin/busybox";
const UNAVAILABLE: i32 = 14;
const FAILED_PRECONDITION: i32 = 9;
const DEADLINE_EXCEEDED: i32 = 4;

/// A pod whose container `c1` is nested in `program`; containerd's connection and the Create's stream.
struct Nesting {
    pod: Pod,
    containerd: Client,
    trined: Client,
    create: u32,
    request: task::CreateTaskRequest,
}

/// Of the tests that runc does not see.
const C1: &str = "c1";

fn nest(pod: Pod, id: &str, program: &Path, stdio: [String; 3], terminal: bool) -> Nesting {
    let trined = pod.trined();
    let mut containerd = pod.connect();
    let [stdin, stdout, stderr] = stdio;
    let request = task::CreateTaskRequest {
        id: id.to_owned(),
        bundle: pod.bundle_dir(id).to_string_lossy().into_owned(),
        terminal,
        stdin,
        stdout,
        stderr,
        options: Some(Any {
            type_url: "runtimeoptions.v1.Options".to_owned(),
            value: b"\x0a\x03abc".to_vec(),
        }),
        ..Default::default()
    };
    let create = containerd.send(TASK, "Create", &request);
    let mut relay = trined.accept();
    assert_eq!(relay.request().request.method, "Create");
    let mut trined = pod.connect();
    for _ in 0..2 {
        trined.shim::<()>("Nest", &nest_request(&pod, id, program));
    }
    // What it says of the Create now is nobody's business any more.
    drop(relay);
    Nesting {
        pod,
        containerd,
        trined,
        create,
        request,
    }
}

fn nest_request(pod: &Pod, id: &str, program: &Path) -> shim::NestRequest {
    shim::NestRequest {
        id: id.to_owned(),
        program: program.to_string_lossy().into_owned(),
        containerd: "/none".to_owned(),
        log_path: pod.dir.join("nested.log").to_string_lossy().into_owned(),
        runc_options: vec![9 << 3, 0],
    }
}

/// A program that does nothing; the test takes its listening socket and answers in its place. Its `delete` leaves a
/// file in the bundle.
fn played(pod: &Pod) -> PathBuf {
    let path = pod.dir.join("played");
    // Written by another process: what a program started meanwhile inherits must not be its writer.
    let text = "#!/bin/sh\n[ \"$7\" = delete ] || exec sleep 1000\n: > cleared\n";
    let script = "printf %s \"$1\" > \"$2\" && chmod 700 \"$2\"";
    run("sh", &["-c", script, "sh", text, &path.to_string_lossy()]);
    path
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

fn nested_pid(trined: &mut Client) -> i32 {
    let facts: shim::DescribeResponse = trined.shim("Describe", &shim::DescribeRequest {});
    let child = facts.children.iter().find(|c| c.key == "nested").unwrap();
    assert!(child.running);
    child.pid as i32
}

fn listener_of(pid: i32) -> Trined {
    // SAFETY: takes no pointers; each result is checked before it is owned.
    let fd = unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32;
        assert!(pidfd >= 0);
        let pidfd = OwnedFd::from_raw_fd(pidfd);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), 3, 0) as i32;
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    Trined::of(UnixListener::from(fd))
}

fn exec_of(exec_id: &str) -> task::ExecProcessRequest {
    task::ExecProcessRequest {
        id: C1.to_owned(),
        exec_id: exec_id.to_owned(),
        ..Default::default()
    }
}

fn delete_of(id: &str, exec_id: &str) -> task::DeleteRequest {
    task::DeleteRequest {
        id: id.to_owned(),
        exec_id: exec_id.to_owned(),
    }
}

fn exited(exit_status: u32) -> task::WaitResponse {
    task::WaitResponse {
        exit_status,
        exited_at: None,
    }
}

#[test]
fn calls_go_to_the_nested_shim_and_its_answers_to_containerd() {
    let pod = Pod::started("played");
    pod.container_bundle(C1);
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let mut nested = listener_of(nested_pid(&mut one.trined)).accept();

    // containerd 2's shim does not know the old service.
    let create = nested.request();
    assert_eq!(create.request.service, "containerd.task.v2.Task");
    assert_eq!(
        create.metadata["containerd-namespace-ttrpc"],
        harness::NAMESPACE
    );
    nested.refuse(create.stream, 12, "service not found");
    let create = nested.serve("Create", &task::CreateTaskResponse { pid: 4711 });
    assert_eq!(create.request.service, "containerd.task.v3.Task");
    let got = task::CreateTaskRequest::decode(create.request.payload.as_slice()).unwrap();
    assert_eq!((got.id.as_str(), &got.bundle), (C1, &one.request.bundle));
    let options = got.options.unwrap();
    assert_eq!(options.type_url, "containerd.runc.v1.Options");
    assert_eq!(options.value, [9 << 3, 0]);
    let created: task::CreateTaskResponse = one.containerd.answer(one.create).unwrap();
    assert_eq!(created.pid, 4711);
    let own_wait = nested.request();
    assert_eq!(own_wait.request.method, "Wait");

    let start = one.containerd.send(TASK, "Start", &start_of(C1));
    nested.serve("Start", &task::StartResponse { pid: 4711 });
    one.containerd.answer::<task::StartResponse>(start).unwrap();
    let wait = one.containerd.send_wait(C1);
    let exec = one.containerd.send(TASK, "Exec", &exec_of("e1"));
    nested.serve("Exec", &());
    one.containerd.answer::<()>(exec).unwrap();
    let exec_wait = nested.request();
    let asked = task::WaitRequest::decode(exec_wait.request.payload.as_slice()).unwrap();
    assert_eq!(asked.exec_id, "e1");
    for method in [
        "Pause",
        "Resume",
        "Update",
        "ResizePty",
        "CloseIO",
        "Stats",
        "Pids",
    ] {
        let call = one
            .containerd
            .send(TASK, method, &task::PauseRequest { id: C1.to_owned() });
        let forwarded = nested.request();
        assert_eq!(forwarded.request.method, method);
        nested.refuse(forwarded.stream, FAILED_PRECONDITION, method);
        match one.containerd.answer::<()>(call) {
            // Never an error: it hides the pod from the whole list, or has it thrown away.
            Ok(()) => assert!(["Stats", "Pids"].contains(&method)),
            Err(status) => assert_eq!((status.code, status.message.as_str()), (9, method)),
        }
    }
    // An exec that never starts goes with its Delete, and so does what waits for it.
    let delete = one.containerd.send(TASK, "Delete", &delete_of(C1, "e1"));
    nested.serve("Delete", &task::DeleteResponse::default());
    one.containerd
        .answer::<task::DeleteResponse>(delete)
        .unwrap();
    nested.respond(exec_wait.stream, &exited(3));

    // The end is told before the Kill is answered: containerd has both, the Kill first.
    let kill = one.containerd.kill(C1, 15);
    assert_eq!(nested.request().request.method, "Kill");
    nested.respond(own_wait.stream, &exited(42));
    let ended: task::WaitResponse = one.containerd.answer(wait).unwrap();
    assert_eq!(ended.exit_status, 42);
    one.containerd.answer::<()>(kill).unwrap();
    let delete = one.containerd.send(TASK, "Delete", &delete_of(C1, ""));
    nested.serve("Delete", &task::DeleteResponse::default());
    let deleted: task::DeleteResponse = one.containerd.answer(delete).unwrap();
    assert_eq!(deleted.exit_status, 42);
    assert!(one.containerd.task_state(C1).is_err());
}

#[test]
fn a_nested_shim_that_dies_answers_all_that_waited_for_it() {
    let pod = Pod::started("dies");
    pod.container_bundle(C1);
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let pid = nested_pid(&mut one.trined);
    let mut nested = listener_of(pid).accept();
    nested.serve("Create", &task::CreateTaskResponse { pid: 4711 });
    one.containerd
        .answer::<task::CreateTaskResponse>(one.create)
        .unwrap();
    let start = one.containerd.send(TASK, "Start", &start_of(C1));
    let wait = one.containerd.send_wait(C1);
    assert_eq!(nested.request().request.method, "Wait");
    assert_eq!(nested.request().request.method, "Start");
    // SAFETY: takes no pointers; it is a child of the pod's shim.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let refused = one
        .containerd
        .answer::<task::StartResponse>(start)
        .unwrap_err();
    assert_eq!(refused.code, UNAVAILABLE);
    let ended: task::WaitResponse = one.containerd.answer(wait).unwrap();
    assert_eq!(ended.exit_status, 137);
    let delete = one.containerd.send(TASK, "Delete", &delete_of(C1, ""));
    let deleted: task::DeleteResponse = one.containerd.answer(delete).unwrap();
    assert_eq!(deleted.exit_status, 137);
    // The pod itself lives.
    assert!(
        one.trined
            .call::<shim::DescribeResponse>(harness::SHIM, "Describe", &shim::DescribeRequest {})
            .is_ok()
    );
}

#[test]
fn a_nested_shim_that_hangs_keeps_no_caller_and_its_late_answers_count() {
    let pod = Pod::started("hangs");
    pod.container_bundle(C1);
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let mut nested = listener_of(nested_pid(&mut one.trined)).accept();
    nested.serve("Create", &task::CreateTaskResponse { pid: 4711 });
    one.containerd
        .answer::<task::CreateTaskResponse>(one.create)
        .unwrap();
    assert_eq!(nested.request().request.method, "Wait");
    // Without a deadline of its caller's.
    let id = C1.to_owned();
    let stats = one
        .containerd
        .send(TASK, "Stats", &task::StatsRequest { id });
    assert_eq!(nested.request().request.method, "Stats");
    one.containerd.answer::<task::StatsResponse>(stats).unwrap();

    let limit = Duration::from_millis(50);
    let start = one
        .containerd
        .send_within(TASK, "Start", &start_of(C1), limit);
    let late = nested.request();
    assert_eq!(late.request.method, "Start");
    let refused = one
        .containerd
        .answer::<task::StartResponse>(start)
        .unwrap_err();
    assert_eq!(refused.code, DEADLINE_EXCEEDED);
    assert!(refused.message.contains("nested shim"), "{refused:?}");
    nested.respond(late.stream, &task::StartResponse { pid: 4711 });
    eventually("the task runs", || {
        let state = one.containerd.task_state(C1).unwrap();
        (state.status == task::Status::Running as i32).then_some(())
    });
}

#[test]
fn what_a_nested_shim_had_half_made_is_cleared_before_its_create_fails() {
    let pod = Pod::started("half-made");
    let bundle = pod.container_bundle(C1);
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let pid = nested_pid(&mut one.trined);
    let mut nested = listener_of(pid).accept();
    assert_eq!(nested.request().request.method, "Create");
    // SAFETY: takes no pointers; it is a child of the pod's shim.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let refused = one
        .containerd
        .answer::<task::CreateTaskResponse>(one.create)
        .unwrap_err();
    assert_eq!(refused.code, UNAVAILABLE);
    assert!(bundle.join("cleared").exists());
    assert!(one.containerd.task_state(C1).is_err());
}

#[test]
fn two_creates_at_once_both_come_to_a_newer_shims_service() {
    let pod = Pod::started("both");
    let other = "c2";
    for id in [C1, other] {
        pod.container_bundle(id);
    }
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let request = task::CreateTaskRequest {
        id: other.to_owned(),
        bundle: one.pod.bundle_dir(other).to_string_lossy().into_owned(),
        ..Default::default()
    };
    let second = one.containerd.send(TASK, "Create", &request);
    let also = nest_request(&one.pod, other, &program);
    eventually("the Create to nest", || {
        one.trined.call::<()>(harness::SHIM, "Nest", &also).ok()
    });
    let mut nested = listener_of(nested_pid(&mut one.trined)).accept();
    let creates = [nested.request(), nested.request()];
    for create in creates {
        assert_eq!(create.request.service, "containerd.task.v2.Task");
        nested.refuse(create.stream, 12, "service not found");
    }
    let mut made = 0;
    while made < 2 {
        let again = nested.request();
        assert_eq!(again.request.service, "containerd.task.v3.Task");
        if again.request.method == "Create" {
            nested.respond(again.stream, &task::CreateTaskResponse { pid: 4711 });
            made += 1;
        }
    }
    for create in [one.create, second] {
        one.containerd
            .answer::<task::CreateTaskResponse>(create)
            .unwrap();
    }
}

#[test]
fn a_nested_shim_that_cannot_be_asked_when_a_task_ends_is_lost() {
    let pod = Pod::started("unasked");
    pod.container_bundle(C1);
    let program = played(&pod);
    let mut one = nest(pod, C1, &program, Default::default(), false);
    let mut nested = listener_of(nested_pid(&mut one.trined)).accept();
    let create = nested.request();
    assert_eq!(create.request.method, "Create");
    let wait = one.containerd.send_wait(C1);
    // It reads no more, though it lives and answers.
    nested.stop_reading();
    nested.respond(create.stream, &task::CreateTaskResponse { pid: 4711 });
    let ended: task::WaitResponse = one.containerd.answer(wait).unwrap();
    assert_eq!(ended.exit_status, 137);
}

#[test]
fn a_create_that_no_longer_waits_is_not_nested() {
    let pod = Pod::started("late");
    pod.container_bundle(C1);
    let (_containerd, _relay) = pod.running_task(C1, &Default::default(), false);
    let mut trined = pod.connect();
    let request = nest_request(&pod, C1, Path::new("/bin/true"));
    let refused: ttrpc::Status = trined
        .call::<()>(harness::SHIM, "Nest", &request)
        .unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION);
    assert!(!pod.pod_dir().join("nested").exists());
}

/// A bundle that runc takes: busybox, in namespaces of its own.
fn runc_bundle(pod: &Pod, id: &str, script: &str) {
    let bundle = pod.container_bundle(id);
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(bundle.join("rootfs/proc")).unwrap();
    run("cp", &[BUSYBOX, &bin.to_string_lossy()]);
    let spec = format!(
        r#"{{"ociVersion":"1.0.2","root":{{"path":"rootfs"}},
        "process":{{"user":{{"uid":0,"gid":0}},"cwd":"/","args":["/bin/busybox","sh","-c",{script:?}]}},
        "mounts":[{{"destination":"/proc","type":"proc","source":"proc"}}],
        "annotations":{{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"{}"}},
        "linux":{{"cgroupsPath":"/trine-shim-test-{id}",
        "namespaces":[{{"type":"pid"}},{{"type":"mount"}},{{"type":"ipc","path":"/proc/{}/ns/ipc"}}]}}}}"#,
        pod.id,
        pod.pid()
    );
    fs::write(bundle.join("config.json"), spec).unwrap();
}

fn running_runc(name: &str, script: &str) -> (Nesting, fs::File, String, u32) {
    let pod = Pod::started(name);
    // runc knows them all by their ids.
    let id = format!("{name}-{}", std::process::id());
    runc_bundle(&pod, &id, script);
    let stdout = pod.fifo("stdout");
    let reader = fifo_reader(&stdout);
    let stdio = [String::new(), stdout, pod.fifo("stderr")];
    let mut one = nest(pod, &id, Path::new(RUNC_SHIM), stdio, false);
    let created: task::CreateTaskResponse = one
        .containerd
        .answer(one.create)
        .unwrap_or_else(|status| panic!("{status:?}: {}", log_of(&one.pod)));
    let started: task::StartResponse = one.containerd.task("Start", &start_of(&id));
    assert_eq!(started.pid, created.pid);
    (one, reader, id, started.pid)
}

fn log_of(pod: &Pod) -> String {
    fs::read_to_string(pod.dir.join("nested.log")).unwrap_or_default()
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_nodes_own_runc_shim_runs_a_container_to_its_end() {
    let (mut one, mut stdout, id, pid) = running_runc("runc", "echo hello from runc; exit 7");
    let wait = one.containerd.send_wait(&id);
    let ended: task::WaitResponse = one.containerd.answer(wait).unwrap();
    assert_eq!(ended.exit_status, 7);
    assert!(ended.exited_at.is_some());
    assert_eq!(read_to_end(&mut stdout), b"hello from runc\n");
    let deleted: task::DeleteResponse = one.containerd.task("Delete", &delete_of(&id, ""));
    assert_eq!((deleted.exit_status, deleted.pid), (7, pid));
}

#[test]
fn a_container_of_a_dead_nested_shim_ends_and_leaves_nothing() {
    let (mut one, _stdout, id, pid) = running_runc("runc-dies", "while :; do sleep 1; done");
    let stats: task::StatsResponse = one
        .containerd
        .task("Stats", &task::StatsRequest { id: id.clone() });
    assert!(!stats.stats.unwrap().value.is_empty());
    let wait = one.containerd.send_wait(&id);
    let nested = nested_pid(&mut one.trined);
    // SAFETY: takes no pointers; it is a child of the pod's shim.
    unsafe { libc::kill(nested, libc::SIGKILL) };
    let ended: task::WaitResponse = one.containerd.answer(wait).unwrap();
    assert_eq!(ended.exit_status, 137);
    eventually("the container's end", || (!is_alive(pid)).then_some(()));
    one.containerd
        .task::<task::DeleteResponse>("Delete", &delete_of(&id, ""));
    assert!(!Path::new("/run/containerd/runc/test").join(&id).exists());
}

#[test]
fn delete_clears_the_container_of_a_pod_that_lost_both_its_shims() {
    let (one, _stdout, id, pid) = running_runc("runc-lost", "while :; do sleep 1; done");
    // SAFETY: takes no pointers; the lock says that it is our shim's.
    unsafe { libc::kill(one.pod.pid(), libc::SIGKILL) };
    assert!(is_alive(pid));
    let out = one.pod.delete(&id);
    assert!(out.status.success(), "{out:?}");
    let response = task::DeleteResponse::decode(out.stdout.as_slice()).unwrap();
    assert_eq!(response.exit_status, 137);
    eventually("the container's end", || (!is_alive(pid)).then_some(()));
    // Again: nothing is left to do.
    assert!(one.pod.delete(&id).status.success());
    assert!(one.pod.delete(&one.pod.id).status.success());
    assert_eq!(
        fs::read_dir(one.pod.state().join("pods")).unwrap().count(),
        0
    );
}
