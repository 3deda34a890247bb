//! The agent as a daemon in namespaces of its own, its port a unix socket, driven from the host's end of the link.
//! Needs root and a cgroup2 mount; what it makes goes with it.
#![allow(dead_code, unused_imports, reason = "no test uses everything")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trine_wire::agent::{CreateContainerRequest, CreateProcessRequest, Exit, StartProcessResponse};
use trine_wire::frame::{self, Decoder, REQUEST};
use trine_wire::mux::{Event, Mux};
use trine_wire::{Message, ttrpc};

mod fixtures;

use fixtures::{cgroup_mount, fresh_name, make_rootfs, remove_groups};
pub use fixtures::{process, revive, shell, spec};

const DEADLINE: Duration = Duration::from_secs(60);

pub struct Guest {
    agent: Child,
    socket: UnixStream,
    pub mux: Mux,
    rpc: u32,
    decoder: Decoder,
    calls: u32,
    answers: BTreeMap<u32, ttrpc::Response>,
    pub received: BTreeMap<u32, Vec<u8>>,
    pub ended: BTreeSet<u32>,
    pub aborted: BTreeMap<u32, String>,
    pub opened: Vec<(u32, String)>,
    /// Not read while in here.
    pub stalled: BTreeSet<u32>,
    pub dir: PathBuf,
    cgroup: PathBuf,
}

impl Guest {
    /// Running, not revived; `<dir>/rootfs` holds busybox and is /run/trine/rootfs in there.
    pub fn new() -> Guest {
        Guest::with("")
    }

    /// `option` is one more of the agent's, or empty.
    pub fn with(option: &str) -> Guest {
        Guest::begin(option, &["-n"])
    }

    /// In the network of the thread that calls.
    pub fn in_own_network(option: &str) -> Guest {
        Guest::begin(option, &[])
    }

    fn begin(option: &str, namespaces: &[&str]) -> Guest {
        let name = fresh_name();
        let dir = std::env::temp_dir().join(&name);
        make_rootfs(&dir.join("rootfs"));
        let cgroup = cgroup_mount().join(&name);
        fs::create_dir(&cgroup).expect("a cgroup2 mount, as root");
        let path = dir.join("port");
        let listener = UnixListener::bind(&path).expect("socket");
        let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/trine && \
             mount --bind \"$1\" /run/trine && mount --make-rshared / && exec \"$0\" --socket /run/trine/port --cgroup \"$2\" $3";
        let agent = Command::new("unshare")
            .args(["-m", "-u", "-i"])
            .args(namespaces)
            .args(["sh", "-c", script])
            .arg(env!("CARGO_BIN_EXE_trine-agent"))
            .args([&dir, &cgroup])
            .arg(option)
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let (socket, _) = listener.accept().expect("the agent");
        socket.set_nonblocking(true).expect("non-blocking");
        let mut guest = Guest {
            agent,
            socket,
            mux: Mux::host([7; 16]),
            rpc: 0,
            decoder: Decoder::default(),
            calls: 0,
            answers: BTreeMap::new(),
            received: BTreeMap::new(),
            ended: BTreeSet::new(),
            aborted: BTreeMap::new(),
            opened: Vec::new(),
            stalled: BTreeSet::new(),
            dir,
            cgroup,
        };
        guest.until("the link", |g| g.mux.is_ready().then_some(()));
        guest.rpc = guest.mux.open("rpc").expect("opened");
        guest
    }

    /// As a host that has come back: a new link on the same port.
    pub fn reconnect(&mut self) {
        self.mux.reset([9; 16]);
        self.decoder = Decoder::default();
        self.received.clear();
        self.ended.clear();
        self.until("the new link", |g| g.mux.is_ready().then_some(()));
        self.rpc = self.mux.open("rpc").expect("opened");
    }

    /// What `job` makes in the agent's network.
    pub fn in_network<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        use std::os::fd::AsRawFd;
        let network = fs::File::open(format!("/proc/{}/ns/net", self.agent.id())).expect("it runs");
        let moved = std::thread::spawn(move || {
            // SAFETY: takes no pointers; only this thread is moved.
            let moved = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(moved, 0, "its network");
            job()
        });
        moved.join().expect("done")
    }

    pub fn revived() -> Guest {
        let mut guest = Guest::new();
        guest.call::<()>("Revive", &revive()).expect("revived");
        guest
    }

    /// (control group, process) of the child that waits for a container, of which there is one soon.
    pub fn parked(&mut self) -> (PathBuf, u32) {
        self.until("a child that waits", |g| {
            let group = g.groups().into_iter().find(|path| is_parked(path))?;
            let pids = fs::read_to_string(group.join("cgroup.procs")).ok()?;
            Some((group, pids.trim().parse().ok()?))
        })
    }

    /// Waits until no such child is left, nor its group.
    pub fn until_none_parked(&mut self) {
        self.until("the end of the child that waits", |g| {
            (!g.groups().iter().any(|path| is_parked(path))).then_some(())
        });
    }

    /// Of containers, and of what waits for one.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cgroup.join("trine")).expect("the agent's groups");
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// Moves bytes until `done` answers something.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Guest) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            self.step();
            if let Some(found) = done(self) {
                return found;
            }
            assert!(Instant::now() < end, "no {what} within {DEADLINE:?}");
            self.wait();
        }
    }

    fn wait(&self) {
        use std::os::fd::AsRawFd;
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&raw mut poll, 1, 20) };
    }

    fn step(&mut self) {
        let mut buffer = [0; 65536];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.mux.receive(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the agent has gone: {error}"),
            }
        }
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Readable(id) => self.take(id),
                Event::Aborted { id, reason } => {
                    self.aborted.insert(id, reason);
                }
                Event::Opened { id, name } => self.opened.push((id, name)),
                Event::Failed(why) => panic!("the link failed: {why}"),
                Event::Ready | Event::Writable(_) => {}
            }
        }
        loop {
            let bytes = self.mux.output();
            if bytes.is_empty() {
                break;
            }
            match self.socket.write(bytes) {
                Ok(count) => self.mux.written(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the agent has gone: {error}"),
            }
        }
    }

    pub fn take(&mut self, id: u32) {
        if self.stalled.contains(&id) {
            return;
        }
        loop {
            let data = self.mux.data(id);
            let count = data.len();
            if count == 0 {
                break;
            }
            if id == self.rpc {
                self.decoder.push(data);
            } else {
                self.received.entry(id).or_default().extend(data);
            }
            self.mux.consume(id, count);
        }
        while let Some(frame) = self.decoder.next_frame().expect("frames") {
            let response = ttrpc::Response::decode(frame.body.as_slice()).expect("a response");
            self.answers.insert(frame.stream, response);
        }
        if self.mux.at_end(id) {
            self.ended.insert(id);
            self.mux.fin(id);
        }
    }

    pub fn ask(&mut self, method: &str, message: &impl Message) -> u32 {
        self.calls += 1;
        let number = self.calls * 2 - 1;
        let request = ttrpc::Request {
            service: "trine.agent.v1.Agent".to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            ..Default::default()
        };
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, number, REQUEST, &request.encode_to_vec()).expect("short");
        assert_eq!(self.mux.send(self.rpc, &bytes), bytes.len());
        number
    }

    pub fn answer<T: Message + Default>(&mut self, number: u32) -> Result<T, ttrpc::Status> {
        let response = self.until("answer", |g| g.answers.remove(&number));
        match response.status {
            Some(status) if status.code != 0 => Err(status),
            _ => Ok(T::decode(response.payload.as_slice()).expect("the message")),
        }
    }

    pub fn call<T: Message + Default>(
        &mut self,
        method: &str,
        message: &impl Message,
    ) -> Result<T, ttrpc::Status> {
        let number = self.ask(method, message);
        self.answer(number)
    }

    pub fn open(&mut self, name: &str) -> u32 {
        self.mux.open(name).expect("opened")
    }

    /// What came on a stream up to its end.
    pub fn whole(&mut self, id: u32) -> String {
        self.until("end of a stream", |g| g.ended.contains(&id).then_some(()));
        String::from_utf8_lossy(self.received.get(&id).map_or(&[], Vec::as_slice)).into_owned()
    }

    pub fn create(&mut self, id: &str, spec: &Value) -> Result<(), ttrpc::Status> {
        self.call(
            "CreateContainer",
            &CreateContainerRequest {
                container: id.to_owned(),
                spec: spec.to_string().into_bytes(),
                stdin: true,
                ..Default::default()
            },
        )
    }

    pub fn exec(&mut self, id: &str, exec: &str, script: &str) -> Result<(), ttrpc::Status> {
        let mut process = spec(&[])["process"].clone();
        process["args"] = json!(["/bin/sh", "-c", script]);
        self.call(
            "CreateProcess",
            &CreateProcessRequest {
                container: id.to_owned(),
                exec: exec.to_owned(),
                process: process.to_string().into_bytes(),
                ..Default::default()
            },
        )
    }

    pub fn start(&mut self, id: &str, exec: &str) -> Result<u32, ttrpc::Status> {
        let response: StartProcessResponse = self.call("StartProcess", &process(id, exec))?;
        Ok(response.pid)
    }

    pub fn exit(&mut self, id: &str, exec: &str) -> Exit {
        let stream = self.open(&format!("exit/{id}/{exec}"));
        self.until("exit", |g| g.ended.contains(&stream).then_some(()));
        Exit::decode(self.received[&stream].as_slice()).expect("an exit")
    }

    /// (stdout, stderr, status) of a container from its start to its end.
    pub fn run(&mut self, id: &str, spec: &Value) -> (String, String, u32) {
        self.create(id, spec).expect("created");
        self.finish(id, "")
    }

    pub fn finish(&mut self, id: &str, exec: &str) -> (String, String, u32) {
        let out = self.open(&format!("stdout/{id}/{exec}"));
        let err = self.open(&format!("stderr/{id}/{exec}"));
        self.start(id, exec).expect("started");
        let exit = self.exit(id, exec);
        (self.whole(out), self.whole(err), exit.status)
    }
}

fn is_parked(group: &Path) -> bool {
    let name = group.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("parked:"))
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let end = Instant::now() + DEADLINE;
        while self.cgroup.exists() && remove_groups(&self.cgroup).is_err() && Instant::now() < end {
            std::thread::yield_now();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
