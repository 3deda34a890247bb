//! Ports of containers at the localhost of a whole machine's guest.

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
use std::process::Command;
use std::time::Duration;

use harness::Guest;

const NAME: &str = "tcp/127.0.0.1/8081";

/// A program has the port 8080 before the agent is there.
fn guest() -> (Guest, TcpListener) {
    let started = std::thread::spawn(|| {
        // SAFETY: takes no pointers; only this thread is moved.
        let alone = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(alone, 0);
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
        let program = TcpListener::bind("0.0.0.0:8080").expect("it is free");
        let guest = Guest::in_own_network("--machine --ports 8080,8081");
        (guest, program)
    });
    started.join().expect("started")
}

fn connect(guest: &mut Guest, address: &'static str) -> TcpStream {
    let client = guest.until("a connection", |guest| {
        guest.in_network(move || TcpStream::connect(address).ok())
    });
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    client
}

/// The stream that was opened for a connection.
fn opened(guest: &mut Guest, name: &str) -> u32 {
    guest.until(name, |guest| {
        let at = guest.opened.iter().position(|(_, opened)| opened == name)?;
        Some(guest.opened.remove(at).0)
    })
}

fn flushed(guest: &mut Guest) {
    guest.until("a flushed port", |guest| {
        guest.mux.output().is_empty().then_some(())
    });
}

fn reset(client: &mut TcpStream) {
    let broken = client.read(&mut [0; 1]).expect_err("no end in order");
    assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_is_a_stream_both_ways_on_either_address() {
    let (mut guest, _program) = guest();
    for (address, name) in [("127.0.0.1:8081", NAME), ("[::1]:8081", "tcp/::1/8081")] {
        let mut client = connect(&mut guest, address);
        client.write_all(b"GET").expect("room");
        let id = opened(&mut guest, name);
        guest.until("the request", |guest| {
            (guest.received.get(&id)? == b"GET").then_some(())
        });
        guest.mux.send(id, b"200");
        flushed(&mut guest);
        let mut answer = [0; 3];
        client.read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"200");
        client.shutdown(Shutdown::Write).expect("shut");
        // The host ends its direction then.
        guest.until("the end", |guest| guest.ended.contains(&id).then_some(()));
        flushed(&mut guest);
        assert_eq!(client.read(&mut answer).expect("in order"), 0);
    }
}

#[test]
fn a_programs_port_is_its_own_until_it_ends() {
    let (mut guest, program) = guest();
    let _client = connect(&mut guest, "127.0.0.1:8080");
    program.accept().expect("it is the program's");
    drop(program);
    let _later = connect(&mut guest, "127.0.0.1:8080");
    opened(&mut guest, "tcp/127.0.0.1/8080");
}

#[test]
fn what_the_host_refuses_is_reset_and_so_is_all_with_a_new_link() {
    let (mut guest, _program) = guest();
    let mut refused = connect(&mut guest, "127.0.0.1:8081");
    let id = opened(&mut guest, NAME);
    guest.mux.abort(id, "refused");
    flushed(&mut guest);
    reset(&mut refused);
    let mut before = connect(&mut guest, "127.0.0.1:8081");
    opened(&mut guest, NAME);
    guest.reconnect();
    reset(&mut before);
    let _after = connect(&mut guest, "127.0.0.1:8081");
    opened(&mut guest, NAME);
}
