//! A machine whose guest the test plays: the other end of the guest link.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use trine_wire::mux::{Event, Mux};
use trine_wire::shim::channel::Kind;
use trine_wire::{Message, agent, shim};

use super::{Client, Pod, channel, descriptor_of, eventually, script};

pub const KEY: &str = "vmm";
pub const PORT: u32 = 3;

/// What runs in a machine: the other end of the link, taken from the child that has it.
pub struct Guest {
    pub port: UnixStream,
    pub mux: Mux,
    pub ready: u32,
    pub names: BTreeMap<String, u32>,
    pub aborted: BTreeMap<u32, String>,
}

impl Guest {
    pub fn new(pid: u32) -> Guest {
        let port = UnixStream::from(descriptor_of(pid, PORT));
        port.set_nonblocking(true).unwrap();
        Guest {
            port,
            mux: Mux::guest(),
            ready: 0,
            names: BTreeMap::new(),
            aborted: BTreeMap::new(),
        }
    }

    /// What runs in it forgets all, as after a reset.
    pub fn reboot(&mut self) {
        self.mux = Mux::guest();
        self.names.clear();
    }

    pub fn pump(&mut self) {
        let mut bytes = [0; 65536];
        while let Ok(count) = self.port.read(&mut bytes)
            && count > 0
        {
            self.mux.receive(&bytes[..count]);
            self.events();
        }
        self.flush();
        self.events();
    }

    pub fn flush(&mut self) {
        loop {
            let out = self.mux.output();
            match self.port.write(out) {
                Ok(count) if count > 0 => self.mux.written(count),
                _ => return,
            }
        }
    }

    pub fn events(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Ready => {
                    self.ready += 1;
                    self.names.clear();
                }
                Event::Opened { id, name } => drop(self.names.insert(name, id)),
                Event::Aborted { id, reason } => drop(self.aborted.insert(id, reason)),
                Event::Failed(reason) => panic!("{reason}"),
                Event::Readable(_) | Event::Writable(_) => {}
            }
        }
    }

    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&mut Guest) -> Option<T>) -> T {
        eventually(what, || {
            self.pump();
            ready(self)
        })
    }

    pub fn opened(&mut self, name: &str) -> u32 {
        self.until(name, |guest| guest.names.get(name).copied())
    }

    pub fn say(&mut self, name: &str, mut bytes: &[u8]) {
        let id = self.opened(name);
        let empty = self.mux.room(id);
        self.until("room", |guest| {
            bytes = &bytes[guest.mux.send(id, bytes)..];
            guest.pump();
            (bytes.is_empty() && guest.mux.room(id) == empty).then_some(())
        });
        self.flushed();
    }

    pub fn fin(&mut self, name: &str) {
        let id = self.opened(name);
        self.mux.fin(id);
        self.flushed();
    }

    /// A test may wait for something else from here: nobody moves bytes then.
    pub fn flushed(&mut self) {
        self.until("a flushed port", |guest| {
            guest.mux.output().is_empty().then_some(())
        });
    }

    pub fn exit(&mut self, process: &str, status: u32, oom: bool) {
        let exit = agent::Exit {
            status,
            at: Some(std::time::SystemTime::now().into()),
            oom,
        };
        self.say(&format!("exit/{process}"), &exit.encode_to_vec());
        self.fin(&format!("exit/{process}"));
    }

    /// Reads what has come until it is `wanted`.
    pub fn hear(&mut self, id: u32, wanted: &[u8]) {
        let mut all = Vec::new();
        self.until("what was sent", |guest| {
            let data = guest.mux.data(id).to_vec();
            guest.mux.consume(id, data.len());
            all.extend(data);
            (all == wanted).then_some(())
        });
    }
}

pub struct Machine {
    pub pod: Pod,
    pub guest: Guest,
    pub trined: Client,
}

pub fn door(pod: &Pod) -> PathBuf {
    pod.pod_dir().join("guest.sock")
}

pub fn spawn_request(pod: &Pod) -> shim::SpawnRequest {
    let mut request = script(KEY, "", "read end <&4");
    let link = shim::Channel {
        name: "agent".into(),
        kind: Kind::Guest as i32,
        guest_path: door(pod).to_string_lossy().into_owned(),
        ..Default::default()
    };
    let end = shim::Channel {
        name: "end".into(),
        ..Default::default()
    };
    request.descriptors = vec![channel(PORT, link), channel(4, end)];
    request
}

pub fn machine(name: &str) -> Machine {
    let pod = Pod::started(name);
    let mut trined = pod.connect();
    let spawned: shim::SpawnResponse = trined.shim("Spawn", &spawn_request(&pod));
    let mut guest = Guest::new(spawned.pid);
    guest.until("the link", |guest| (guest.ready == 1).then_some(()));
    Machine { pod, guest, trined }
}

/// What `job` makes inside the pod's network namespace.
pub fn in_pod<T: Send + 'static>(pod: &Pod, job: impl FnOnce() -> T + Send + 'static) -> T {
    let netns = File::open(format!("/proc/{}/ns/net", pod.pid())).unwrap();
    std::thread::spawn(move || {
        // SAFETY: takes no pointers; only this thread is moved.
        let moved =
            unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&netns), libc::CLONE_NEWNET) };
        assert_eq!(moved, 0);
        job()
    })
    .join()
    .unwrap()
}

pub fn dial_in_pod(pod: &Pod, port: u16) -> TcpStream {
    let client = in_pod(pod, move || {
        TcpStream::connect(("127.0.0.1", port)).unwrap()
    });
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
}

/// Port-forward of what is for 127.0.0.1.
pub fn serve_forward(m: &mut Machine, forward: &shim::ServeForwardRequest) {
    let served: shim::ServeForwardResponse = m.trined.shim("ServeForward", forward);
    let port = served.port;
    let rules = format!(
        "add table ip t\nadd chain ip t c {{ type nat hook output priority -100 ; }}\n\
         add rule ip t c oif lo ip daddr 127.0.0.1 tcp dport != {port} redirect to :{port}\n"
    );
    let nft = shim::RunRequest {
        argv: vec!["nft".into(), "-f".into(), "-".into()],
        stdin: rules.into_bytes(),
        timeout_ms: 0,
    };
    let ran: shim::RunResponse = m.trined.shim("Run", &nft);
    assert_eq!(ran.exit_code, 0, "{}", String::from_utf8_lossy(&ran.stderr));
}
