//! The guest link: processes whose stdio and end are streams of it, clients of its socket, streams the guest opens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use harness::guest_end::{
    Guest, KEY, Machine, dial_in_pod, door, in_pod, machine, serve_forward, spawn_request,
};
use harness::{
    Client, Pod, SHIM, channel, descriptor_of, eventually, fifo_reader, read_until, script,
};
use trine_wire::shim::channel::Kind;
use trine_wire::shim::descriptor::Source;
use trine_wire::shim::event::What;
use trine_wire::{shim, task};

fn attach(id: &str, exec: &str, terminal: bool) -> shim::AttachGuestRequest {
    shim::AttachGuestRequest {
        id: id.into(),
        exec_id: exec.into(),
        guest_container: "c".into(),
        guest_exec: exec.into(),
        terminal,
    }
}

fn stdio(pod: &Pod) -> [String; 3] {
    [pod.fifo("in"), pod.fifo("out"), pod.fifo("err")]
}

/// Reads until all writers have closed, while the guest goes on.
fn read_all(guest: &mut Guest, fifo: &mut File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 65536];
    guest.until("the end of the FIFO", |_| match fifo.read(&mut part) {
        Ok(0) => Some(()),
        Ok(count) => {
            all.extend_from_slice(&part[..count]);
            None
        }
        Err(_) => None,
    });
    all
}

/// A running task whose process in the guest is `c`, containerd's end of it, and its stdout.
struct Attached {
    out: File,
    containerd: Client,
    wait: u32,
    _relay: Client,
}

fn attached(m: &mut Machine, terminal: bool) -> Attached {
    let paths = stdio(&m.pod);
    let out = fifo_reader(&paths[1]);
    let (mut containerd, relay) = m.pod.running_task("ctr1", &paths, terminal);
    let request = attach("ctr1", "", terminal);
    m.trined.shim::<()>("AttachGuest", &request);
    Attached {
        out,
        wait: containerd.send_wait("ctr1"),
        containerd,
        _relay: relay,
    }
}

fn kill_machine(machine: &mut Machine) {
    let signal = shim::SignalRequest {
        key: KEY.into(),
        signal: 9,
    };
    machine.trined.shim::<()>("Signal", &signal);
}

#[test]
fn stdio_and_end_of_a_process_go_over_the_link_also_without_trined() {
    let mut m = machine("stdio");
    let paths = stdio(&m.pod);
    let (mut out, mut err) = (fifo_reader(&paths[1]), fifo_reader(&paths[2]));
    let (mut containerd, relay) = m.pod.running_task("ctr1", &paths, false);
    for _ in 0..2 {
        m.trined
            .shim::<()>("AttachGuest", &attach("ctr1", "", false));
    }
    let other = attach("ctr1", "other", false);
    assert!(m.trined.call::<()>(SHIM, "AttachGuest", &other).is_err());
    let stdin = m.guest.opened("stdin/c/");
    assert_eq!(m.guest.names.len(), 4);

    // trined goes away and nobody notices.
    drop(relay);
    drop(m.trined);
    let wait = containerd.send_wait("ctr1");
    let mut writer = OpenOptions::new().write(true).open(&paths[0]).unwrap();
    writer.write_all(b"typed").unwrap();
    m.guest.hear(stdin, b"typed");
    assert!(!m.guest.mux.at_end(stdin));
    let close = task::CloseIoRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
        stdin: true,
    };
    writer.write_all(b" more").unwrap();
    containerd.task::<()>("CloseIO", &close);
    m.guest.hear(stdin, b" more");
    m.guest
        .until("its end", |g| g.mux.at_end(stdin).then_some(()));

    let printed: Vec<u8> = (0..300_000u32).flat_map(u32::to_be_bytes).collect();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        harness::read_until(&mut err, "oops");
        eventually("all", || {
            let mut part = [0; 65536];
            if let Ok(count) = out.read(&mut part) {
                all.extend_from_slice(&part[..count]);
            }
            (all.len() == 1_200_000).then_some(())
        });
        (out, all)
    });
    m.guest.say("stderr/c/", b"oops");
    m.guest.say("stdout/c/", &printed);
    m.guest.exit("c/", 7, false);
    m.guest.fin("stdout/c/");
    m.guest.fin("stderr/c/");
    let (mut out, all) = reader.join().unwrap();
    assert!(all == printed);
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 7);
    assert!(read_all(&mut m.guest, &mut out).is_empty());

    // The next trined finds what happened.
    let mut trined = m.pod.connect();
    let request = shim::EventsRequest {
        after: 0,
        wait_ms: 5000,
    };
    let events: shim::EventsResponse = trined.shim("Events", &request);
    let ended = |event: &shim::Event| matches!(&event.what, Some(What::ProcessExited(p)) if p.exit_status == 7);
    assert!(events.events.iter().any(ended));
}

#[test]
fn a_reader_that_stands_still_holds_up_neither_the_end_nor_others() {
    let mut m = machine("still");
    let mut web = attached(&mut m, false);
    // More than the FIFO holds, less than it and the windows do.
    m.guest.say("stdout/c/", &[b'x'; 200_000]);
    m.guest.fin("stdout/c/");
    m.guest.exit("c/", 0, false);
    web.containerd
        .answer::<task::WaitResponse>(web.wait)
        .unwrap();
    assert_eq!(read_all(&mut m.guest, &mut web.out).len(), 200_000);
}

#[test]
fn an_end_for_want_of_memory_is_noted_in_the_bundle_for_who_takes_no_events() {
    let mut m = machine("oom");
    let bundle = m.pod.container_bundle("ctr1");
    let mut web = attached(&mut m, false);
    m.guest.fin("stdout/c/");
    m.guest.exit("c/", 137, true);
    let waited: task::WaitResponse = web.containerd.answer(web.wait).unwrap();
    assert_eq!(waited.exit_status, 137);
    assert!(bundle.join("oom").exists());
}

#[test]
fn a_child_that_keeps_stdout_open_does_not_hold_up_the_end() {
    let mut m = machine("grandchild");
    let mut web = attached(&mut m, false);
    m.guest.say("stdout/c/", b"last");
    m.guest.exit("c/", 3, false);
    let waited: task::WaitResponse = web.containerd.answer(web.wait).unwrap();
    assert_eq!(waited.exit_status, 3);
    // The FIFO is given up once nothing has come for a while, and the guest is told.
    assert_eq!(read_all(&mut m.guest, &mut web.out), b"last");
    let id = m.guest.opened("stdout/c/");
    m.guest.until("the abort", |g| g.aborted.remove(&id));
}

#[test]
fn a_terminal_has_one_output_and_its_size_is_passed_on() {
    let mut m = machine("tty");
    let mut web = attached(&mut m, true);
    m.guest.say("stdout/c/", b"$ ");
    read_until(&mut web.out, "$ ");
    m.guest.opened("stdin/c/");
    assert!(!m.guest.names.contains_key("stderr/c/"));
    let resize = task::ResizePtyRequest {
        id: "ctr1".into(),
        exec_id: String::new(),
        width: 80,
        height: 25,
    };
    web.containerd.task::<()>("ResizePty", &resize);
    let request = shim::EventsRequest {
        after: 0,
        wait_ms: 5000,
    };
    let events: shim::EventsResponse = m.trined.shim("Events", &request);
    let resized = |event: &shim::Event| matches!(&event.what, Some(What::Resize(r)) if r.width == 80 && r.exec_id.is_empty());
    assert!(events.events.iter().any(resized));
}

#[test]
fn with_its_machine_every_process_ends() {
    let mut m = machine("lost");
    let mut web = attached(&mut m, false);
    m.guest.say("stdout/c/", b"almost");
    kill_machine(&mut m);
    let waited: task::WaitResponse = web.containerd.answer(web.wait).unwrap();
    assert_eq!(waited.exit_status, 137);
    // What has come is still read, even after trined has forgotten the machine.
    let reap = shim::ReapRequest { key: KEY.into() };
    m.trined.shim::<()>("Reap", &reap);
    assert!(!door(&m.pod).exists());
    assert_eq!(read_all(&mut m.guest, &mut web.out), b"almost");
    assert!(
        m.trined
            .call::<()>(SHIM, "AttachGuest", &attach("ctr1", "", false))
            .is_ok()
    );
}

/// Ends a process of the guest by it; answers what is then said of the machine.
fn break_the_rules(m: &mut Machine) -> shim::Child {
    let (mut containerd, _relay) = m.pod.running_task("ctr1", &stdio(&m.pod), false);
    m.trined
        .shim::<()>("AttachGuest", &attach("ctr1", "", false));
    m.guest.opened("exit/c/");
    let wait = containerd.send_wait("ctr1");
    m.guest.port.write_all(&[0xff; 64]).unwrap();
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 137);
    let mut described: shim::DescribeResponse =
        m.trined.shim("Describe", &shim::DescribeRequest {});
    described.children.remove(0)
}

#[test]
fn a_guest_that_breaks_the_rules_loses_its_machine() {
    let mut m = machine("rules");
    let child = break_the_rules(&mut m);
    assert_eq!(child.reason, "guest-link");
}

#[test]
fn a_process_the_guest_does_not_know_has_ended() {
    let mut m = machine("unknown");
    let (mut containerd, _relay) = m.pod.running_task("ctr1", &stdio(&m.pod), false);
    let wait = containerd.send_wait("ctr1");
    m.trined
        .shim::<()>("AttachGuest", &attach("ctr1", "", false));
    for part in ["exit/c/", "stdout/c/", "stderr/c/", "stdin/c/"] {
        let id = m.guest.opened(part);
        m.guest.mux.abort(id, "no such process\n");
    }
    m.guest.pump();
    let waited: task::WaitResponse = containerd.answer(wait).unwrap();
    assert_eq!(waited.exit_status, 137);
}

fn client(machine: &Machine, name: &str) -> UnixStream {
    let mut stream = UnixStream::connect(door(&machine.pod)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(name.as_bytes()).unwrap();
    stream.write_all(b"\n").unwrap();
    stream
}

#[test]
fn a_client_of_the_socket_gets_a_stream_of_its_own() {
    let mut m = machine("door");
    let mode = fs::metadata(door(&m.pod)).unwrap();
    assert!(mode.file_type().is_socket() && mode.permissions().mode() & 0o777 == 0o600);
    let mut rpc = client(&m, "rpc");
    let mut idle = client(&m, "tcp/127.0.0.1/80");
    rpc.write_all(b"question").unwrap();
    let id = m.guest.opened("rpc");
    m.guest.hear(id, b"question");
    m.guest.say("rpc", b"answer");
    let mut answer = [0; 6];
    rpc.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    // Each direction ends by itself.
    rpc.shutdown(std::net::Shutdown::Write).unwrap();
    m.guest.until("its end", |g| g.mux.at_end(id).then_some(()));
    m.guest.say("rpc", b"bye");
    m.guest.fin("rpc");
    let mut rest = Vec::new();
    rpc.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
    // An abort is the end of the connection.
    let other = m.guest.opened("tcp/127.0.0.1/80");
    m.guest.mux.abort(other, "refused");
    m.guest.pump();
    assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0);
    // And so is a name that never ends.
    let mut long = UnixStream::connect(door(&m.pod)).unwrap();
    let _ = long.write_all(&[b'x'; 1026]); // the shim may have closed it by then
    assert!(matches!(long.read(&mut [0; 9]), Ok(0) | Err(_)));
}

#[test]
fn a_client_that_does_not_read_holds_up_no_other() {
    let mut m = machine("slow-client");
    let _slow = client(&m, "slow");
    let mut quick = client(&m, "quick");
    quick.set_nonblocking(true).unwrap();
    let slow = m.guest.opened("slow");
    m.guest.opened("quick");
    for _ in 0..50 {
        while m.guest.mux.send(slow, &[1; 65536]) > 0 {
            m.guest.pump();
        }
        m.guest.say("quick", &[2; 1000]);
        let mut got = Vec::new();
        m.guest.until("the quick one's bytes", |_| {
            let mut part = [0; 1000];
            if let Ok(count) = quick.read(&mut part) {
                got.extend_from_slice(&part[..count]);
            }
            (got == [2; 1000]).then_some(())
        });
    }
}

/// A machine whose monitor says `event` when the channel `end` is written to.
fn machine_that_tells(name: &str, event: &str, guest_is_free: bool) -> Machine {
    let pod = Pod::started(name);
    let mut trined = pod.connect();
    let mut request = spawn_request(&pod);
    request.argv[2] = format!(r"read go <&4; printf '{event}\r\n' >&5; read end <&4");
    let monitor = shim::Channel {
        name: "qmp".into(),
        kind: Kind::Monitor as i32,
        ..Default::default()
    };
    request.descriptors.push(channel(5, monitor));
    if let Some(Source::Channel(link)) = &mut request.descriptors[0].source {
        link.guest_is_free = guest_is_free;
    }
    let spawned: shim::SpawnResponse = trined.shim("Spawn", &request);
    let mut guest = Guest::new(spawned.pid);
    guest.until("the link", |guest| (guest.ready == 1).then_some(()));
    Machine { pod, guest, trined }
}

fn tell(machine: &mut Machine) {
    let go = shim::WriteChannelRequest {
        name: "end".into(),
        offset: 0,
        data: b"go\n".to_vec(),
    };
    machine
        .trined
        .shim::<shim::WriteChannelResponse>("WriteChannel", &go);
}

#[test]
fn after_a_reset_of_the_machine_the_link_is_opened_again() {
    let event = r#"{"event":"RESET","data":{"reason":"guest-reset"}}"#;
    let mut m = machine_that_tells("reset", event, false);
    let mut before = client(&m, "rpc");
    m.guest.opened("rpc");
    m.guest.reboot();
    tell(&mut m);
    assert_eq!(before.read(&mut [0; 9]).unwrap(), 0);
    // One that comes too early waits for the link, and may go again.
    let mut gone = client(&m, "gone");
    gone.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(gone.read(&mut [0; 9]), Ok(0)));
    let mut early = client(&m, "rpc");
    m.guest
        .until("the link", |guest| (guest.ready == 2).then_some(()));
    m.guest.say("rpc", b"hello again");
    assert!(!m.guest.names.contains_key("gone"));
    let mut got = [0; 11];
    early.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello again");
}

#[test]
fn an_owners_guest_may_break_the_link_and_open_its_port_again() {
    let event = r#"{"event":"VSERPORT_CHANGE","data":{"open":true,"id":"guest-link0"}}"#;
    let mut m = machine_that_tells("free", event, true);
    let child = break_the_rules(&mut m);
    assert!(child.running);
    m.guest.reboot();
    tell(&mut m);
    let mut after = client(&m, "rpc");
    m.guest
        .until("the link", |guest| (guest.ready == 2).then_some(()));
    m.guest.say("rpc", b"another");
    let mut got = [0; 7];
    after.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"another");
}

#[test]
fn streams_of_the_guest_go_to_who_serves_them() {
    let mut m = machine("serves");
    let path = m.pod.dir.join("9p.sock");
    let mut server = script("9p", "", "read end <&4");
    server.descriptors = vec![
        shim::Descriptor {
            number: 3,
            source: Some(Source::Listen(shim::Listen {
                path: path.to_string_lossy().into_owned(),
                mode: 0o600,
                serves: "9p".into(),
            })),
            ..Default::default()
        },
        channel(
            4,
            shim::Channel {
                name: "9p-end".into(),
                ..Default::default()
            },
        ),
    ];
    let spawned: shim::SpawnResponse = m.trined.shim("Spawn", &server);
    let unknown = m.guest.mux.open("passwd/etc").unwrap();
    m.guest
        .until("the refusal", |g| g.aborted.get(&unknown).cloned());
    let id = m.guest.mux.open("9p/root").unwrap();
    m.guest.mux.send(id, b"Tversion");
    m.guest.pump();
    let listener = std::os::unix::net::UnixListener::from(descriptor_of(spawned.pid, 3));
    let (mut served, _) = listener.accept().unwrap();
    served.set_nonblocking(true).unwrap();
    let mut got = [0; 8];
    m.guest
        .until("the request", |_| served.read_exact(&mut got).ok());
    assert_eq!(&got, b"Tversion");
    served.write_all(b"Rversion").unwrap();
    m.guest.hear(id, b"Rversion");
    // With its server gone, a stream is refused.
    drop(listener);
    m.trined.shim::<()>(
        "Signal",
        &shim::SignalRequest {
            key: "9p".into(),
            signal: 9,
        },
    );
    let later = m.guest.until("the refusal", |g| {
        let id = g.mux.open("9p/root").ok()?;
        g.pump();
        std::thread::sleep(Duration::from_millis(10));
        g.pump();
        g.aborted.get(&id).cloned()
    });
    assert!(!later.is_empty());
}

/// At the address that port-forward goes to without an agent.
fn service_in_pod(pod: &Pod) -> TcpListener {
    let service = in_pod(pod, || TcpListener::bind(("127.0.0.2", 8080)).unwrap());
    service.set_nonblocking(true).unwrap();
    service
}

fn accept(service: &TcpListener) -> TcpStream {
    let (accepted, _) = eventually("a connection", || service.accept().ok());
    accepted.set_nonblocking(false).unwrap();
    accepted
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    accepted
}

#[test]
fn port_forward_of_an_owners_guest_goes_through_its_agent_while_that_is_there() {
    let event = r#"{"event":"VSERPORT_CHANGE","data":{"open":false,"id":"guest-link0"}}"#;
    let mut m = machine_that_tells("agent", event, true);
    let forward = shim::ServeForwardRequest {
        target: "127.0.0.2".into(),
        ..Default::default()
    };
    serve_forward(&mut m, &forward);
    let service = service_in_pod(&m.pod);
    let mut through_agent = dial_in_pod(&m.pod, 8080);
    let name = "tcp/127.0.0.1,::1,127.0.0.2/8080";
    m.guest.opened(name);
    m.guest.say(name, b"guest");
    let mut got = [0; 5];
    through_agent.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"guest");
    tell(&mut m);
    // The agent is gone, and what it carried with it.
    match through_agent.read(&mut got) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
    let mut to_address = dial_in_pod(&m.pod, 8080);
    let mut accepted = accept(&service);
    accepted.write_all(b"there").unwrap();
    to_address.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"there");
}

#[test]
fn port_forward_does_not_wait_for_an_agent_that_holds_its_port_and_does_not_run() {
    let mut m = machine_that_tells("stuck", "{}", true);
    let forward = shim::ServeForwardRequest {
        target: "127.0.0.2".into(),
        ..Default::default()
    };
    serve_forward(&mut m, &forward);
    let service = service_in_pod(&m.pod);
    let mut client = dial_in_pod(&m.pod, 8080);
    client.write_all(b"GET").unwrap();
    let mut accepted = accept(&service);
    let mut got = [0; 3];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"GET");
    accepted.write_all(b"200").unwrap();
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"200");
    // When it runs again it finds that nobody waits for it.
    let id = m.guest.opened("tcp/127.0.0.1,::1,127.0.0.2/8080");
    m.guest
        .until("the abort", |guest| guest.aborted.get(&id).cloned());
}

#[test]
fn port_forward_goes_through_the_guest() {
    let mut m = machine("forward");
    let forward = shim::ServeForwardRequest {
        through_guest: true,
        ..Default::default()
    };
    serve_forward(&mut m, &forward);
    let mut client = dial_in_pod(&m.pod, 8080);
    let name = "tcp/127.0.0.1,::1/8080";
    let id = m.guest.opened(name);
    client.write_all(b"GET").unwrap();
    m.guest.hear(id, b"GET");
    m.guest.say(name, b"200");
    m.guest.fin(name);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"200");
    // What the guest refuses, the client sees refused.
    let mut refused = dial_in_pod(&m.pod, 81);
    let id = m.guest.opened("tcp/127.0.0.1,::1/81");
    m.guest.mux.abort(id, "connection refused");
    m.guest.pump();
    assert!(refused.read(&mut [0; 9]).is_err());
}
