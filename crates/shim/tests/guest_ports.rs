//! Ports of containers that a guest reaches over its link: those that were given, and no others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use harness::guest_end::{Guest, Machine, dial_in_pod, in_pod, serve_forward, spawn_request};
use harness::{Pod, SHIM, eventually};
use trine_wire::shim;
use trine_wire::shim::descriptor::Source;

const PORT: u16 = 8080;
const NAME: &str = "tcp/127.0.0.1/8080";

fn request(pod: &Pod, ports: &[u32]) -> shim::SpawnRequest {
    let mut request = spawn_request(pod);
    if let Some(Source::Channel(link)) = &mut request.descriptors[0].source {
        link.guest_ports = ports.to_vec();
        link.guest_is_free = true;
    }
    request
}

fn machine(name: &str) -> Machine {
    let pod = Pod::started(name);
    let mut trined = pod.connect();
    let spawned: shim::SpawnResponse = trined.shim("Spawn", &request(&pod, &[PORT.into()]));
    let mut guest = Guest::new(spawned.pid);
    guest.until("the link", |guest| (guest.ready == 1).then_some(()));
    Machine { pod, guest, trined }
}

/// A container's service.
fn service(pod: &Pod, address: &'static str) -> TcpListener {
    let service = in_pod(pod, move || TcpListener::bind(address).unwrap());
    service.set_nonblocking(true).unwrap();
    service
}

fn accept(guest: &mut Guest, service: &TcpListener) -> TcpStream {
    let (accepted, _) = guest.until("a connection", |_| service.accept().ok());
    accepted.set_nonblocking(false).unwrap();
    accepted
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    accepted
}

fn refusal(guest: &mut Guest, name: &str) -> String {
    let id = guest.mux.open(name).unwrap();
    guest.until("the refusal", |guest| guest.aborted.remove(&id))
}

#[test]
fn bytes_go_both_ways_each_ends_by_itself_also_without_trined() {
    let mut m = machine("port");
    drop(m.trined);
    for (address, name) in [("127.0.0.1:8080", NAME), ("[::1]:8080", "tcp/::1/8080")] {
        let service = service(&m.pod, address);
        let id = m.guest.mux.open(name).unwrap();
        m.guest.mux.send(id, b"GET");
        let mut accepted = accept(&mut m.guest, &service);
        let mut got = [0; 3];
        m.guest.pump();
        accepted.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"GET");
        m.guest.mux.fin(id);
        m.guest.flushed();
        assert_eq!(accepted.read(&mut got).unwrap(), 0);
        accepted.write_all(b"200").unwrap();
        m.guest.hear(id, b"200");
        drop(accepted);
        m.guest.until("its end", |g| g.mux.at_end(id).then_some(()));
    }
}

#[test]
fn who_breaks_off_is_heard_at_the_other_end() {
    let mut m = machine("broken");
    // Nobody listens.
    refusal(&mut m.guest, NAME);
    let service = service(&m.pod, "127.0.0.1:8080");
    let id = m.guest.mux.open(NAME).unwrap();
    m.guest.mux.send(id, b"GET");
    let accepted = accept(&mut m.guest, &service);
    // With bytes unread this is a reset.
    eventually("its bytes", || {
        m.guest.pump();
        (accepted.peek(&mut [0; 3]).ok()? == 3).then_some(())
    });
    drop(accepted);
    m.guest.until("the end", |guest| guest.aborted.remove(&id));

    let id = m.guest.mux.open(NAME).unwrap();
    let mut accepted = accept(&mut m.guest, &service);
    m.guest.mux.abort(id, "gone");
    m.guest.flushed();
    let broken = accepted.read(&mut [0; 3]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_hostile_guest_reaches_nothing_that_was_not_given() {
    let mut m = machine("hostile");
    let other = service(&m.pod, "0.0.0.0:8081");
    let given = service(&m.pod, "0.0.0.0:8080");
    for name in [
        "tcp/127.0.0.1/8081",
        "tcp/127.0.0.2/8080",
        "tcp/0.0.0.0/8080",
        "tcp/127.0.0.1,127.0.0.2/8080",
        "tcp/127.0.0.1/8080/",
        "tcp/localhost/8080",
        "tcp//8080",
        "tcp",
    ] {
        let why = refusal(&mut m.guest, name);
        assert_eq!(why, "no such port is a container's", "{name}");
    }
    for service in [other, given] {
        assert_eq!(service.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // Nor more connections than there may be; others go on.
    let service = service(&m.pod, "127.0.0.1:8080");
    let mut accepted = Vec::new();
    for _ in 0..256 {
        m.guest.mux.open(NAME).unwrap();
        accepted.push(accept(&mut m.guest, &service));
    }
    assert_eq!(refusal(&mut m.guest, NAME), "too many connections");
    let first = accepted.remove(0);
    first.shutdown(Shutdown::Both).unwrap();
    let id = m.guest.until("room for one more", |guest| {
        let id = guest.mux.open(NAME).ok()?;
        guest.mux.send(id, b"x");
        for _ in 0..10 {
            guest.pump();
            std::thread::yield_now();
        }
        (!guest.aborted.contains_key(&id)).then_some(id)
    });
    assert!(id > 0);
}

#[test]
fn what_is_for_localhost_is_never_carried_in_a_circle() {
    let mut m = machine("circle");
    let forward = shim::ServeForwardRequest {
        target: "127.0.0.2".into(),
        ..Default::default()
    };
    serve_forward(&mut m, &forward);
    // Of the guest, and of a container: nobody listens, so it comes to the shim.
    refusal(&mut m.guest, NAME);
    let mut client = dial_in_pod(&m.pod, PORT);
    assert!(client.read(&mut [0; 3]).is_err());
    let _other = dial_in_pod(&m.pod, 81);
    m.guest.opened("tcp/127.0.0.1,::1,127.0.0.2/81");
    assert_eq!(m.guest.names.len(), 1);
}

#[test]
fn ports_that_are_none_fail_the_spawn() {
    let pod = Pod::started("none");
    let mut trined = pod.connect();
    for bad in [vec![0], vec![65536], vec![80; 65]] {
        let refused = trined.call::<shim::SpawnResponse>(SHIM, "Spawn", &request(&pod, &bad));
        assert!(refused.unwrap_err().message.contains("guest_ports"));
    }
}
