//! A guest that does not keep to the protocol: only its own connection may suffer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::io::{Read, Write};

use trine_testing::Random;

use harness::{Client, MSIZE, Server, body};

/// Whether the server has hung up.
fn is_closed(client: &mut Client) -> bool {
    matches!(client.stream.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let server = Server::start("framing");
    let too_long = (MSIZE + 1).to_le_bytes();
    for bytes in [
        &[0, 0, 0, 0, 100, 0, 0][..],
        &[6, 0, 0, 0, 100, 0, 0],
        &[255; 7],
    ] {
        let mut client = Client::new(server.connect());
        client.stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut client), "{bytes:?}");
    }
    let mut client = server.client();
    client
        .stream
        .write_all(&[too_long[0], too_long[1], too_long[2], too_long[3], 24, 0, 0])
        .unwrap();
    assert!(is_closed(&mut client));
    // Before Tversion, and a second one.
    let mut client = Client::new(server.connect());
    client.send(24, 1, &body().u32(0).u64(0)).unwrap();
    assert!(is_closed(&mut client));
    let mut client = server.client();
    client
        .send(100, 1, &body().u32(MSIZE).s("9P2000.L"))
        .unwrap();
    assert!(is_closed(&mut client));
    server.client().cat("nothing").unwrap_err();
}

#[test]
fn the_size_of_messages_is_agreed_within_limits() {
    let server = Server::start("version");
    let mut client = Client::new(server.connect());
    assert_eq!(
        client.call(100, body().u32(4096).s("9P2000.L")).err(),
        Some(libc::EMSGSIZE)
    );
    let answer = client.call(100, body().u32(65536).s("9P2000")).unwrap();
    assert_eq!(&answer.0[6..], b"unknown");
    assert_eq!(client.version(u32::MAX), MSIZE);
    let mut client = Client::new(server.connect());
    assert_eq!(client.version(8192), 8192);
    client.attach(0, 0, "").unwrap();
    fs::write(server.share("f"), vec![1; 100_000]).unwrap();
    client.walk(0, 1, "f").unwrap();
    client.open(1, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(1, 0, u32::MAX).unwrap().len(), 8192 - 11);
}

#[test]
fn numbers_are_bounded() {
    let mut server = Server::start("bounds");
    let mut client = server.client();
    // Tags are 16 bits and answers come in any order: one at a time here.
    let mut errno = 0;
    for fid in 1..70_000 {
        if let Err(error) = client.walk(0, fid, "") {
            errno = error;
            assert!(fid >= 65_536, "{fid}");
            break;
        }
    }
    assert_eq!(errno, libc::ENFILE);
    let mut walk = body().u32(0).u32(99_999).u16(17);
    for _ in 0..17 {
        walk = walk.s("a");
    }
    assert_eq!(client.call(110, walk).err(), Some(libc::EINVAL));
    assert!(server.is_alive());
}

#[test]
fn descriptors_run_out_for_one_client_and_come_back() {
    let server = Server::start("descriptors");
    fs::write(server.share("f"), "x").unwrap();
    let mut greedy = server.client();
    let mut refused = None;
    for fid in 1..65_536 {
        if let Err(error) = greedy.walk(0, fid, "f") {
            refused = Some(error);
            break;
        }
    }
    // Where the host grants as many as there may be fids, none is refused.
    assert!(matches!(refused, None | Some(libc::ENFILE)), "{refused:?}");
    drop(greedy);
    // Its end is noticed in its own time.
    let mut client = (0..1000).find_map(|_| {
        let mut client = Client::new(server.connect());
        client.version(MSIZE);
        client.attach(0, 0, "").ok().map(|_| client)
    });
    assert_eq!(client.as_mut().unwrap().cat("f").unwrap(), b"x");
}

#[test]
fn too_many_connections_are_refused_and_others_served() {
    let server = Server::start("connections");
    let mut clients: Vec<Client> = (0..64).map(|_| server.client()).collect();
    assert!(is_closed(&mut Client::new(server.connect())));
    clients[63].attr(0).unwrap();
    clients[0].attr(0).unwrap();
}

#[test]
fn attributes_under_way_are_bounded_in_memory() {
    let server = Server::start("attributes");
    fs::write(server.share("f"), "").unwrap();
    let mut client = server.client();
    let mut refused = 0;
    for fid in 1..200 {
        client.walk(0, fid, "f").unwrap();
        let create = client.call(32, body().u32(fid).s("user.a").u64(65_536).u32(0));
        refused += i32::from(create.err() == Some(libc::ENOBUFS));
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_client_that_takes_no_answers_holds_up_nobody() {
    let server = Server::start("stalled");
    fs::write(server.share("big"), vec![7; 400_000]).unwrap();
    let mut stalled = server.client();
    stalled.walk(0, 1, "big").unwrap();
    stalled.open(1, libc::O_RDONLY).unwrap();
    stalled.stream.set_nonblocking(true).unwrap();
    // As many requests as the socket takes; no answer is read.
    let mut sent = 0u16;
    while sent < 20_000
        && stalled
            .send(116, sent, &body().u32(1).u64(0).u32(400_000))
            .is_ok()
    {
        sent += 1;
    }
    // Half a request, on top.
    let mut half = server.client();
    half.stream.write_all(&[23, 0, 0]).unwrap();
    let mut other = server.client();
    for _ in 0..100 {
        assert_eq!(other.cat("big").unwrap().len(), 400_000);
    }
    stalled.stream.set_nonblocking(false).unwrap();
    for _ in 0..10 {
        assert_eq!(stalled.receive().unwrap().2.at_u32(0), 400_000);
    }
    half.stream.write_all(&[0, 24, 9, 0]).unwrap();
    half.stream
        .write_all(&body().u32(0).u64(0).u32(0).0)
        .unwrap();
    assert_eq!(half.receive().unwrap().1, 9);
}

#[test]
fn requests_are_pipelined_and_flushed() {
    let server = Server::start("pipeline");
    fs::write(server.share("f"), vec![3; 300_000]).unwrap();
    let mut client = server.client();
    client.walk(0, 1, "f").unwrap();
    client.open(1, libc::O_RDONLY).unwrap();
    for round in 0..200u16 {
        let reads = 4;
        for tag in 0..reads {
            client
                .send(116, tag, &body().u32(1).u64(tag.into()).u32(10_000))
                .unwrap();
        }
        client.send(108, 50, &body().u16(round % 5)).unwrap();
        let mut tags: Vec<u16> = (0..=reads).map(|_| client.receive().unwrap().1).collect();
        let of = |tag: u16| tags.iter().position(|t| *t == tag).unwrap();
        if round % 5 < reads {
            assert!(
                of(round % 5) < of(50),
                "the flushed request's answer comes first"
            );
        }
        tags.sort_unstable();
        assert_eq!(tags, [0, 1, 2, 3, 50]);
    }
}

#[test]
fn noise_is_answered_or_ends_the_connection() {
    let mut server = Server::start("noise");
    fs::create_dir(server.share("d")).unwrap();
    fs::write(server.share("f"), "x").unwrap();
    fs::write(server.dir.join("outside"), "y").unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    const KINDS: [u8; 30] = [
        8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 102, 104, 108,
        110, 116, 118, 120, 122, 0, 255, 9,
    ];
    for _ in 0..40 {
        let mut client = server.client();
        for fid in 1..6 {
            client.walk(0, fid, ["", "d", "f"][fid as usize % 3]).ok();
        }
        for round in 0..250u16 {
            let kind = KINDS[random.below(KINDS.len())];
            let mut noise = body();
            for _ in 0..random.below(8) {
                noise = match random.below(7) {
                    0 => noise.u8(random.draw() as u8),
                    1 => noise.u16(random.below(20) as u16),
                    2 => noise.u32(random.below(8) as u32),
                    3 => noise.u64(random.draw()),
                    4 => noise.u32(random.draw() as u32),
                    5 => noise.s(["d", "f", "..", "g", "../outside"][random.below(5)]),
                    _ => noise.u64(0),
                };
            }
            client.send(kind, round, &noise).unwrap();
            // A flush of what is not there, or cut short, is the one thing without its own answer.
            match client.receive() {
                Ok((_, tag, _)) => assert_eq!(tag, round),
                Err(_) => break,
            }
        }
    }
    assert!(server.is_alive());
    assert_eq!(fs::read(server.dir.join("outside")).unwrap(), b"y");
    server.client().attr(0).unwrap();
}
