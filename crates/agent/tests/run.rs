//! Containers and their processes from their start to their removal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use harness::{Guest, process, revive, shell, spec};
use serde_json::json;
use trine_wire::agent::{
    CreateContainerRequest, DescribeResponse, ProcessRequest, RemoveContainerRequest,
    ResizeRequest, SignalRequest,
};

#[test]
fn a_container_speaks_and_ends() {
    let mut guest = Guest::revived();
    let script = "echo out; echo err >&2; exit 7";
    let (out, err, status) = guest.run("c1", &shell(script));
    assert_eq!((out.as_str(), err.as_str(), status), ("out\n", "err\n", 7));
    // The end can be asked for again, and removal leaves the name free.
    assert_eq!(guest.exit("c1", "").status, 7);
    let remove = RemoveContainerRequest {
        container: "c1".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
    guest.call::<()>("RemoveContainer", &remove).expect("again");
    let (out, ..) = guest.run("c1", &shell("echo again"));
    assert_eq!(out, "again\n");
}

#[test]
fn nothing_is_done_before_the_guest_knows_its_pod() {
    let mut guest = Guest::new();
    let refused = guest.create("c1", &shell("true")).expect_err("too early");
    assert_eq!(refused.code, 9);
    let described: DescribeResponse = guest.call("Describe", &()).expect("always");
    assert!(!described.revived && described.protocol == 1);
    guest.call::<()>("Revive", &revive()).expect("revived");
    guest.call::<()>("Revive", &revive()).expect("again");
    let mut other = revive();
    other.pod = "default/other".to_owned();
    assert_eq!(
        guest.call::<()>("Revive", &other).expect_err("taken").code,
        9
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut guest = Guest::revived();
    let refused = guest.create("c1", &spec(&["foo"])).expect_err("not there");
    assert_eq!(
        refused.message,
        "exec: \"foo\": executable file not found in $PATH"
    );
    let mut unknown = shell("true");
    unknown["mounts"][0]["type"] = json!("nosuchfs");
    let refused = guest
        .create("c1", &unknown)
        .expect_err("no such file system");
    assert!(
        refused.message.starts_with("mount proc at /proc: "),
        "{}",
        refused.message
    );
    let (out, ..) = guest.run("c1", &shell("echo fine"));
    assert_eq!(out, "fine\n");
}

#[test]
fn stdin_flows_and_ends() {
    let mut guest = Guest::revived();
    guest
        .create("c1", &shell("/bin/busybox wc -c; echo done"))
        .expect("created");
    let stdin = guest.open("stdin/c1/");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    let mut left = 1_000_000;
    let piece = vec![b'x'; 16 << 10];
    while left > 0 {
        let count = left.min(piece.len());
        let taken = guest.until("room", |g| {
            Some(g.mux.send(stdin, &piece[..count])).filter(|n| *n > 0)
        });
        left -= taken;
    }
    guest.mux.fin(stdin);
    assert_eq!(guest.whole(out), "1000000\ndone\n");
    assert_eq!(guest.exit("c1", "").status, 0);
}

#[test]
fn exec_joins_a_container_and_signals_reach_it() {
    let mut guest = Guest::revived();
    let script = "trap 'echo term; exit 3' TERM; echo $$ > /tmp/pid; while :; do /bin/busybox sleep 0.1; done";
    guest.create("c1", &shell(script)).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    guest.exec("c1", "e1", "until test -e /tmp/pid; do :; done; cat=/bin/busybox; $cat cat /tmp/pid; $cat hostname").expect("made");
    let (text, _, status) = guest.finish("c1", "e1");
    assert_eq!(status, 0);
    assert!(text.starts_with("1\n"), "{text}");
    guest
        .call::<()>("RemoveProcess", &process("c1", "e1"))
        .expect("forgotten");
    let term = SignalRequest {
        container: "c1".to_owned(),
        signal: 15,
        ..Default::default()
    };
    guest.call::<()>("Signal", &term).expect("sent");
    assert_eq!(guest.exit("c1", "").status, 3);
    assert_eq!(guest.whole(out), "term\n");
    assert_eq!(
        guest.call::<()>("Signal", &term).expect_err("ended").code,
        9
    );
    let nobody = SignalRequest {
        container: "c2".to_owned(),
        ..term
    };
    assert_eq!(
        guest
            .call::<()>("Signal", &nobody)
            .expect_err("nobody")
            .code,
        5
    );
    assert!(guest.exec("c1", "e2", "true").is_err());
}

#[test]
fn a_terminal_has_a_size_and_a_name() {
    let mut guest = Guest::revived();
    let mut spec = shell(
        "tty=/bin/busybox; $tty tty; $tty stty size; read line; $tty stty size; echo got $line",
    );
    spec["process"]["terminal"] = json!(true);
    let request = CreateContainerRequest {
        container: "c1".to_owned(),
        spec: spec.to_string().into_bytes(),
        terminal: true,
        stdin: true,
        width: 80,
        height: 24,
        ..Default::default()
    };
    guest
        .call::<()>("CreateContainer", &request)
        .expect("created");
    let (stdin, out) = (guest.open("stdin/c1/"), guest.open("stdout/c1/"));
    let none = guest.open("stderr/c1/");
    guest.start("c1", "").expect("started");
    guest.until("the first size", |g| {
        let text = String::from_utf8_lossy(g.received.get(&out)?).into_owned();
        text.contains("24 80").then_some(())
    });
    let size = ResizeRequest {
        container: "c1".to_owned(),
        width: 100,
        height: 30,
        ..Default::default()
    };
    guest.call::<()>("Resize", &size).expect("resized");
    guest.mux.send(stdin, b"hello\n");
    let text = guest.whole(out);
    assert!(text.starts_with("/dev/pts/0\r\n"), "{text}");
    assert!(
        text.contains("30 100\r\n") && text.ends_with("got hello\r\n"),
        "{text}"
    );
    assert_eq!(
        guest.aborted.get(&none).map(String::as_str),
        Some("a terminal has no stderr")
    );
}

#[test]
fn one_that_was_never_started_can_be_removed() {
    let mut guest = Guest::revived();
    guest.create("c1", &shell("echo never")).expect("created");
    guest.exec("c1", "e1", "echo never").expect("made");
    guest
        .call::<()>("RemoveProcess", &process("c1", "e1"))
        .expect("given up");
    let remove = RemoveContainerRequest {
        container: "c1".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
    let described: DescribeResponse = guest.call("Describe", &()).expect("described");
    assert!(described.processes.is_empty() && described.containers.is_empty());
    let gone: Result<(), _> = guest.call("StartProcess", &ProcessRequest::default());
    assert_eq!(gone.expect_err("nobody").code, 5);
}
