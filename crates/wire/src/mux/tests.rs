use super::*;
use trine_testing::Random;

const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

fn take(from: &mut Mux) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let out = from.output();
        if out.is_empty() {
            return all;
        }
        let count = out.len();
        all.extend_from_slice(out);
        from.written(count);
    }
}

/// Carries bytes both ways until there are none.
fn settle(host: &mut Mux, guest: &mut Mux) {
    loop {
        let (down, up) = (take(host), take(guest));
        if down.is_empty() && up.is_empty() {
            return;
        }
        guest.receive(&down);
        host.receive(&up);
    }
}

fn events(of: &mut Mux) -> Vec<Event> {
    std::iter::from_fn(|| of.poll_event()).collect()
}

fn pair() -> (Mux, Mux) {
    let (mut host, mut guest) = (Mux::host(NONCE), Mux::guest());
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Ready]);
    assert_eq!(events(&mut guest), [Event::Ready]);
    (host, guest)
}

fn frame(id: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn open_frame(id: u32, credit: u32, name: &[u8]) -> Vec<u8> {
    frame(id, OPEN, &[&credit.to_be_bytes(), name].concat())
}

fn read_all(from: &mut Mux, id: u32) -> Vec<u8> {
    let mut all = Vec::new();
    while !from.data(id).is_empty() {
        let data = from.data(id).to_vec();
        from.consume(id, data.len());
        all.extend(data);
    }
    all
}

/// Also what a stream may hold at its end.
fn held(mux: &Mux) -> usize {
    let streams = mux.streams.values();
    let streams: usize = streams.map(Stream::memory).sum();
    streams + mux.out.capacity() + mux.control.capacity()
}

#[test]
fn a_stream_goes_both_ways_and_ends_one_way_at_a_time() {
    let (mut host, mut guest) = pair();
    let id = host.open("rpc").unwrap();
    assert_eq!(host.send(id, b"ping"), 4);
    host.fin(id);
    assert_eq!(host.send(id, b"late"), 0);
    settle(&mut host, &mut guest);
    let opened = Event::Opened {
        id,
        name: "rpc".into(),
    };
    assert_eq!(events(&mut guest), [opened, Event::Readable(id)]);
    assert!(!guest.at_end(id));
    assert_eq!(read_all(&mut guest, id), b"ping");
    assert!(guest.at_end(id));
    guest.send(id, b"pong");
    guest.fin(id);
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Readable(id)]);
    assert_eq!(read_all(&mut host, id), b"pong");
    assert!(host.at_end(id));
    assert_eq!((host.stream_count(), guest.stream_count()), (0, 0));
}

#[test]
fn who_asks_for_an_answer_is_told_of_it_once() {
    let (mut host, mut guest) = pair();
    let id = host.open("tcp").unwrap();
    assert!(!host.is_answered(id));
    let bytes = take(&mut host);
    assert!(!host.is_answered(id));
    guest.receive(&bytes);
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Writable(id)]);
    assert!(host.is_answered(id));
    host.receive(&frame(id, CREDIT, &1u32.to_be_bytes()));
    assert_eq!(events(&mut host), []);
    host.abort(id, "done");
    assert!(host.is_answered(id));
}

#[test]
fn ids_have_parity_and_are_never_used_again() {
    let (mut host, mut guest) = pair();
    let ids: Vec<u32> = (0..3).map(|_| host.open("x").unwrap()).collect();
    assert_eq!(ids, [1, 3, 5]);
    assert_eq!(guest.open("9p/x").unwrap(), 2);
    settle(&mut host, &mut guest);
    host.abort(5, "done");
    settle(&mut host, &mut guest);
    assert_eq!(host.open("x").unwrap(), 7);
}

#[test]
fn every_cut_of_the_bytes_gives_the_same_events() {
    let id = 1;
    let bytes = [
        frame(0, HELLO, &[&VERSION.to_be_bytes()[..], &NONCE].concat()),
        open_frame(2, 9, b"9p/a"),
        frame(2, CREDIT, &[0, 0, 1, 0]),
        open_frame(4, 0, b"other"),
        frame(4, ABORT, b"why not"),
        frame(2, FIN, b""),
    ]
    .concat();
    let more = [
        frame(id, DATA, b"some "),
        frame(id, DATA, b""),
        frame(id, CREDIT, &[0, 0, 1, 0]),
        frame(id, DATA, b"bytes"),
        frame(id, FIN, b""),
    ]
    .concat();
    let fed = |cuts: &mut dyn Iterator<Item = usize>| {
        let mut host = Mux::host(NONCE);
        let cuts: Vec<usize> = cuts.collect();
        let feed = |host: &mut Mux, bytes: &[u8]| {
            let mut from = 0;
            for cut in cuts.iter().chain([&bytes.len()]) {
                let to = (*cut).min(bytes.len());
                host.receive(&bytes[from..to]);
                from = to;
            }
        };
        feed(&mut host, &bytes);
        assert_eq!(host.open("stdout/a/b"), Ok(id));
        feed(&mut host, &more);
        (events(&mut host), read_all(&mut host, id))
    };
    let whole = fed(&mut std::iter::empty());
    assert_eq!(whole.1, b"some bytes");
    assert_eq!(whole.0.len(), 6);
    for cut in 0..bytes.len() {
        assert_eq!(fed(&mut [cut].into_iter()), whole);
    }
    assert_eq!(fed(&mut (0..bytes.len())), whole);
}

#[test]
fn the_host_passes_over_what_an_earlier_link_left() {
    let mut host = Mux::host(NONCE);
    let mut random = Random(0xbad);
    let old = frame(0, HELLO, &[&VERSION.to_be_bytes()[..], &[9; 16]].concat());
    host.receive(&random.bytes(5000));
    host.receive(&old);
    host.receive(&frame(3, DATA, b"old")[..5]);
    assert_eq!(events(&mut host), []);
    assert_eq!(host.open("early"), Err(Refused::NotReady));
    let mut guest = Mux::guest();
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Ready]);
}

#[test]
fn a_reset_ends_every_stream_on_both_sides() {
    let (mut host, mut guest) = pair();
    let id = host.open("rpc").unwrap();
    host.send(id, b"x");
    settle(&mut host, &mut guest);
    guest.send(id, &[1; 100]);
    // The guest's output is cut in the middle of a frame when the host begins anew.
    let half = guest.output().len() / 2;
    let piece = guest.output()[..half].to_vec();
    guest.written(half);
    host.receive(&piece);
    host.reset([8; NONCE_BYTES]);
    assert_eq!((host.stream_count(), host.is_ready()), (0, false));
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Ready]);
    assert_eq!(events(&mut guest), [Event::Ready]);
    assert_eq!(guest.stream_count(), 0);
    assert_eq!(host.open("rpc").unwrap(), id + 2);
    settle(&mut host, &mut guest);
    assert_eq!(guest.stream_count(), 1);
}

#[test]
fn another_version_is_told_apart() {
    let mut guest = Mux::guest();
    guest.receive(&frame(
        0,
        RESET,
        &[&9u32.to_be_bytes()[..], &NONCE].concat(),
    ));
    assert!(!guest.is_ready());
    assert_eq!(take(&mut guest).len(), 28);
    let mut host = Mux::host(NONCE);
    host.receive(&frame(
        0,
        HELLO,
        &[&9u32.to_be_bytes()[..], &NONCE].concat(),
    ));
    assert!(matches!(events(&mut host)[..], [Event::Failed(_)]));
    assert!(!host.is_ready());
}

#[test]
fn a_peer_that_breaks_the_links_rules_loses_it() {
    let bad = [
        frame(1, 0, b""),
        frame(1, 99, b""),
        frame(0, DATA, b"x"),
        frame(0, RESET, b"short"),
        frame(0, HELLO, &[0; 20]),
        frame(3, OPEN, b"abc"),
        frame(2, OPEN, &[0; 5]),
        frame(5, DATA, b"x"),
        frame(1, CREDIT, b"abc"),
        frame(1, FIN, b"x"),
        frame(1, ABORT, &[b'x'; MAX_REASON + 1]),
        frame(3, OPEN, &[b'x'; MAX_NAME + 5]),
        frame(1, DATA, &[0; MAX_PAYLOAD + 1]),
        vec![0, 0, 0, 1, DATA, 1, 0, 0],
    ];
    for bytes in bad {
        let (mut host, mut guest) = pair();
        host.open("x").unwrap();
        settle(&mut host, &mut guest);
        events(&mut guest);
        guest.receive(&bytes);
        let shown = &bytes[..bytes.len().min(12)];
        let seen = events(&mut guest);
        assert!(matches!(seen[..], [Event::Failed(_)]), "{shown:?}");
        assert_eq!(guest.stream_count(), 0);
        // It waits for the host to begin anew, and then all is well.
        guest.receive(&frame(1, DATA, b"x"));
        host.reset([5; NONCE_BYTES]);
        settle(&mut host, &mut guest);
        assert_eq!(events(&mut guest), [Event::Ready]);
    }
}

#[test]
fn a_host_that_failed_takes_nothing_until_it_is_reset() {
    let (mut host, mut guest) = pair();
    host.receive(&frame(2, OPEN, b""));
    assert!(matches!(events(&mut host)[..], [Event::Failed(_)]));
    host.receive(&open_frame(2, 5, b"x"));
    assert_eq!(events(&mut host), []);
    host.reset([6; NONCE_BYTES]);
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Ready]);
}

#[test]
fn an_id_of_the_past_cannot_be_opened_again() {
    for id in [4, 2] {
        let (mut host, _) = pair();
        host.receive(&open_frame(4, 0, b"x"));
        host.abort(4, "no");
        events(&mut host);
        host.receive(&open_frame(id, 0, b"x"));
        assert!(matches!(events(&mut host)[..], [Event::Failed(_)]));
    }
}

#[test]
fn frames_of_a_stream_that_was_just_aborted_are_passed_over() {
    let (mut host, mut guest) = pair();
    let id = host.open("x").unwrap();
    settle(&mut host, &mut guest);
    host.abort(id, "enough");
    host.receive(&frame(id, DATA, b"in flight"));
    host.receive(&frame(id, CREDIT, &[0, 0, 0, 9]));
    host.receive(&frame(id, FIN, b""));
    host.receive(&frame(id, ABORT, b""));
    assert_eq!(events(&mut host), []);
    settle(&mut host, &mut guest);
    let aborted = Event::Aborted {
        id,
        reason: "enough".into(),
    };
    assert_eq!(events(&mut guest).last(), Some(&aborted));
}

#[test]
fn more_data_or_credit_than_there_can_be_ends_only_that_stream() {
    let (mut host, mut guest) = pair();
    let [greedy, good] = [host.open("a").unwrap(), host.open("b").unwrap()];
    settle(&mut host, &mut guest);
    for _ in 0..8 {
        host.receive(&frame(greedy, DATA, &[0; MAX_PAYLOAD]));
    }
    assert_eq!(host.stream_count(), 2);
    host.receive(&frame(greedy, DATA, b"x"));
    assert_eq!(host.stream_count(), 1);
    host.receive(&frame(good, CREDIT, &u32::MAX.to_be_bytes()));
    host.receive(&frame(good, CREDIT, &u32::MAX.to_be_bytes()));
    assert_eq!(host.stream_count(), 0);
    let seen = events(&mut host);
    let aborted = |id: u32| {
        seen.iter()
            .any(|e| matches!(e, Event::Aborted { id: of, .. } if *of == id))
    };
    assert!(aborted(greedy) && aborted(good) && host.is_ready());
    // Data after FIN is as bad.
    let id = host.open("c").unwrap();
    host.receive(&frame(id, FIN, b""));
    host.receive(&frame(id, DATA, b"x"));
    assert_eq!(host.stream_count(), 0);
}

#[test]
fn names_have_a_limit_and_are_text() {
    let (mut host, mut guest) = pair();
    let long = "x".repeat(MAX_NAME);
    assert_eq!(host.open(&format!("{long}x")), Err(Refused::Name));
    let id = host.open(&long).unwrap();
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut guest), [Event::Opened { id, name: long }]);
    host.receive(&open_frame(2, 0, b"\xff\xfe"));
    assert_eq!(events(&mut host), []);
    settle(&mut host, &mut Mux::guest());
    host.abort(id, &"ä".repeat(MAX_REASON));
    settle(&mut host, &mut guest);
    let reason = "ä".repeat(MAX_REASON / 2);
    assert_eq!(events(&mut guest), [Event::Aborted { id, reason }]);
}

#[test]
fn a_flood_of_opens_is_refused_and_costs_no_memory() {
    let (mut host, _) = pair();
    let mut refused = 0;
    for number in 1..200_000u32 {
        host.receive(&open_frame(number * 2, u32::MAX, b"9p/x"));
        refused += usize::from(number as usize > MAX_STREAMS);
        events(&mut host);
        assert!(host.stream_count() <= MAX_STREAMS);
        assert!(held(&host) < 2 << 20);
        if !host.is_ready() {
            break;
        }
    }
    // It never read an answer: at some point that is the end of the link.
    assert!(refused > 1000 && !host.is_ready());
}

#[test]
fn all_streams_full_stay_below_the_limit_of_the_whole() {
    let (mut host, _) = pair();
    for number in 0..MAX_STREAMS as u32 {
        let id = (number + 1) * 2;
        host.receive(&open_frame(id, 0, b"x"));
        take(&mut host);
        while host.stream_count() > number as usize {
            host.receive(&frame(id, DATA, &[1; 1024]));
            host.send(id, &[2; 1024]);
            let stream = &host.streams.get(&id);
            if stream.is_none_or(|s| s.granted_now() < 1024) {
                break;
            }
        }
    }
    assert_eq!(host.stream_count(), MAX_STREAMS);
    assert_eq!(host.open("one more"), Err(Refused::TooMany));
    let unread: usize = host.streams.values().map(Stream::unread_now).sum();
    assert!(unread > 16 << 20 && unread <= 32 << 20, "{unread}");
}

#[test]
fn a_stream_that_is_not_read_delays_no_other() {
    let (mut host, mut guest) = pair();
    let [stalled, lively] = [host.open("stalled").unwrap(), host.open("lively").unwrap()];
    settle(&mut host, &mut guest);
    let block = [3; 64 << 10];
    for _ in 0..100 {
        guest.send(stalled, &block);
        settle(&mut host, &mut guest);
    }
    for round in 0..200u8 {
        guest.send(stalled, &block);
        assert_eq!(guest.send(lively, &[round; 5000]), 5000);
        settle(&mut host, &mut guest);
        assert_eq!(read_all(&mut host, lively), [round; 5000]);
    }
    // What was stalled goes on where it was once it is read.
    assert_eq!(host.streams[&stalled].unread_now(), 256 << 10);
    events(&mut guest);
    read_all(&mut host, stalled);
    settle(&mut host, &mut guest);
    assert!(events(&mut guest).contains(&Event::Writable(stalled)));
}

#[test]
fn busy_streams_take_turns_of_one_frame() {
    let (mut host, mut guest) = pair();
    let busy: Vec<u32> = (0..4).map(|_| host.open("x").unwrap()).collect();
    let late = host.open("late").unwrap();
    settle(&mut host, &mut guest);
    for id in &busy {
        host.send(*id, &[0; 64 << 10]);
    }
    host.send(late, b"now");
    let mut order = Vec::new();
    let bytes = take(&mut host);
    let mut rest = bytes.as_slice();
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let length = usize::from(u16::from_be_bytes([header[6], header[7]]));
        if header[4] == DATA {
            order.push(u32::from_be_bytes([
                header[0], header[1], header[2], header[3],
            ]));
        }
        rest = &after[length..];
    }
    let expected = [&busy[..], &[late], &busy[..]].concat();
    assert_eq!(order, expected);
}

#[test]
fn random_bytes_and_mutated_streams_never_break_it() {
    let mut random = Random(0xfeed);
    for round in 0..3000 {
        let (mut host, mut guest) = pair();
        let id = host.open("x").unwrap();
        let other = guest.open("9p/y").unwrap();
        settle(&mut host, &mut guest);
        host.send(id, &random.bytes(200));
        guest.send(other, &random.bytes(200));
        host.fin(id);
        guest.abort(id, "no");
        let (mut down, mut up) = (take(&mut host), take(&mut guest));
        for bytes in [&mut down, &mut up] {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            if round % 3 == 0 {
                let count = random.below(400);
                bytes.extend(random.bytes(count));
            }
        }
        host.receive(&up);
        guest.receive(&down);
        for mux in [&mut host, &mut guest] {
            events(mux);
            take(mux);
            assert!(held(mux) < 1 << 20);
        }
    }
}

#[test]
fn an_idle_link_is_small() {
    let (mut host, mut guest) = pair();
    let ids: Vec<u32> = (0..8).map(|_| host.open("stdout/a/").unwrap()).collect();
    settle(&mut host, &mut guest);
    for id in ids {
        guest.send(id, &[1; 60_000]);
        settle(&mut host, &mut guest);
        read_all(&mut host, id);
        settle(&mut host, &mut guest);
    }
    events(&mut host);
    events(&mut guest);
    assert!(held(&host) <= 8 << 10 && held(&guest) <= 8 << 10);
}

/// One direction of a stream in the test below.
struct Flow {
    id: u32,
    from_host: bool,
    sent: u64,
    got: u64,
    total: u64,
    finished: bool,
}

fn pattern(id: u32, at: u64) -> u8 {
    (at.wrapping_mul(31) ^ u64::from(id)) as u8
}

/// Host and guest over a lossless pipe that takes and gives pieces of any size.
#[test]
fn every_byte_of_every_stream_arrives_in_order() {
    for seed in 1..=12u64 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut ends = {
            let (host, guest) = pair();
            [host, guest]
        };
        let mut pipes: [VecDeque<u8>; 2] = [VecDeque::new(), VecDeque::new()];
        let mut flows = Vec::new();
        for number in 0..2 + random.below(20) {
            let from = number % 2;
            let id = ends[from].open("x").unwrap();
            for from_host in [true, false] {
                let total = random.draw() % [10, 5_000, 700_000][random.below(3)];
                flows.push(Flow {
                    id,
                    from_host,
                    sent: 0,
                    got: 0,
                    total,
                    finished: false,
                });
            }
        }
        let mut idle = 0;
        while flows.iter().any(|f| f.got < f.total || !f.finished) {
            idle += 1;
            assert!(idle < 2_000_000, "it stands still");
            let flow = random.below(flows.len());
            step(&mut flows[flow], &mut ends, &mut random);
            carry(&mut ends, &mut pipes, &mut random);
        }
        for end in &mut ends {
            assert!(held(end) < 4 << 20 && end.is_ready());
        }
        let ([host, guest], [down, up]) = (&mut ends, &mut pipes);
        guest.receive(down.make_contiguous());
        host.receive(up.make_contiguous());
        settle(host, guest);
        assert_eq!((host.stream_count(), guest.stream_count()), (0, 0));
    }
}

fn step(flow: &mut Flow, ends: &mut [Mux; 2], random: &mut Random) {
    let [host, guest] = ends;
    let (sender, receiver) = if flow.from_host {
        (host, guest)
    } else {
        (guest, host)
    };
    let count = (1 + random.draw() % 40_000).min(flow.total - flow.sent);
    let bytes: Vec<u8> = (0..count)
        .map(|n| pattern(flow.id, flow.sent + n))
        .collect();
    flow.sent += sender.send(flow.id, &bytes) as u64;
    if flow.sent == flow.total {
        sender.fin(flow.id);
    }
    let data = receiver.data(flow.id);
    let count = random.below(data.len() + 1);
    for byte in &data[..count] {
        assert_eq!(*byte, pattern(flow.id, flow.got));
        flow.got += 1;
    }
    receiver.consume(flow.id, count);
    flow.finished = flow.sent == flow.total && flow.got == flow.total && receiver.at_end(flow.id);
}

fn carry(ends: &mut [Mux; 2], pipes: &mut [VecDeque<u8>; 2], random: &mut Random) {
    for (end, pipe) in ends.iter_mut().zip(pipes.iter_mut()) {
        let room = (256usize << 10).saturating_sub(pipe.len());
        let out = end.output();
        let count = random.below(out.len().min(room) + 1);
        pipe.extend(&out[..count]);
        end.written(count);
    }
    let [host, guest] = ends;
    let [down, up] = pipes;
    for (end, pipe) in [(guest, down), (host, up)] {
        let count = random.below(pipe.len() + 1);
        let bytes: Vec<u8> = pipe.drain(..count).collect();
        end.receive(&bytes);
        events(end);
    }
}
