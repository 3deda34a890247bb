//! Children, their channels and consoles, and the rest of trine.shim.v1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{
    Client, Pod, SHIM, channel, descriptor_of, eventually, fifo_reader, read_to_end, read_until,
    script,
};
use trine_wire::events_ttrpc::ForwardRequest;
use trine_wire::shim::channel::Kind;
use trine_wire::shim::event::What;
use trine_wire::{Message, shim, task};

const NOT_FOUND: i32 = 5;
const FAILED_PRECONDITION: i32 = 9;
const DEADLINE_EXCEEDED: i32 = 4;

fn no_stdio() -> [String; 3] {
    [const { String::new() }; 3]
}

fn console(pod: &Pod, number: u32, spool_bytes: u64) -> shim::Descriptor {
    channel(
        number,
        shim::Channel {
            name: "console".into(),
            kind: Kind::Console as i32,
            task_id: "ctr1".into(),
            spool_path: pod.dir.join("console.log").to_string_lossy().into_owned(),
            spool_bytes,
            attach_path: pod
                .pod_dir()
                .join("console.sock")
                .to_string_lossy()
                .into_owned(),
            ..Default::default()
        },
    )
}

fn held(number: u32, name: &str) -> shim::Descriptor {
    channel(
        number,
        shim::Channel {
            name: name.into(),
            ..Default::default()
        },
    )
}

fn events(client: &mut Client, after: u64, wait_ms: u32) -> shim::EventsResponse {
    client.shim("Events", &shim::EventsRequest { after, wait_ms })
}

/// The end of child `key`, from the event log.
fn child_end(client: &mut Client, key: &str) -> shim::Child {
    let mut after = 0;
    eventually("the child's end", || {
        let found = events(client, after, 1000);
        after = found.events.last().map_or(after, |event| event.seq);
        found.events.into_iter().find_map(|event| match event.what {
            Some(What::ChildExited(child)) if child.key == key => Some(child),
            _ => None,
        })
    })
}

#[test]
fn a_task_ends_with_its_child_after_its_last_console_byte() {
    let pod = Pod::started("console");
    let stdio = [String::new(), pod.fifo("out"), pod.fifo("err")];
    let mut reader = fifo_reader(&stdio[1]);
    let mut errors = fifo_reader(&stdio[2]);
    let (mut containerd, _relay) = pod.running_task("ctr1", &stdio, false);
    let mut trined = pod.connect();
    let mut request = script("vmm", "ctr1", "seq 1 2000; echo last words; exit 7");
    request.descriptors = vec![console(&pod, 1, 0)];
    let wait = containerd.send_wait("ctr1");
    let spawned: shim::SpawnResponse = trined.shim("Spawn", &request);
    assert!(!spawned.already);
    // Wait does not wait for the reader.
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 7);
    let again: shim::SpawnResponse = trined.shim("Spawn", &request);
    assert!(again.already && again.pid == spawned.pid);

    let expected: String =
        (1..=2000).map(|n| format!("{n}\n")).collect::<String>() + "last words\n";
    assert_eq!(
        String::from_utf8(read_to_end(&mut reader)).unwrap(),
        expected
    );
    assert!(read_to_end(&mut errors).is_empty());
    assert_eq!(
        fs::read_to_string(pod.dir.join("console.log")).unwrap(),
        expected
    );
    let end = child_end(&mut trined, "vmm");
    assert_eq!(
        (end.exit_code, end.exit_status, end.task_id.as_str()),
        (7, 7, "ctr1")
    );
    trined.shim::<()>("Reap", &shim::ReapRequest { key: "vmm".into() });
    trined.shim::<()>("Reap", &shim::ReapRequest { key: "vmm".into() });
}

#[test]
fn the_tail_waits_for_a_containerd_that_is_away() {
    let pod = Pod::started("away");
    let stdio = [String::new(), pod.fifo("out"), String::new()];
    let reader = fifo_reader(&stdio[1]);
    let (containerd, _relay) = pod.running_task("ctr1", &stdio, false);
    drop(reader);
    drop(containerd);
    let mut trined = pod.connect();
    // More than a pipe holds.
    let mut request = script("vmm", "ctr1", "seq 1 50000");
    request.descriptors = vec![console(&pod, 1, 0)];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    child_end(&mut trined, "vmm");
    let mut containerd = pod.connect();
    let state = containerd.task_state("ctr1").unwrap();
    assert_eq!(state.status(), task::Status::Stopped);
    let got = read_to_end(&mut fifo_reader(&stdio[1]));
    let expected: String = (1..=50000).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

#[test]
fn a_reader_that_stands_still_does_not_stall_the_guest_while_the_spool_has_room() {
    let pod = Pod::started("slow");
    let stdio = [String::new(), pod.fifo("out"), String::new()];
    let mut reader = fifo_reader(&stdio[1]);
    let (mut containerd, _relay) = pod.running_task("ctr1", &stdio, false);
    let mut trined = pod.connect();
    // 588 895 bytes: the spool of 256 KiB and its predecessor hold less.
    let mut request = script(
        "vmm",
        "ctr1",
        "seq 1 30000 >&1; echo half >&5; seq 30001 100000; exit 0",
    );
    request.descriptors = vec![console(&pod, 1, 256 << 10), held(5, "agent")];
    let wait = containerd.send_wait("ctr1");
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    let read = shim::ReadChannelRequest {
        name: "agent".into(),
        offset: 0,
        wait_ms: 10_000,
        max_bytes: 0,
        ..Default::default()
    };
    // The first half fits and the guest went on, though nobody has read a byte.
    let half: shim::ReadChannelResponse = trined.shim("ReadChannel", &read);
    assert_eq!(half.data, b"half\n");
    // Its end is told as well, and nothing is lost by that.
    containerd.answer::<task::WaitResponse>(wait).unwrap();
    let got = read_to_end(&mut reader);
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(String::from_utf8(got).unwrap() == expected);
    // The shim may be changing from one file to the next. What a machine that has ended left in its socket goes to
    // the file there is, however long: there may be no older one.
    eventually("the newest on disk", || {
        let older = fs::read(pod.dir.join("console.log.1")).unwrap_or_default();
        let newer = fs::read(pod.dir.join("console.log")).ok()?;
        let kept = [older, newer].concat();
        (kept.len() >= 256 << 10 && expected.as_bytes().ends_with(&kept)).then_some(())
    });
}

#[test]
fn stdin_and_attached_clients_reach_the_guest_and_see_its_output() {
    let pod = Pod::started("attach");
    let stdio = [pod.fifo("in"), pod.fifo("out"), String::new()];
    let mut reader = fifo_reader(&stdio[1]);
    let (mut containerd, _relay) = pod.running_task("ctr1", &stdio, true);
    let mut trined = pod.connect();
    let mut request = script(
        "vmm",
        "ctr1",
        "while read line; do echo \"got $line\"; done >&0",
    );
    request.descriptors = vec![console(&pod, 0, 0)];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);

    for word in ["one", "two"] {
        // The writer closes each time: a detach is no end of input.
        let mut stdin = fs::OpenOptions::new().write(true).open(&stdio[0]).unwrap();
        writeln!(stdin, "{word}").unwrap();
        drop(stdin);
        read_until(&mut reader, &format!("got {word}"));
    }
    let mut client = UnixStream::connect(pod.pod_dir().join("console.sock")).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let past = read_until(&mut client, "got two");
    assert!(past.contains("got one"));
    client.write_all(b"three\n").unwrap();
    read_until(&mut client, "got three");
    read_until(&mut reader, "got three");
    let close = task::CloseIoRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
        stdin: true,
    };
    containerd.task::<()>("CloseIO", &close);
    let resize = task::ResizePtyRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
        width: 133,
        height: 44,
    };
    containerd.task::<()>("ResizePty", &resize);
    let seen = events(&mut trined, 0, 5000).events;
    assert!(matches!(&seen[0].what, Some(What::Resize(r)) if (r.width, r.height) == (133, 44)));
}

#[test]
fn an_attached_client_that_lags_is_dropped() {
    let pod = Pod::started("lag");
    let (_containerd, _relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut trined = pod.connect();
    let mut request = script(
        "vmm",
        "ctr1",
        "read go; head -c 3000000 /dev/zero; read end <&3",
    );
    request.descriptors = vec![console(&pod, 1, 0), held(0, "go"), held(3, "end")];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    let mut client = UnixStream::connect(pod.pod_dir().join("console.sock")).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write(&mut trined, "go", 0, b"\n");
    let spool = pod.dir.join("console.log");
    eventually("the output", || {
        (fs::metadata(&spool).unwrap().len() == 3_000_000).then_some(())
    });
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all.len() < 3_000_000);
}

fn write(client: &mut Client, name: &str, offset: u64, data: &[u8]) -> u64 {
    let request = shim::WriteChannelRequest {
        name: name.into(),
        offset,
        data: data.to_vec(),
    };
    client
        .shim::<shim::WriteChannelResponse>("WriteChannel", &request)
        .offset
}

#[test]
fn a_held_channel_is_resumed_by_offset() {
    let pod = Pod::started("held");
    let mut trined = pod.connect();
    let mut request = script("helper", "", "cat >&0; exit 0");
    request.descriptors = vec![held(0, "agent")];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    assert_eq!(write(&mut trined, "agent", 0, b"hello "), 6);
    let read = |offset, wait_ms| shim::ReadChannelRequest {
        name: "agent".into(),
        offset,
        wait_ms,
        ..Default::default()
    };
    let got: shim::ReadChannelResponse = trined.shim("ReadChannel", &read(0, 5000));
    assert_eq!(got.data, b"hello ");

    // A new trined: it does not know how far the old one came.
    let mut next = pod.connect();
    assert_eq!(write(&mut next, "agent", 0, b"hello world"), 11);
    let gap = shim::WriteChannelRequest {
        name: "agent".into(),
        offset: 99,
        data: b"x".to_vec(),
    };
    assert!(next.call::<()>(SHIM, "WriteChannel", &gap).is_err());
    let got: shim::ReadChannelResponse = next.shim("ReadChannel", &read(6, 5000));
    assert_eq!((got.offset, got.data.as_slice()), (6, b"world".as_slice()));
    let waiting = trined.send(SHIM, "ReadChannel", &read(11, 60_000));
    let nothing: shim::ReadChannelResponse = next.shim("ReadChannel", &read(11, 10));
    assert!(nothing.data.is_empty() && !nothing.closed);

    // Back-pressure: what nobody reads is held up to a limit, then the writer waits.
    let block = vec![b'x'; 256 << 10];
    let mut sent = 11;
    let mut refused = false;
    for _ in 0..8 {
        let from = sent;
        sent = write(&mut next, "agent", sent, &block);
        refused |= sent < from + block.len() as u64;
        if refused {
            break;
        }
    }
    assert!(refused);
    let got: shim::ReadChannelResponse = trined.answer(waiting).unwrap();
    assert_eq!(got.offset, 11);
    let signal = shim::SignalRequest {
        key: "helper".into(),
        signal: 9,
    };
    next.shim::<()>("Signal", &signal);
    assert_eq!(child_end(&mut next, "helper").signal, 9);
    let mut offset = 11;
    eventually("the channel's end", || {
        let got: shim::ReadChannelResponse = next.shim("ReadChannel", &read(offset, 5000));
        offset = got.offset + got.data.len() as u64;
        got.closed.then_some(())
    });
}

#[test]
fn the_monitors_reason_decides_the_exit_status() {
    let pod = Pod::started("monitor");
    let (mut containerd, _relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut trined = pod.connect();
    let text = r#"
        printf '{"QMP": {"version": {}, "capabilities": []}}\r\n' >&7
        read -r line <&7; echo "$line"
        printf '{"return": {}}\r\n{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\r\n' >&7
        kill -9 $$"#;
    let mut request = script("vmm", "ctr1", text);
    request.log_path = pod.dir.join("vmm.log").to_string_lossy().into_owned();
    request.exit_rules = vec![
        shim::ExitRule {
            reason: "guest-panic".into(),
            exit_status: 70,
        },
        shim::ExitRule {
            reason: "guest-shutdown".into(),
            exit_status: 0,
        },
    ];
    request.descriptors = vec![channel(
        7,
        shim::Channel {
            name: "monitor".into(),
            kind: Kind::Monitor as i32,
            ..Default::default()
        },
    )];
    let wait = containerd.send_wait("ctr1");
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    assert_eq!(
        containerd
            .answer::<task::WaitResponse>(wait)
            .unwrap()
            .exit_status,
        0
    );
    let end = child_end(&mut trined, "vmm");
    assert_eq!(
        (end.signal, end.reason.as_str(), end.exit_status),
        (9, "guest-shutdown", 0)
    );
    let log = eventually("the log", || {
        fs::read_to_string(pod.dir.join("vmm.log"))
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert_eq!(log.trim(), r#"{"execute":"qmp_capabilities"}"#);
}

#[test]
fn sigkill_works_without_trined() {
    let pod = Pod::started("kill");
    let (mut containerd, relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut trined = pod.connect();
    let request = script("vmm", "ctr1", "while :; do sleep 60; done");
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    let stopped = shim::SetProcessRequest {
        id: "ctr1".into(),
        status: task::Status::Stopped as i32,
        ..Default::default()
    };
    let refused = trined.call::<()>(SHIM, "SetProcess", &stopped).unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION);
    drop(relay);
    drop(trined);
    let wait = containerd.send_wait("ctr1");
    let kill = containerd.kill("ctr1", 9);
    assert_eq!(
        containerd
            .answer::<task::WaitResponse>(wait)
            .unwrap()
            .exit_status,
        137
    );
    assert_eq!(containerd.order.last_chunk::<2>(), Some(&[kill, wait]));
    // A start that was given up must not come true later.
    let mut trined = pod.connect();
    let late = trined.call::<()>(SHIM, "Spawn", &script("vmm2", "ctr1", "true"));
    assert_eq!(late.unwrap_err().code, FAILED_PRECONDITION);
}

#[test]
fn an_ended_task_is_deleted_when_trined_stays_away() {
    let pod = Pod::started("alone");
    let (mut containerd, relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut trined = pod.connect();
    let request = script("vmm", "ctr1", "exit 5");
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    let wait = containerd.send_wait("ctr1");
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 5);
    drop(relay);
    let delete = task::DeleteRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
    };
    let deleted: task::DeleteResponse = containerd.task("Delete", &delete);
    assert_eq!(deleted.exit_status, 5);
    assert_eq!(containerd.task_state("ctr1").unwrap_err().code, NOT_FOUND);
    // trined is told when it is back, and takes the rest apart.
    let known: shim::DescribeResponse = trined.shim("Describe", &shim::DescribeRequest {});
    assert!(known.processes.iter().all(|process| process.id != "ctr1"));
    assert_eq!(known.children.len(), 1);
}

#[test]
fn a_failed_spawn_names_the_step_and_keeps_nothing() {
    let pod = Pod::started("nospawn");
    let mut trined = pod.connect();
    let mut request = script("vmm", "", "");
    request.argv = vec!["/no/such/vmm".into()];
    request.descriptors = vec![held(5, "agent")];
    for _ in 0..2 {
        let failed = trined.call::<()>(SHIM, "Spawn", &request).unwrap_err();
        assert!(
            failed.message.contains("/no/such/vmm"),
            "{}",
            failed.message
        );
    }
    let known: shim::DescribeResponse = trined.shim("Describe", &shim::DescribeRequest {});
    assert!(known.children.is_empty());
}

#[test]
fn the_state_document_and_the_description_survive_trined() {
    let pod = Pod::started("state");
    let (mut containerd, _relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut old = pod.connect();
    let put = |revision, state: &[u8]| shim::PutStateRequest {
        state: state.to_vec(),
        revision,
    };
    old.shim::<()>("PutState", &put(2, b"two"));
    let stale = old
        .call::<()>(SHIM, "PutState", &put(1, b"one"))
        .unwrap_err();
    assert_eq!(stale.code, FAILED_PRECONDITION);
    assert!(
        old.call::<()>(SHIM, "PutState", &put(3, &vec![0; (1 << 20) + 1]))
            .is_err()
    );
    drop(old);
    let known: shim::DescribeResponse = pod.connect().shim("Describe", &shim::DescribeRequest {});
    assert_eq!(
        (known.state.as_slice(), known.state_revision),
        (b"two".as_slice(), 2)
    );
    assert_eq!(
        (known.protocol, known.sandbox_id.as_str()),
        (1, pod.id.as_str())
    );
    let features = ["read-only-below", "tap-queues", "macvtap", "guest-ports"];
    assert_eq!(known.features, features);
    assert_eq!(known.runtime, "containerd-shim-trine-v2");
    assert_eq!(Path::new(&known.pod_dir), pod.pod_dir());
    assert_eq!(known.processes.len(), 1);
    containerd.task_state("ctr1").unwrap();
}

#[test]
fn a_long_poll_ends_with_the_event_or_its_time() {
    let pod = Pod::started("poll");
    let mut trined = pod.connect();
    assert!(events(&mut trined, 0, 0).events.is_empty());
    assert!(events(&mut trined, 0, 20).events.is_empty());
    let poll = trined.send(
        SHIM,
        "Events",
        &shim::EventsRequest {
            after: 0,
            wait_ms: 60_000,
        },
    );
    assert!(trined.is_unanswered(poll));
    pod.connect()
        .shim::<shim::SpawnResponse>("Spawn", &script("short", "", "exit 5"));
    let seen: shim::EventsResponse = trined.answer(poll).unwrap();
    let again = events(&mut trined, 0, 0);
    assert_eq!(seen.events, again.events);
    assert!(
        events(&mut trined, again.events[0].seq, 0)
            .events
            .is_empty()
    );
}

#[test]
fn programs_run_in_the_pods_network_and_are_bounded() {
    let pod = Pod::started("run");
    let mut trined = pod.connect();
    let run = |argv: &[&str], stdin: &[u8], timeout_ms| shim::RunRequest {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        stdin: stdin.to_vec(),
        timeout_ms,
    };
    let links: shim::RunResponse = trined.shim("Run", &run(&["ip", "-o", "link"], b"", 0));
    let text = String::from_utf8(links.stdout).unwrap();
    assert_eq!((links.exit_code, text.lines().count()), (0, 1));
    assert!(text.contains("lo:"));
    let big = vec![b'x'; 700_000];
    let echoed: shim::RunResponse = trined.shim("Run", &run(&["cat"], &big, 0));
    assert_eq!(echoed.stdout, big);
    let sh = [
        "sh",
        "-c",
        "head -c 2000000 /dev/zero; echo oops >&2; exit 3",
    ];
    let cut: shim::RunResponse = trined.shim("Run", &run(&sh, b"", 0));
    assert_eq!((cut.exit_code, cut.stdout.len()), (3, 1 << 20));
    assert_eq!(cut.stderr, b"oops\n");
    let begun = Instant::now();
    let late = trined
        .call::<()>(SHIM, "Run", &run(&["sleep", "60"], b"", 50))
        .unwrap_err();
    assert_eq!(late.code, DEADLINE_EXCEEDED);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(
        trined
            .call::<()>(SHIM, "Run", &run(&["/no/such"], b"", 0))
            .is_err()
    );
}

#[test]
fn taps_are_made_once_and_given_to_children() {
    let pod = Pod::started("tap");
    let mut trined = pod.connect();
    let tap = shim::OpenTapRequest {
        name: "tap0".into(),
        mtu: 1400,
        ..Default::default()
    };
    trined.shim::<()>("OpenTap", &tap);
    trined.shim::<()>("OpenTap", &tap);
    let wider = shim::OpenTapRequest {
        queues: 2,
        ..tap.clone()
    };
    let refused = trined.call::<()>(SHIM, "OpenTap", &wider).unwrap_err();
    assert_eq!(refused.code, FAILED_PRECONDITION);
    assert!(refused.message.contains("1 queues, not 2"), "{refused:?}");
    let mut request = script("vmm", "", "readlink /proc/self/fd/4 >&2; exit 0");
    request.log_path = pod.dir.join("log").to_string_lossy().into_owned();
    request.descriptors = vec![shim::Descriptor {
        number: 4,
        source: Some(shim::descriptor::Source::Tap("tap0".into())),
        ..Default::default()
    }];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    child_end(&mut trined, "vmm");
    let log = eventually("the log", || {
        fs::read_to_string(pod.dir.join("log"))
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert_eq!(log.trim(), "/dev/net/tun");
    let known: shim::DescribeResponse = trined.shim("Describe", &shim::DescribeRequest {});
    assert_eq!(known.taps, ["tap0"]);

    let dhcp = shim::ServeDhcpRequest {
        tap: "tap0".into(),
        client_mac: "52:54:00:00:00:01".into(),
        address: "10.1.2.3".into(),
        prefix: 24,
        server: "169.254.77.1".into(),
        ..Default::default()
    };
    trined.shim::<()>("ServeDhcp", &dhcp);
    trined.shim::<()>("ServeDhcp", &dhcp);
    let forward = |target: &str| shim::ServeForwardRequest {
        target: target.into(),
        ..Default::default()
    };
    let first: shim::ServeForwardResponse = trined.shim("ServeForward", &forward("10.1.2.3"));
    let second: shim::ServeForwardResponse = trined.shim("ServeForward", &forward("10.1.2.4"));
    assert!(first.port != 0 && first.port == second.port);
    assert!(
        trined
            .call::<()>(SHIM, "ServeForward", &forward("nowhere"))
            .is_err()
    );
}

#[test]
fn a_queue_that_one_machine_took_off_is_there_for_the_next() {
    let pod = Pod::started("queues");
    let mut trined = pod.connect();
    let tap = shim::OpenTapRequest {
        name: "tap0".into(),
        queues: 2,
        ..Default::default()
    };
    trined.shim::<()>("OpenTap", &tap);
    let mut machine = |key: &str| {
        let mut request = script(key, "", "sleep 60");
        request.descriptors = vec![shim::Descriptor {
            number: 4,
            source: Some(shim::descriptor::Source::Tap("tap0".into())),
            queue: 1,
        }];
        let spawned: shim::SpawnResponse = trined.shim("Spawn", &request);
        descriptor_of(spawned.pid, 4)
    };
    let queue = machine("first");
    switch_queue_off(&queue);
    assert!(is_off(&queue));
    machine("second");
    assert!(!is_off(&queue));
}

fn switch_queue_off(queue: &OwnedFd) {
    // SAFETY: all zeroes is a valid `ifreq`, and it outlives the call.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_ifru.ifru_flags = libc::IFF_DETACH_QUEUE as libc::c_short;
        libc::ioctl(
            queue.as_raw_fd(),
            libc::TUNSETQUEUE as _,
            &raw const request,
        )
    };
    assert_eq!(done, 0);
}

fn is_off(queue: &OwnedFd) -> bool {
    // SAFETY: as above; TUNGETIFF fills the flags in.
    let flags = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        let done = libc::ioctl(queue.as_raw_fd(), libc::TUNGETIFF as _, &raw mut request);
        assert_eq!(done, 0);
        request.ifr_ifru.ifru_flags
    };
    libc::c_int::from(flags) & libc::IFF_DETACH_QUEUE != 0
}

#[test]
fn mounts_are_made_once_and_go_with_the_pod() {
    let pod = Pod::started("mount");
    let mut trined = pod.connect();
    let (source, target) = (pod.dir.join("source"), pod.dir.join("target"));
    fs::create_dir_all(&source).unwrap();
    fs::create_dir_all(&target).unwrap();
    fs::write(source.join("file"), "x").unwrap();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let request = shim::MountRequest {
        target: text(&target),
        mounts: vec![task::Mount {
            r#type: "bind".into(),
            source: text(&source),
            target: String::new(),
            options: vec!["rbind".into(), "ro".into()],
        }],
        ..Default::default()
    };
    trined.shim::<()>("Mount", &request);
    trined.shim::<()>("Mount", &request);
    assert!(target.join("file").exists());
    let unmount = shim::UnmountRequest {
        target: text(&target),
    };
    trined.shim::<()>("Unmount", &unmount);
    trined.shim::<()>("Unmount", &unmount);

    let share = pod.pod_dir().join("share");
    let shared = shim::MountRequest {
        target: text(&share),
        shared: true,
        ..Default::default()
    };
    let bound = |target: &Path| shim::MountRequest {
        target: text(target),
        bind: Some(shim::HostBind {
            follows: false,
            source: text(&source),
            read_only: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    for _ in 0..2 {
        trined.shim::<()>("Mount", &shared);
        trined.shim::<()>("Mount", &bound(&share.join("ctr1/volume")));
    }
    assert!(share.join("ctr1/volume/file").exists());
    assert!(fs::write(share.join("ctr1/volume/file"), "y").is_err());
    let elsewhere = bound(&pod.dir.join("elsewhere"));
    assert!(trined.call::<()>(SHIM, "Mount", &elsewhere).is_err());
    let unmount = shim::UnmountRequest {
        target: text(&share),
    };
    trined.shim::<()>("Unmount", &unmount);
    assert!(!share.join("ctr1/volume/file").exists());
    assert!(source.join("file").exists());
    assert!(!target.join("file").exists());
    trined.shim::<()>("Mount", &request);
    let dir = pod.pod_dir();
    trined
        .call::<()>(harness::TASK, "Shutdown", &task::ShutdownRequest::default())
        .unwrap();
    eventually("the end of the shim", || (!dir.exists()).then_some(()));
    assert!(!target.join("file").exists());
}

#[test]
fn a_machine_killed_for_memory_is_told_before_its_end() {
    let mut pod = Pod::new("oom");
    let events = pod.containerd();
    let id = pod.id.clone();
    let linux = format!(r#""cgroupsPath":"/trine-shim-test-{}""#, std::process::id());
    pod.bundle(
        &id,
        r#""io.kubernetes.cri.container-type":"sandbox""#,
        &linux,
    );
    let out = pod.start(&id, &[]);
    assert!(out.status.success(), "{out:?}");
    pod.address = String::from_utf8(out.stdout).unwrap();
    let (mut containerd, _relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut trined = pod.connect();
    let known: shim::DescribeResponse = trined.shim("Describe", &shim::DescribeRequest {});
    let limited = known.cgroups.iter().any(|dir| {
        let limit = |file: &str| fs::write(Path::new(dir).join(file), (16 << 20).to_string());
        limit("memory.limit_in_bytes").is_ok() || limit("memory.max").is_ok()
    });
    assert!(limited, "no memory controller in {:?}", known.cgroups);
    let wait = containerd.send_wait("ctr1");
    let hungry = "x=$(head -c 100000000 /dev/zero | tr '\\0' x)";
    trined.shim::<shim::SpawnResponse>("Spawn", &script("vmm", "ctr1", hungry));
    assert_eq!(
        containerd
            .answer::<task::WaitResponse>(wait)
            .unwrap()
            .exit_status,
        137
    );
    assert!(child_end(&mut trined, "vmm").oom);
    let mut events = events.accept();
    let topics: Vec<String> = (0..4)
        .map(|_| events.serve("Forward", &shim::DescribeRequest {}))
        .map(|relayed| ForwardRequest::decode(relayed.request.payload.as_slice()).unwrap())
        .map(|request| request.envelope.unwrap().topic)
        .collect();
    assert_eq!(
        topics,
        ["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit"]
    );
    let out = pod.delete(&id);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    assert!(known.cgroups.iter().all(|dir| !Path::new(dir).exists()));
}
