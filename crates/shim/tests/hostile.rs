//! What must not hurt the host or stop the shim: crowds, silence, and ends in the wrong order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use harness::{Pod, SHIM, TASK, channel, eventually, script};
use trine_wire::{shim, task};

fn no_stdio() -> [String; 3] {
    [const { String::new() }; 3]
}

#[test]
fn bytes_behind_a_full_channel_need_no_event_to_be_told_of() {
    let pod = Pod::started("tail");
    // Else the shim's tries to connect would wake it every second.
    let _relay = pod.trined().accept();
    let mut trined = pod.connect();
    let written = pod.dir.join("written");
    let text = format!(
        "head -c 262144 /dev/zero >&5; printf tail >&5; : >{}; read -r _ <&5",
        written.display()
    );
    let mut request = script("helper", "", &text);
    request.descriptors = vec![channel(
        5,
        shim::Channel {
            name: "agent".into(),
            ..Default::default()
        },
    )];
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    eventually("the child's tail", || written.exists().then_some(()));
    let read = |offset| shim::ReadChannelRequest {
        name: "agent".into(),
        offset,
        wait_ms: 60_000,
        max_bytes: 256 << 10,
        ..Default::default()
    };
    eventually("a full channel", || {
        let got: shim::ReadChannelResponse = trined.shim("ReadChannel", &read(0));
        (got.data.len() == 256 << 10).then_some(())
    });
    let got: shim::ReadChannelResponse = trined.shim("ReadChannel", &read(256 << 10));
    assert_eq!(got.data, b"tail");
}

#[test]
fn nobody_holds_the_stdin_of_what_has_ended() {
    let pod = Pod::started("stdin");
    let stdio = [pod.fifo("in"), String::new(), String::new()];
    let (mut containerd, _relay) = pod.running_task("ctr1", &stdio, false);
    let mut trined = pod.connect();
    let mut request = script("vmm", "ctr1", "read -r line <&0");
    request.descriptors = vec![channel(
        0,
        shim::Channel {
            name: "console".into(),
            kind: shim::channel::Kind::Console as i32,
            task_id: "ctr1".into(),
            spool_path: pod.dir.join("spool").to_string_lossy().into_owned(),
            ..Default::default()
        },
    )];
    let wait = containerd.send_wait("ctr1");
    trined.shim::<shim::SpawnResponse>("Spawn", &request);
    let open = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(&stdio[0])
    };
    let mut stdin = open().unwrap();
    std::io::Write::write_all(&mut stdin, b"end\n").unwrap();
    drop(stdin);
    containerd.answer::<task::WaitResponse>(wait).unwrap();
    let none = open().expect_err("no reader is left");
    assert_eq!(none.raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_wait_for_what_is_deleted_without_a_start_is_answered() {
    let pod = Pod::started("unstarted");
    let trined = pod.trined();
    let mut containerd = pod.connect();
    let create = task::CreateTaskRequest {
        id: "ctr1".into(),
        ..Default::default()
    };
    let create = containerd.send(TASK, "Create", &create);
    let mut relay = trined.accept();
    let wait = containerd.send_wait("ctr1");
    let refused = relay.request();
    assert!(containerd.is_unanswered(wait));
    relay.respond(refused.stream, &task::CreateTaskResponse { pid: 0 });
    containerd
        .answer::<task::CreateTaskResponse>(create)
        .unwrap();
    let delete = task::DeleteRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
    };
    let delete = containerd.send(TASK, "Delete", &delete);
    relay.serve("Delete", &task::DeleteResponse::default());
    containerd.answer::<task::DeleteResponse>(delete).unwrap();
    containerd.answer::<task::WaitResponse>(wait).unwrap();
}

#[test]
fn a_signal_is_answered_when_trined_stays_away_and_passed_on_later() {
    let pod = Pod::started("signal");
    let (mut containerd, relay) = pod.running_task("ctr1", &no_stdio(), false);
    let mut client = pod.connect();
    let request = script("vmm", "ctr1", "while :; do sleep 60; done");
    client.shim::<shim::SpawnResponse>("Spawn", &request);
    drop(relay);
    let term = containerd.kill("ctr1", 15);
    containerd.answer::<()>(term).unwrap();
    let mut relay = pod.trined().accept();
    let passed_on = relay.serve("Kill", &shim::DescribeRequest {});
    assert_eq!(passed_on.request.timeout_nano, 0);
    let kill = containerd.kill("ctr1", 9);
    containerd.answer::<()>(kill).unwrap();
}

#[test]
fn of_many_starts_at_once_one_wins_and_keeps_its_directory() {
    let mut pod = Pod::new("race");
    pod.bundle(&pod.id, "", "");
    // What a shim left that was killed.
    let first = pod.start(&pod.id, &[]);
    assert!(first.status.success(), "{first:?}");
    // SAFETY: takes no pointers; the pid is our shim's.
    unsafe { libc::kill(pod.pid(), libc::SIGKILL) };
    let lock = pod.pod_dir().join("lock");
    eventually("the end of the shim", || {
        fs::File::open(&lock).unwrap().try_lock().ok()
    });
    let outputs = std::thread::scope(|scope| {
        let starts = [0; 6].map(|_| scope.spawn(|| pod.start(&pod.id, &[])));
        starts.map(|start| start.join().unwrap())
    });
    let winners: Vec<_> = outputs.iter().filter(|out| out.status.success()).collect();
    assert_eq!(winners.len(), 1, "{outputs:?}");
    pod.address = String::from_utf8(winners[0].stdout.clone()).unwrap();
    let mut client = pod.connect();
    let found: shim::DescribeResponse = client.shim("Describe", &shim::DescribeRequest {});
    assert_eq!(i32::try_from(found.pid).unwrap(), pod.pid());
}

#[test]
fn descriptors_that_leak_from_containerd_do_not_get_in_the_way() {
    for above in 92..102 {
        starts_with_descriptors_below(above);
    }
}

fn starts_with_descriptors_below(above: i32) {
    let mut pod = Pod::new("leak");
    pod.bundle(&pod.id, "", "");
    let mut command = pod.prepared(&pod.id, "start");
    // Not a pipe: here `spawn` itself returns only when the program has ended.
    command.stdin(Stdio::null());
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for number in 3..above {
                if libc::fcntl(number, libc::F_SETFD, 0) < 0 {
                    libc::dup2(0, number);
                }
            }
            Ok(())
        });
    }
    let out = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(out.status.success(), "{above}: {out:?}");
    pod.address = String::from_utf8(out.stdout).unwrap();
    let lock = fs::File::open(pod.pod_dir().join("lock")).unwrap();
    assert!(lock.try_lock().is_err(), "{above}: the shim holds its lock");
    let open = fs::read_dir(format!("/proc/{}/fd", pod.pid())).unwrap();
    assert!(open.count() < 20);
}

#[test]
fn a_crowd_on_the_socket_is_no_load_and_goes_by() {
    let pod = Pod::started("crowd");
    let pid = pod.pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let limit = libc::rlimit {
        rlim_cur: open + 4,
        rlim_max: open + 4,
    };
    // SAFETY: the structure outlives the call; the pid is our shim's.
    let set = unsafe {
        let none = std::ptr::null_mut();
        libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, none)
    };
    assert_eq!(set, 0);
    let path = pod.address.strip_prefix("unix://").unwrap();
    let crowd: Vec<_> = (0..20)
        .map(|_| UnixStream::connect(path).unwrap())
        .collect();
    // user and system time in hundredths of a second, fields 14 and 15
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.split(' ').collect();
        fields[13].parse::<u32>().unwrap() + fields[14].parse::<u32>().unwrap()
    };
    let before = used();
    let last = harness::Client::new(std::path::Path::new(path));
    assert!(!last.is_ready(Duration::from_millis(700)));
    assert!(used() - before < 15, "the loop spins");
    drop(crowd);
    drop(last);
    let mut client = pod.connect();
    let describe = client.send(SHIM, "Describe", &shim::DescribeRequest {});
    client.answer::<shim::DescribeResponse>(describe).unwrap();
}
