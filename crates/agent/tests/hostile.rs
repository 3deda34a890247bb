//! Workloads that flood, fork, keep things open or closed; the agent goes on serving the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Guest, shell};
use serde_json::json;
use trine_wire::agent::source::What;
use trine_wire::agent::{
    ContainerRequest, DescribeResponse, EventsRequest, EventsResponse, MountRequest, PidsResponse,
    RemoveContainerRequest, Share, SignalRequest, Source, StatsResponse, UpdateRequest,
};

fn container(id: &str) -> ContainerRequest {
    ContainerRequest {
        container: id.to_owned(),
    }
}

#[test]
fn a_flood_nobody_reads_delays_no_other() {
    let mut guest = Guest::revived();
    guest
        .create("flood", &shell("exec /bin/busybox yes"))
        .expect("created");
    let out = guest.open("stdout/flood/");
    guest.stalled.insert(out);
    guest.start("flood", "").expect("started");
    guest.until("a full stream", |g| {
        (g.mux.data(out).len() > 100_000).then_some(())
    });
    let (text, _, status) = guest.run("c2", &shell("echo served"));
    assert_eq!((text.as_str(), status), ("served\n", 0));
    // Whoever reads again gets on.
    guest.stalled.clear();
    guest.take(out);
    guest.until("more", |g| {
        (g.received[&out].len() > 1_000_000).then_some(())
    });
    let kill = SignalRequest {
        container: "flood".to_owned(),
        signal: 9,
        all: true,
        ..Default::default()
    };
    guest.call::<()>("Signal", &kill).expect("killed");
    assert_eq!(guest.exit("flood", "").status, 137);
}

#[test]
fn who_keeps_stdout_open_delays_no_exit() {
    let mut guest = Guest::revived();
    // In the pod's PID namespace a child outlives the first process only until the agent ends it.
    let mut spec = shell("/bin/busybox sleep 1000 & exit 5");
    guest.create("c1", &spec).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    assert_eq!(guest.exit("c1", "").status, 5);
    guest.whole(out);
    spec["linux"]["namespaces"][0] = json!({"type": "pid", "path": "/run/trine/pod/ns/pid"});
    let (.., status) = guest.run("c2", &spec);
    assert_eq!(status, 5);
    let remove = RemoveContainerRequest {
        container: "c2".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
}

#[test]
fn containers_of_a_pod_see_each_other_when_asked() {
    let mut guest = Guest::revived();
    let shared = json!({"type": "pid", "path": "/run/trine/pod/ns/pid"});
    let mut first = shell("echo $$; exec /bin/busybox sleep 1000");
    first["linux"]["namespaces"][0] = shared.clone();
    guest.create("c1", &first).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    guest.until("its pid", |g| g.received.contains_key(&out).then_some(()));
    let pid = String::from_utf8_lossy(&guest.received[&out])
        .trim()
        .to_owned();
    // It says its pid before it becomes the other program.
    let mut second = shell(&format!(
        "until /bin/busybox grep -x busybox /proc/{pid}/comm; do :; done"
    ));
    second["linux"]["namespaces"][0] = shared;
    assert_eq!(guest.run("c2", &second).0, "busybox\n");
}

#[test]
fn many_children_go_with_their_container() {
    let mut guest = Guest::revived();
    let script =
        "i=0; while [ $i -lt 50 ]; do /bin/busybox sleep 1000 & i=$((i+1)); done; echo all; wait";
    guest.create("c1", &shell(script)).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    guest.until("all", |g| g.received.contains_key(&out).then_some(()));
    let pids: PidsResponse = guest.call("Pids", &container("c1")).expect("pids");
    assert_eq!(pids.pids.len(), 51);
    let remove = RemoveContainerRequest {
        container: "c1".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
    for pid in pids.pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_paused_container_stands_still_and_can_be_removed() {
    let mut guest = Guest::revived();
    guest
        .create("c1", &shell("while :; do echo x; done"))
        .expect("created");
    guest.start("c1", "").expect("started");
    guest.call::<()>("Pause", &container("c1")).expect("paused");
    guest.call::<()>("Pause", &container("c1")).expect("again");
    guest
        .call::<()>("Resume", &container("c1"))
        .expect("resumed");
    guest.call::<()>("Pause", &container("c1")).expect("paused");
    let remove = RemoveContainerRequest {
        container: "c1".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
}

#[test]
fn figures_are_always_filled_and_unknown_limits_are_named() {
    let mut guest = Guest::revived();
    guest.create("c1", &shell("true")).expect("created");
    let stats: StatsResponse = guest.call("Stats", &container("c1")).expect("figures");
    let figures = stats.container.expect("always");
    assert!(figures.cpu.is_some() && figures.memory.is_some() && figures.pids.is_some());
    assert!(stats.guest_memory_total_bytes > stats.guest_memory_available_bytes);
    let update = UpdateRequest {
        container: "c1".to_owned(),
        resources: br#"{"unified": {"no.such": "1"}}"#.to_vec(),
    };
    let refused = guest.call::<()>("Update", &update).expect_err("unknown");
    assert!(refused.message.contains("no.such"), "{}", refused.message);
    let quiet = EventsRequest {
        after: 0,
        wait_ms: 5,
    };
    let events: EventsResponse = guest.call("Events", &quiet).expect("none");
    assert!(events.events.is_empty() && !events.lost);
}

#[test]
fn stdin_that_was_closed_early_swallows_what_comes() {
    let mut guest = Guest::revived();
    guest
        .create(
            "c1",
            &shell("exec 0<&-; echo closed; read x; /bin/busybox sleep 1000"),
        )
        .expect("created");
    let (stdin, out) = (guest.open("stdin/c1/"), guest.open("stdout/c1/"));
    guest.start("c1", "").expect("started");
    guest.until("closed", |g| g.received.contains_key(&out).then_some(()));
    let mut sent = 0;
    while sent < 2_000_000 {
        sent += guest.until("room", |g| {
            Some(g.mux.send(stdin, &[0; 16384])).filter(|n| *n > 0)
        });
    }
    let described: DescribeResponse = guest.call("Describe", &()).expect("alive");
    assert_eq!(described.containers, ["c1"]);
}

#[test]
fn a_new_link_finds_what_the_old_one_left() {
    let mut guest = Guest::revived();
    let script = "read a; echo got $a; read b; echo and $b";
    guest.create("c1", &shell(script)).expect("created");
    guest.start("c1", "").expect("started");
    guest.reconnect();
    let described: DescribeResponse = guest.call("Describe", &()).expect("described");
    assert!(described.revived && described.processes.len() == 1);
    let (stdin, out) = (guest.open("stdin/c1/"), guest.open("stdout/c1/"));
    guest.mux.send(stdin, b"one\ntwo\n");
    assert_eq!(guest.whole(out), "got one\nand two\n");
    assert_eq!(guest.exit("c1", "").status, 0);
}

#[test]
fn connections_are_made_inside_the_guest() {
    let mut guest = Guest::revived();
    // The agent's network namespace has only its own loopback: nothing of the host answers there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = guest.open(&format!("tcp/127.0.0.1/{port}"));
    guest.until("a refusal", |g| {
        g.aborted.contains_key(&refused).then_some(())
    });
    for name in ["tcp/localhost/1", "tcp/127.0.0.1,/1", "tcp//1"] {
        let bad = guest.open(name);
        guest.until("a refusal", |g| g.aborted.contains_key(&bad).then_some(()));
    }

    let script = "/bin/busybox httpd -p 127.0.0.2:7778 -h /tmp; echo hello | /bin/busybox nc -l -p 7777 > /tmp/got;
        /bin/busybox cat /tmp/got";
    let mut spec = shell(script);
    spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .retain(|n| n["type"] != "network");
    guest.create("c1", &spec).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    // While nc waits for its caller: with nc the container ends. There is no way to the first of these addresses, and nobody
    // listens at the second.
    let other = reached(
        &mut guest,
        "tcp/192.0.2.1,127.0.0.1,127.0.0.2/7778",
        b"GET /nothing HTTP/1.0\r\n\r\n",
    );
    guest.until("its end", |g| g.ended.contains(&other).then_some(()));
    let answer = String::from_utf8_lossy(&guest.received[&other]).into_owned();
    assert!(answer.contains("404 Not Found"), "{answer}");

    let stream = reached(&mut guest, "tcp/127.0.0.1/7777", b"from outside");
    // Not before: nc ends with its input, whatever it has still to say.
    guest.mux.fin(stream);
    guest.until("its end", |g| g.ended.contains(&stream).then_some(()));
    assert_eq!(guest.received[&stream], b"hello\n");
    assert_eq!(guest.whole(out), "from outside");
}

/// A stream of that name that has said this and been answered, as soon as somebody listens.
fn reached(guest: &mut Guest, name: &str, says: &[u8]) -> u32 {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "nobody listens: {:?}", guest.received);
        let stream = guest.open(name);
        guest.mux.send(stream, says);
        let answered = guest.until("an answer", |g| {
            let answered = g.received.contains_key(&stream);
            (answered || g.aborted.contains_key(&stream)).then_some(answered)
        });
        if answered {
            return stream;
        }
    }
}

#[test]
fn a_share_whose_server_goes_away_is_an_error() {
    let mut guest = Guest::revived();
    let request = MountRequest {
        target: "/run/trine/share".to_owned(),
        source: Some(Source {
            what: Some(What::Share(Share {
                name: "s".to_owned(),
            })),
            read_only: false,
        }),
    };
    let number = guest.ask("Mount", &request);
    let (id, name) = guest.until("the share's stream", |g| g.opened.pop());
    assert_eq!(name, "9p/s");
    guest.mux.abort(id, "no such share");
    let refused = guest.answer::<()>(number).expect_err("no server");
    assert!(
        refused.message.contains("/run/trine/share"),
        "{}",
        refused.message
    );
}
