//! start, delete, the task service and the relay to trined.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::time::Duration;

use harness::{NAMESPACE, Pod, SHIM, TASK, eventually, start_of};
use trine_wire::bootstrap::{BootstrapParams, Extension, RuntimeOptions};
use trine_wire::events::{TaskDelete, TaskExit};
use trine_wire::events_ttrpc::ForwardRequest;
use trine_wire::metrics::Metrics;
use trine_wire::{Any, Message, shim, task};

const NOT_FOUND: i32 = 5;
const DEADLINE_EXCEEDED: i32 = 4;
const FAILED_PRECONDITION: i32 = 9;

#[test]
fn start_prints_the_address_of_the_pods_one_shim() {
    let pod = Pod::started("start");
    assert_eq!(
        pod.address,
        format!("unix://{}/shim.sock", pod.pod_dir().display())
    );
    let saved = fs::read_to_string(pod.bundle_dir(&pod.id).join("address")).unwrap();
    assert_eq!(saved, pod.address);

    pod.container_bundle("ctr1");
    let params = BootstrapParams {
        instance_id: "ctr1".into(),
        namespace: NAMESPACE.into(),
        ..Default::default()
    };
    let out = pod.start("ctr1", &params.encode_to_vec());
    let json = format!(
        r#"{{"version":3,"address":"{}","protocol":"ttrpc"}}"#,
        pod.address
    );
    assert_eq!(String::from_utf8(out.stdout).unwrap(), json);
    assert!(out.stderr.is_empty());

    let again = pod.start(&pod.id, &[]);
    assert!(!again.status.success());
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("has a shim already")
    );
}

#[test]
fn a_container_whose_sandbox_has_no_shim_is_refused() {
    let pod = Pod::new("lonely");
    pod.container_bundle("ctr1");
    let out = pod.start("ctr1", &[]);
    assert!(!out.status.success() && out.stdout.is_empty());
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("has no shim")
    );
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let pod = Pod::new("badns");
    let linux = r#""namespaces":[{"type":"network","path":"/run/trine-no-such-netns"}]"#;
    pod.bundle(&pod.id, "", linux);
    let out = pod.start(&pod.id, &[]);
    assert!(!out.status.success());
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("trine-no-such-netns")
    );
    assert_eq!(fs::read_dir(pod.state().join("pods")).unwrap().count(), 0);
}

#[test]
fn the_state_directory_comes_from_the_runtime_options() {
    let mut pod = Pod::new("options");
    let elsewhere = pod.dir.join("state2");
    pod.bundle(&pod.id, "", "");
    let options = RuntimeOptions {
        type_url: String::new(),
        config_path: elsewhere.to_string_lossy().into_owned(),
    };
    let any = Any {
        type_url: "runtimeoptions.v1.Options".into(),
        value: options.encode_to_vec(),
    };
    let params = BootstrapParams {
        instance_id: pod.id.clone(),
        extensions: vec![Extension { value: Some(any) }],
        ..Default::default()
    };
    let out = pod.start(&pod.id, &params.encode_to_vec());
    assert!(out.status.success(), "{out:?}");
    assert!(elsewhere.join("pods").exists());
    // From here on as if it were the usual one, so that the pod is cleaned up.
    let _ = fs::remove_dir_all(pod.state());
    pod.address = fs::read_to_string(pod.bundle_dir(&pod.id).join("address")).unwrap();
    // delete is not told: the address file knows.
    assert!(pod.delete(&pod.id).status.success());
    assert_eq!(fs::read_dir(elsewhere.join("pods")).unwrap().count(), 0);
}

#[test]
fn a_task_lives_and_dies_and_the_shim_goes_with_the_last() {
    let pod = Pod::new("life");
    let events = pod.containerd();
    let pod = {
        let mut pod = pod;
        let id = pod.id.clone();
        pod.bundle(&id, r#""io.kubernetes.cri.container-type":"sandbox""#, "");
        let out = pod.start(&id, &[]);
        pod.address = String::from_utf8(out.stdout).unwrap();
        pod
    };
    let none = [const { String::new() }; 3];
    let (mut containerd, mut relay) = pod.running_task("ctr1", &none, false);
    let mut events = events.accept();
    let mut next_event = || {
        let relayed = events.serve("Forward", &shim::DescribeRequest {});
        ForwardRequest::decode(relayed.request.payload.as_slice())
            .unwrap()
            .envelope
            .unwrap()
    };
    assert_eq!(next_event().topic, "/tasks/create");
    assert_eq!(next_event().topic, "/tasks/start");

    let state = containerd.task_state("ctr1").unwrap();
    assert_eq!(state.status(), task::Status::Running);
    assert_eq!(state.pid, pod.pid() as u32);
    let wait = containerd.send_wait("ctr1");
    let kill = containerd.kill("ctr1", 15);
    let relayed = relay.serve("Kill", &shim::DescribeRequest {});
    assert_eq!(relayed.metadata["trine-sandbox"], pod.id);
    assert_eq!(relayed.metadata["trine-namespace"], NAMESPACE);
    assert_eq!(relayed.metadata["trine-protocol"], "1");
    assert_eq!(
        format!("unix://{}", relayed.metadata["trine-address"]),
        pod.address
    );
    containerd.answer::<()>(kill).unwrap();
    let delete = task::DeleteRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
    };
    let refused = containerd.call::<task::DeleteResponse>(TASK, "Delete", &delete);
    assert_eq!(refused.unwrap_err().code, FAILED_PRECONDITION);

    let mut trined = pod.connect();
    let end = shim::SetProcessRequest {
        id: "ctr1".into(),
        status: task::Status::Stopped as i32,
        exit_status: 3,
        ..Default::default()
    };
    trined.shim::<()>("SetProcess", &end);
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 3);
    let exit = next_event();
    assert_eq!(exit.topic, "/tasks/exit");
    let exit = TaskExit::decode(exit.event.unwrap().value.as_slice()).unwrap();
    assert_eq!((exit.id.as_str(), exit.exit_status), ("ctr1", 3));
    let dead = containerd.kill("ctr1", 9);
    assert_eq!(containerd.answer::<()>(dead).unwrap_err().code, NOT_FOUND);

    let deleted = containerd.send("containerd.task.v3.Task", "Delete", &delete);
    relay.serve("Delete", &task::DeleteResponse::default());
    let deleted: task::DeleteResponse = containerd.answer(deleted).unwrap();
    assert_eq!(
        (deleted.exit_status, deleted.exited_at),
        (3, waited.exited_at)
    );
    let event = next_event();
    assert_eq!(event.topic, "/tasks/delete");
    let event = TaskDelete::decode(event.event.unwrap().value.as_slice()).unwrap();
    assert_eq!(event.container_id, "ctr1");
    assert_eq!(containerd.task_state("ctr1").unwrap_err().code, NOT_FOUND);

    let lock = pod.pod_dir();
    containerd.task::<()>("Shutdown", &task::ShutdownRequest::default());
    eventually("the end of the shim", || (!lock.exists()).then_some(()));
    assert!(containerd.frame().is_none());
}

#[test]
fn a_journaled_call_survives_trined_and_is_answered_once() {
    let pod = Pod::started("journal");
    let trined = pod.trined();
    let mut containerd = pod.connect();
    let request = task::CreateTaskRequest {
        id: "ctr1".into(),
        ..Default::default()
    };
    let create = containerd.send(TASK, "Create", &request);
    let mut first = trined.accept();
    let asked = first.request();
    // Killed before it answers; the socket stays away for a while.
    drop(first);
    drop(trined);
    assert_eq!(
        containerd.task_state("ctr1").unwrap().status(),
        task::Status::Created
    );
    assert!(containerd.is_unanswered(create));

    let trined = pod.trined();
    let mut second = trined.accept();
    let again = second.request();
    assert_eq!(again.id(), asked.id());
    assert_eq!(again.request.payload, asked.request.payload);
    second.respond(again.stream, &task::CreateTaskResponse { pid: 42 });
    second.respond(again.stream, &task::CreateTaskResponse { pid: 43 });
    let created: task::CreateTaskResponse = containerd.answer(create).unwrap();
    assert_eq!(created.pid, 42);

    // Nothing is sent a third time, and new calls have new ids.
    let start = containerd.send(TASK, "Start", &start_of("ctr1"));
    let started = second.serve("Start", &task::StartResponse { pid: 0 });
    assert_ne!(started.id(), asked.id());
    assert_eq!(
        containerd.answer::<task::StartResponse>(start).unwrap().pid,
        42
    );
}

#[test]
fn a_deadline_that_passes_is_answered_and_the_late_result_dropped() {
    let pod = Pod::started("deadline");
    let mut containerd = pod.connect();
    let request = task::CreateTaskRequest {
        id: "ctr1".into(),
        ..Default::default()
    };
    let short = Duration::from_millis(100);
    let create = containerd.send_within(TASK, "Create", &request, short);
    let failed = containerd
        .answer::<task::CreateTaskResponse>(create)
        .unwrap_err();
    assert_eq!(failed.code, DEADLINE_EXCEEDED);
    // trined never heard of it: it has not happened.
    assert_eq!(containerd.task_state("ctr1").unwrap_err().code, NOT_FOUND);

    let trined = pod.trined();
    let create = containerd.send_within(TASK, "Create", &request, Duration::from_millis(1500));
    let mut relay = trined.accept();
    let late = relay.request();
    assert!(late.request.timeout_nano > 0);
    assert_eq!(
        containerd.answer::<()>(create).unwrap_err().code,
        DEADLINE_EXCEEDED
    );
    relay.respond(late.stream, &task::CreateTaskResponse { pid: 1 });
    // trined may have begun: it is told to delete what there may be.
    let request = task::DeleteRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
    };
    let delete = containerd.send(TASK, "Delete", &request);
    assert_eq!(relay.request().request.method, "Delete");
    assert!(containerd.is_unanswered(delete));
}

#[test]
fn malformed_frames_close_only_their_own_connection() {
    let pod = Pod::started("malformed");
    let mut good = pod.connect();
    for bytes in [[0xff; 64], [0x7f; 64]] {
        let mut bad = pod.connect();
        bad.write_raw(&bytes);
        assert!(bad.frame().is_none());
    }
    let mut odd = pod.connect();
    odd.write_frame(1, 1, b"\xff\xff\xff\xff");
    assert!(odd.answer::<()>(1).is_err());
    odd.write_frame(2, 1, b"");
    assert!(odd.answer::<()>(2).is_err());
    odd.write_frame(3, 77, b"whatever");
    assert!(
        odd.call::<()>("no.such.Service", "X", &start_of("x"))
            .is_err()
    );
    assert!(odd.call::<()>(SHIM, "NoSuchCall", &start_of("x")).is_err());
    good.shim::<shim::DescribeResponse>("Describe", &shim::DescribeRequest {});
}

#[test]
fn stats_are_never_empty_with_or_without_trined() {
    let pod = Pod::started("stats");
    let none = [const { String::new() }; 3];
    let (mut containerd, mut relay) = pod.running_task("ctr1", &none, false);
    let request = task::StatsRequest { id: "ctr1".into() };
    let stats = containerd.send(TASK, "Stats", &request);
    relay.serve("Stats", &task::StatsResponse::default());
    let first = containerd
        .answer::<task::StatsResponse>(stats)
        .unwrap()
        .stats
        .unwrap();
    let zero = Metrics::decode(first.value.as_slice()).unwrap();
    assert!(zero.cpu.is_some() && zero.memory.is_some() && zero.pids.is_some());

    let real = Any {
        type_url: "io.containerd.cgroups.v2.Metrics".into(),
        value: vec![0x0a, 2, 8, 7],
    };
    let stats = containerd.send(TASK, "Stats", &request);
    relay.serve(
        "Stats",
        &task::StatsResponse {
            stats: Some(real.clone()),
        },
    );
    assert_eq!(
        containerd
            .answer::<task::StatsResponse>(stats)
            .unwrap()
            .stats,
        Some(real.clone())
    );
    let stats = containerd.send(TASK, "Stats", &request);
    assert_eq!(relay.request().request.method, "Stats");
    drop(relay);
    assert_eq!(
        containerd
            .answer::<task::StatsResponse>(stats)
            .unwrap()
            .stats,
        Some(real)
    );
}

#[test]
fn the_sandbox_task_ends_by_its_signal_and_kill_is_answered_first() {
    let pod = Pod::started("sandbox");
    let none = [const { String::new() }; 3];
    let id = pod.id.clone();
    let (mut containerd, _relay) = pod.running_task(&id, &none, false);
    let wait = containerd.send_wait(&id);
    let kill = containerd.kill(&id, 9);
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 137);
    assert_eq!(containerd.order.last_chunk::<2>(), Some(&[kill, wait]));
}

#[test]
fn an_open_kill_is_answered_before_the_wait_it_caused() {
    let pod = Pod::started("killwait");
    let none = [const { String::new() }; 3];
    let (mut containerd, mut relay) = pod.running_task("ctr1", &none, false);
    let wait = containerd.send_wait("ctr1");
    let kill = containerd.kill("ctr1", 15);
    assert_eq!(relay.request().request.method, "Kill");
    let end = shim::SetProcessRequest {
        id: "ctr1".into(),
        status: task::Status::Stopped as i32,
        exit_status: 143,
        ..Default::default()
    };
    pod.connect().shim::<()>("SetProcess", &end);
    containerd.answer::<task::WaitResponse>(wait).unwrap();
    assert_eq!(containerd.order.last_chunk::<2>(), Some(&[kill, wait]));
}

#[test]
fn execs_are_known_by_their_own_id_and_end_with_their_task() {
    let pod = Pod::started("exec");
    let none = [const { String::new() }; 3];
    let (mut containerd, mut relay) = pod.running_task("ctr1", &none, false);
    let request = task::ExecProcessRequest {
        id: "ctr1".into(),
        exec_id: "e1".into(),
        stdout: pod.fifo("out"),
        ..Default::default()
    };
    let exec = containerd.send(TASK, "Exec", &request);
    relay.serve("Exec", &shim::DescribeRequest {});
    containerd.answer::<()>(exec).unwrap();
    // Wait may come before Start.
    let wait = task::WaitRequest {
        id: "ctr1".into(),
        exec_id: "e1".into(),
    };
    let wait = containerd.send(TASK, "Wait", &wait);
    let end = shim::SetProcessRequest {
        id: "ctr1".into(),
        status: task::Status::Stopped as i32,
        ..Default::default()
    };
    let mut reader = harness::fifo_reader(&request.stdout);
    let mut trined = pod.connect();
    let write = shim::WriteStdioRequest {
        id: "ctr1".into(),
        exec_id: "e1".into(),
        data: b"output".to_vec(),
        ..Default::default()
    };
    for _ in 0..2 {
        let written: shim::WriteStdioResponse = trined.shim("WriteStdio", &write);
        assert_eq!(written.offset, 6);
    }
    trined.shim::<()>("SetProcess", &end);
    assert_eq!(
        containerd
            .answer::<task::WaitResponse>(wait)
            .unwrap()
            .exit_status,
        137
    );
    assert_eq!(harness::read_to_end(&mut reader), b"output");
}

#[test]
fn delete_cleans_up_after_a_killed_shim_and_again() {
    let pod = Pod::started("crash");
    pod.container_bundle("ctr1");
    let dir = pod.pod_dir();
    // A container's delete leaves the pod alone.
    let out = pod.delete("ctr1");
    assert!(
        out.status.success() && dir.join("shim.sock").exists(),
        "{out:?}"
    );

    // SAFETY: takes no pointers; the pid is our shim's.
    unsafe { libc::kill(pod.pid(), libc::SIGKILL) };
    for _ in 0..2 {
        let out = pod.delete(&pod.id);
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        let response = task::DeleteResponse::decode(out.stdout.as_slice()).unwrap();
        assert_eq!(response.exit_status, 137);
        assert!(response.exited_at.is_some());
        assert!(!dir.exists());
    }
}

#[test]
fn delete_ends_a_shim_that_nobody_shut_down() {
    let pod = Pod::started("stuck");
    let dir = pod.pod_dir();
    let mut client = pod.connect();
    let out = pod.delete(&pod.id);
    assert!(out.status.success(), "{out:?}");
    assert!(!dir.exists());
    assert!(client.frame().is_none());
}

#[test]
fn the_shim_has_namespaces_of_its_own_and_is_small() {
    let pod = Pod::started("place");
    let pid = pod.pid();
    let link = |who: &str, what: &str| fs::read_link(format!("/proc/{who}/ns/{what}")).unwrap();
    for what in ["net", "ipc", "uts"] {
        assert_ne!(link(&pid.to_string(), what), link("self", what), "{what}");
    }
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert_eq!(tasks, 1);
    let mut fds: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| fs::read_link(path).unwrap().to_string_lossy().into_owned())
        .filter(|target| !target.contains("anon_inode"))
        .collect();
    fds.sort();
    // stdio, listener, lock and log: nothing leaked in.
    assert_eq!(fds.len(), 6, "{fds:?}");
}
