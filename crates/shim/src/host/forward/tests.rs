use super::*;
use crate::host::net::create_own;
use crate::host::testing::{in_thread, ip, run, thread_id};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

const POD: &str = "10.9.0.1";
const MACHINE: &str = "10.9.0.2";

/// A pod's namespace with a forwarder in it, and another one that stands for the machine.
struct World {
    port: u16,
    stop: Arc<AtomicBool>,
    loop_thread: Option<thread::JoinHandle<()>>,
    machine: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl World {
    /// Makes both namespaces; the calling thread is in the pod's afterwards.
    fn new(most: usize) -> Self {
        create_own().unwrap();
        let (machine, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            create_own().unwrap();
            ready.send(thread_id()).unwrap();
            jobs.into_iter().for_each(|job| job());
        });
        let thread = is_ready.recv().unwrap();
        ip(&format!(
            "link add veth0 type veth peer name eth0 netns {thread}"
        ));
        ip(&format!("addr add {POD}/24 dev veth0"));
        ip("link set veth0 up");
        let mut world = Self {
            port: 0,
            stop: Arc::default(),
            loop_thread: None,
            machine,
        };
        world.in_machine(|| {
            ip(&format!("addr add {MACHINE}/24 dev eth0"));
            ip("link set eth0 up");
        });
        world.serve(most);
        for family in ["ip", "ip6"] {
            run("nft", &format!("add table {family} t"));
            run(
                "nft",
                &format!("add chain {family} t c {{ type nat hook output priority -100 ; }}"),
            );
            let port = world.port;
            run(
                "nft",
                &format!("add rule {family} t c oif lo tcp dport != {port} redirect to :{port}"),
            );
        }
        world
    }

    /// Runs the forwarder on a thread of its own, as the shim's loop would.
    fn serve(&mut self, most: usize) {
        let target = MACHINE.parse().unwrap();
        let mut forwarder = Forwarder::new(target, Some(POD.parse().unwrap())).unwrap();
        forwarder.most = most;
        self.port = forwarder.port();
        let stop = Arc::clone(&self.stop);
        self.loop_thread = Some(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if is_ready(&forwarder, 50) {
                    forwarder.on_ready();
                }
            }
            assert!(forwarder.chunk.is_empty() || forwarder.open > 0);
        }));
    }

    /// Runs `job` in the machine's namespace and waits for what it answers.
    fn in_machine<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let job = move || answer.send(job()).unwrap();
        self.machine.send(Box::new(job)).unwrap();
        answered.recv().unwrap()
    }

    /// A service in the machine that hands every connection to `serve`.
    fn service(&self, port: u16, serve: impl Fn(TcpStream) + Send + 'static) {
        let listener = self.in_machine(move || TcpListener::bind((MACHINE, port)).unwrap());
        thread::spawn(move || {
            listener
                .incoming()
                .for_each(|stream| serve(stream.unwrap()))
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.loop_thread.take().map(thread::JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap().unwrap();
        }
    }
}

fn is_ready(forwarder: &Forwarder, wait_ms: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: forwarder.fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, wait_ms) == 1 }
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    stream
}

fn pattern(length: usize) -> Vec<u8> {
    // Of a prime length, so that no chunk looks like the next.
    let block: Vec<u8> = (0..65_537u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let mut data = block.repeat(length / block.len() + 1);
    data.truncate(length);
    data
}

#[test]
fn carries_both_families_to_the_machine_and_half_closes() {
    in_thread(|| {
        let world = World::new(8);
        world.service(8080, |mut stream| {
            let mut request = String::new();
            stream.read_to_string(&mut request).unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            write!(stream, "{request} from {peer}").unwrap();
        });
        for address in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.5:8080"] {
            let mut stream = dial(address);
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("hello from {POD}"), "{address}");
        }
    });
}

#[test]
fn large_data_goes_both_ways_at_once_whole() {
    in_thread(|| {
        let world = World::new(8);
        world.service(5000, |stream| {
            let mut reader = stream.try_clone().unwrap();
            let mut writer = stream;
            std::io::copy(&mut reader, &mut writer).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let clients: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(|| {
                    let mut stream = dial("127.0.0.1:5000");
                    let mut reader = stream.try_clone().unwrap();
                    let sent = pattern(6_000_000);
                    let expected = sent.clone();
                    let writer = thread::spawn(move || {
                        stream.write_all(&sent).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut received = Vec::new();
                    reader.read_to_end(&mut received).unwrap();
                    writer.join().unwrap();
                    assert!(received == expected);
                })
            })
            .collect();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
}

#[test]
fn a_reader_that_stalls_holds_the_sender_back_and_no_other_connection() {
    in_thread(|| {
        let world = World::new(8);
        world.service(6000, |mut stream| {
            thread::spawn(move || {
                let mut go = [0; 1];
                let data = pattern(20_000_000);
                stream.write_all(&data).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                stream.read_exact(&mut go).unwrap_err();
            });
        });
        let mut stalled = dial("127.0.0.1:6000");
        let mut other = dial("127.0.0.1:6000");
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), 20_000_000);
        received.clear();
        stalled.read_to_end(&mut received).unwrap();
        assert!(received == pattern(20_000_000));
    });
}

#[test]
fn a_refused_connection_is_reset() {
    in_thread(|| {
        let _world = World::new(8);
        let mut stream = dial("127.0.0.1:9");
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_on_either_side_reaches_the_other() {
    in_thread(|| {
        let world = World::new(8);
        let (told, outcome) = mpsc::channel();
        world.service(7000, move |mut stream| {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).unwrap();
            if byte == *b"r" {
                reset_on_close(&stream);
            } else {
                stream.write_all(b"go").unwrap();
                told.send(stream.read(&mut byte).map_err(|error| error.kind()))
                    .unwrap();
            }
        });
        let mut stream = dial("127.0.0.1:7000");
        stream.write_all(b"r").unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

        let mut stream = dial("127.0.0.1:7000");
        stream.write_all(b"w").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        reset_on_close(&stream);
        drop(stream);
        let outcome = outcome.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(outcome, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    in_thread(|| {
        let world = World::new(2);
        world.service(7100, |mut stream| {
            thread::spawn(move || {
                stream.write_all(b"x").unwrap();
                let _ = stream.read(&mut [0; 1]);
            });
        });
        let mut first = dial("127.0.0.1:7100");
        let mut second = dial("127.0.0.1:7100");
        first.read_exact(&mut [0; 1]).unwrap();
        second.read_exact(&mut [0; 1]).unwrap();
        let mut third = dial("127.0.0.1:7100"); // into the backlog
        third.set_nonblocking(true).unwrap();
        assert_eq!(
            third.read(&mut [0; 1]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        third.set_nonblocking(false).unwrap();
        drop(first);
        third.read_exact(&mut [0; 1]).unwrap();
    });
}

#[test]
fn a_direct_connection_leads_nowhere() {
    in_thread(|| {
        let world = World::new(8);
        let mut stream = dial(&format!("127.0.0.1:{}", world.port));
        stream.read(&mut [0; 1]).unwrap_err();
    });
}

#[test]
fn an_idle_forwarder_is_quiet_after_its_work() {
    in_thread(|| {
        create_own().unwrap();
        let mut forwarder = Forwarder::new(MACHINE.parse().unwrap(), None).unwrap();
        assert!(!is_ready(&forwarder, 0));
        let stream = TcpStream::connect(("127.0.0.1", forwarder.port())).unwrap();
        assert!(is_ready(&forwarder, 1000));
        forwarder.on_ready();
        assert!(!is_ready(&forwarder, 0));
        assert_eq!((forwarder.open, forwarder.chunk.len()), (0, 0));
        drop(stream);
    });
}

#[test]
fn a_half_closed_connection_does_not_spin() {
    in_thread(|| {
        create_own().unwrap();
        // The machine's port is taken for the target's, so no redirection is needed to connect.
        let machine = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut forwarder = Forwarder::new(Ipv4Addr::LOCALHOST.into(), None).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let far = connect_from(None, machine.local_addr().unwrap()).unwrap();
        let (mut service, _) = machine.accept().unwrap();
        forwarder.chunk.resize(CHUNK, 0);
        forwarder.open = 1;
        forwarder.slots.push(None);
        forwarder.keep(0, Connection::new(accepted, far, 1));
        let settle = |forwarder: &mut Forwarder| {
            let mut rounds = 0;
            while is_ready(forwarder, 20) {
                forwarder.on_ready();
                rounds += 1;
                assert!(rounds < 2000, "events without end");
            }
        };
        settle(&mut forwarder);
        // The machine ends first, then the client sends more than the machine takes, and ends too.
        service.shutdown(Shutdown::Write).unwrap();
        settle(&mut forwarder);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        let sender = thread::spawn(move || {
            let data = pattern(12_000_000);
            client.write_all(&data).unwrap();
        });
        settle(&mut forwarder);
        assert_eq!(forwarder.open, 1);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            service.read_to_end(&mut received).unwrap();
            received.len()
        });
        while forwarder.open > 0 {
            assert!(is_ready(&forwarder, 20_000), "the connection hangs");
            forwarder.on_ready();
        }
        sender.join().unwrap();
        assert_eq!(reader.join().unwrap(), 12_000_000);
    });
}

#[test]
fn tokens_keep_their_parts_and_stay_below_the_listeners() {
    for (generation, index, side) in [(0, 0, Side::Client), (0x7fff_ffff, 255, Side::Machine)] {
        let token = make_token(generation, index, side);
        assert!(token < LISTENERS);
        assert_eq!(parse_token(token), (generation, index, side));
    }
}

#[test]
fn two_address_families_do_not_mix() {
    let target = "10.0.0.1".parse().unwrap();
    let error = Forwarder::new(target, Some("fd00::1".parse().unwrap()))
        .err()
        .unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
