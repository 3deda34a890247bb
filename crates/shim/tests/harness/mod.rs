//! A pod's shim, driven over its sockets the way containerd and trined do it. Needs root (namespaces).
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use trine_wire::frame::{self, Decoder, REQUEST, RESPONSE};
use trine_wire::{Message, shim, task, ttrpc};

pub mod guest_end;

pub const SHIM: &str = "trine.shim.v1.Shim";
pub const TASK: &str = "containerd.task.v2.Task";
pub const NAMESPACE: &str = "test";
/// Nothing here takes long; a test that hangs ends.
const LIMIT: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory with a state directory, bundles and FIFOs; goes with its shim at the end.
pub struct Pod {
    pub dir: PathBuf,
    pub id: String,
    pub address: String,
}

impl Pod {
    /// Not started.
    pub fn new(name: &str) -> Pod {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!(
            "/tmp/trine-shim-{}-{number}-{name}",
            std::process::id()
        ));
        fs::create_dir_all(dir.join("state")).unwrap();
        Pod {
            dir,
            id: format!("sandbox-{name}"),
            address: String::new(),
        }
    }

    /// The shim of a Kubernetes pod, its sandbox task not created yet.
    pub fn started(name: &str) -> Pod {
        let mut pod = Pod::new(name);
        let id = pod.id.clone();
        pod.bundle(&id, r#""io.kubernetes.cri.container-type":"sandbox""#, "");
        let out = pod.start(&id, &[]);
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        pod.address = String::from_utf8(out.stdout).unwrap();
        pod
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn bundle_dir(&self, id: &str) -> PathBuf {
        self.dir.join("bundles").join(id)
    }

    pub fn bundle(&self, id: &str, annotations: &str, linux: &str) -> PathBuf {
        let bundle = self.bundle_dir(id);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        let spec = format!(r#"{{"annotations":{{{annotations}}},"linux":{{{linux}}}}}"#);
        fs::write(bundle.join("config.json"), spec).unwrap();
        bundle
    }

    pub fn container_bundle(&self, id: &str) -> PathBuf {
        let annotations = format!(
            r#""io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"{}""#,
            self.id
        );
        self.bundle(id, &annotations, "")
    }

    pub fn start(&self, id: &str, stdin: &[u8]) -> Output {
        self.command(id, "start", stdin)
    }

    pub fn delete(&self, id: &str) -> Output {
        self.command(id, "delete", &[])
    }

    fn command(&self, id: &str, action: &str, stdin: &[u8]) -> Output {
        let mut child = self.prepared(id, action).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        child.wait_with_output().unwrap()
    }

    /// As containerd would run it.
    pub fn prepared(&self, id: &str, action: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_containerd-shim-trine-v2"));
        command
            .args([
                "-namespace",
                NAMESPACE,
                "-address",
                "/none",
                "-id",
                id,
                action,
            ])
            .current_dir(self.bundle_dir(id))
            .env("TRINE_STATE", self.state())
            .env("TTRPC_ADDRESS", self.dir.join("containerd.ttrpc"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn pod_dir(&self) -> PathBuf {
        let mut pods = fs::read_dir(self.state().join("pods")).unwrap();
        pods.next().unwrap().unwrap().path()
    }

    pub fn pid(&self) -> i32 {
        fs::read_to_string(self.pod_dir().join("lock"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::new(Path::new(self.address.strip_prefix("unix://").unwrap()))
    }

    /// trined's side of the relay.
    pub fn trined(&self) -> Trined {
        let path = self.state().join("trined.sock");
        let _ = fs::remove_file(&path);
        Trined {
            listener: UnixListener::bind(path).unwrap(),
        }
    }

    /// Where the shim publishes its events; bind it before the pod starts to publish.
    pub fn containerd(&self) -> Trined {
        Trined {
            listener: UnixListener::bind(self.dir.join("containerd.ttrpc")).unwrap(),
        }
    }

    pub fn fifo(&self, name: &str) -> String {
        let path = self.dir.join(name).to_string_lossy().into_owned();
        let text = CString::new(path.as_str()).unwrap();
        // SAFETY: the path is a C string.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        path
    }

    /// A container's task, created and started by a trined that agrees with everything.
    pub fn running_task(&self, id: &str, stdio: &[String; 3], terminal: bool) -> (Client, Client) {
        let trined = self.trined();
        let mut containerd = self.connect();
        let [stdin, stdout, stderr] = stdio.clone();
        let create = containerd.send(
            TASK,
            "Create",
            &task::CreateTaskRequest {
                id: id.to_owned(),
                bundle: self.bundle_dir(id).to_string_lossy().into_owned(),
                terminal,
                stdin,
                stdout,
                stderr,
                ..Default::default()
            },
        );
        let mut relay = trined.accept();
        relay.serve("Create", &task::CreateTaskResponse { pid: 0 });
        containerd
            .answer::<task::CreateTaskResponse>(create)
            .unwrap();
        let start = containerd.send(TASK, "Start", &start_of(id));
        relay.serve("Start", &task::StartResponse { pid: 0 });
        containerd.answer::<task::StartResponse>(start).unwrap();
        (containerd, relay)
    }
}

pub fn start_of(id: &str) -> task::StartRequest {
    task::StartRequest {
        id: id.to_owned(),
        exec_id: String::new(),
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.state().join("pods").exists() {
            for pod in fs::read_dir(self.state().join("pods")).unwrap().flatten() {
                let pid = fs::read_to_string(pod.path().join("lock")).unwrap_or_default();
                let held = File::open(pod.path().join("lock")).is_ok_and(|f| f.try_lock().is_err());
                if let (true, Ok(pid)) = (held, pid.trim().parse::<i32>()) {
                    // SAFETY: takes no pointers; the lock says that the pid is our shim's.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub struct Trined {
    listener: UnixListener,
}

impl Trined {
    pub fn of(listener: UnixListener) -> Trined {
        Trined { listener }
    }

    pub fn accept(&self) -> Client {
        self.listener.set_nonblocking(true).unwrap();
        let stream = eventually("a connection", || self.listener.accept().ok());
        stream.0.set_nonblocking(false).unwrap();
        Client::of(stream.0)
    }
}

/// Either end of a ttrpc connection, blocking.
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    next: u32,
    answers: HashMap<u32, ttrpc::Response>,
    pub order: Vec<u32>,
}

impl Client {
    pub fn new(path: &Path) -> Client {
        Client::of(UnixStream::connect(path).unwrap())
    }

    fn of(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client {
            stream,
            decoder: Decoder::default(),
            next: 1,
            answers: HashMap::new(),
            order: Vec::new(),
        }
    }

    pub fn send(&mut self, service: &str, method: &str, message: &impl Message) -> u32 {
        self.send_within(service, method, message, Duration::ZERO)
    }

    pub fn send_within(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
        limit: Duration,
    ) -> u32 {
        let request = ttrpc::Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            timeout_nano: limit.as_nanos() as i64,
            metadata: Vec::new(),
        };
        let stream = self.next;
        self.next += 2;
        self.write_frame(stream, REQUEST, &request.encode_to_vec());
        stream
    }

    pub fn write_frame(&mut self, stream: u32, kind: u8, body: &[u8]) {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, stream, kind, body).unwrap();
        self.write_raw(&bytes);
    }

    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// From now on whoever writes to this end is told that nobody reads.
    pub fn stop_reading(&self) {
        self.stream.shutdown(Shutdown::Read).unwrap();
    }

    /// Whether something can be read within `limit`.
    pub fn is_ready(&self, limit: Duration) -> bool {
        use std::os::fd::AsRawFd;
        let mut poll = libc::pollfd {
            fd: self.stream.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, limit.as_millis() as libc::c_int) > 0 }
    }

    /// The next frame; `None` at the end of the connection.
    pub fn frame(&mut self) -> Option<frame::Frame> {
        let mut buffer = [0; 65536];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("waiting for a frame: {error}"),
            }
        }
    }

    pub fn answer<T: Message + Default>(&mut self, stream: u32) -> Result<T, ttrpc::Status> {
        while !self.answers.contains_key(&stream) {
            let frame = self.frame().expect("the connection is open");
            assert_eq!(frame.kind, RESPONSE);
            self.order.push(frame.stream);
            let known = self.answers.insert(
                frame.stream,
                ttrpc::Response::decode(frame.body.as_slice()).unwrap(),
            );
            assert!(
                known.is_none(),
                "stream {} was answered twice",
                frame.stream
            );
        }
        let response = self.answers.remove(&stream).unwrap();
        match response.status {
            Some(status) if status.code != 0 => Err(status),
            _ => Ok(T::decode(response.payload.as_slice()).unwrap()),
        }
    }

    /// Nothing has been answered on this stream, as a later answer on the same connection shows.
    pub fn is_unanswered(&mut self, stream: u32) -> bool {
        let marker = self.send(SHIM, "Describe", &shim::DescribeRequest {});
        self.answer::<shim::DescribeResponse>(marker).unwrap();
        !self.answers.contains_key(&stream)
    }

    pub fn call<T: Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Result<T, ttrpc::Status> {
        let stream = self.send(service, method, message);
        self.answer(stream)
    }

    pub fn shim<T: Message + Default>(&mut self, method: &str, message: &impl Message) -> T {
        self.call(SHIM, method, message)
            .unwrap_or_else(|status| panic!("{method}: {status:?}"))
    }

    pub fn task<T: Message + Default>(&mut self, method: &str, message: &impl Message) -> T {
        self.call(TASK, method, message)
            .unwrap_or_else(|status| panic!("{method}: {status:?}"))
    }

    /// As a server: the next request.
    pub fn request(&mut self) -> Relayed {
        self.next_request().expect("a request")
    }

    /// `None`: the shim has gone.
    pub fn next_request(&mut self) -> Option<Relayed> {
        let frame = self.frame()?;
        assert_eq!(frame.kind, REQUEST);
        let request = ttrpc::Request::decode(frame.body.as_slice()).unwrap();
        Some(Relayed {
            stream: frame.stream,
            metadata: request
                .metadata
                .iter()
                .map(|pair| (pair.key.clone(), pair.value.clone()))
                .collect(),
            request,
        })
    }

    pub fn respond(&mut self, stream: u32, message: &impl Message) {
        let response = ttrpc::Response {
            status: None,
            payload: message.encode_to_vec(),
        };
        self.write_frame(stream, RESPONSE, &response.encode_to_vec());
    }

    pub fn refuse(&mut self, stream: u32, code: i32, message: &str) {
        let response = ttrpc::Response {
            status: Some(ttrpc::Status {
                code,
                message: message.to_owned(),
            }),
            payload: Vec::new(),
        };
        self.write_frame(stream, RESPONSE, &response.encode_to_vec());
    }

    pub fn serve(&mut self, method: &str, message: &impl Message) -> Relayed {
        let relayed = self.request();
        assert_eq!(relayed.request.method, method);
        self.respond(relayed.stream, message);
        relayed
    }

    pub fn task_state(&mut self, id: &str) -> Result<task::StateResponse, ttrpc::Status> {
        let request = task::StateRequest {
            id: id.to_owned(),
            exec_id: String::new(),
        };
        self.call(TASK, "State", &request)
    }

    pub fn send_wait(&mut self, id: &str) -> u32 {
        let request = task::WaitRequest {
            id: id.to_owned(),
            exec_id: String::new(),
        };
        self.send(TASK, "Wait", &request)
    }

    pub fn kill(&mut self, id: &str, signal: u32) -> u32 {
        let request = task::KillRequest {
            id: id.to_owned(),
            exec_id: String::new(),
            signal,
            all: false,
        };
        self.send(TASK, "Kill", &request)
    }
}

pub struct Relayed {
    pub stream: u32,
    pub request: ttrpc::Request,
    pub metadata: HashMap<String, String>,
}

impl Relayed {
    pub fn id(&self) -> &str {
        &self.metadata["trine-request"]
    }
}

/// Polls what has no event of its own, with a limit.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same open file that a child has under a number.
pub fn descriptor_of(pid: u32, number: u32) -> OwnedFd {
    // SAFETY: takes no pointers; the descriptors are new and owned by nothing else.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(pidfd >= 0);
        let pidfd = OwnedFd::from_raw_fd(pidfd as i32);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// containerd's end of an output FIFO.
pub fn fifo_reader(path: &str) -> File {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path).unwrap()
}

/// Reads until all writers have closed.
pub fn read_to_end(fifo: &mut File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 65536];
    eventually("the end of the FIFO", || match fifo.read(&mut part) {
        Ok(0) => Some(()),
        Ok(count) => {
            all.extend_from_slice(&part[..count]);
            None
        }
        Err(_) => None,
    });
    all
}

/// Reads until `wanted` has been seen.
pub fn read_until(stream: &mut impl Read, wanted: &str) -> String {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    eventually(wanted, || {
        if let Ok(count) = stream.read(&mut part) {
            all.extend_from_slice(&part[..count]);
        }
        String::from_utf8_lossy(&all).contains(wanted).then_some(())
    });
    String::from_utf8_lossy(&all).into_owned()
}

/// `sh -c script` as the VMM of a task.
pub fn script(key: &str, task_id: &str, script: &str) -> shim::SpawnRequest {
    shim::SpawnRequest {
        key: key.to_owned(),
        argv: vec!["/bin/sh".into(), "-c".into(), script.to_owned()],
        env: vec!["PATH=/usr/bin:/bin".into()],
        task_id: task_id.to_owned(),
        ..Default::default()
    }
}

pub fn channel(number: u32, channel: shim::Channel) -> shim::Descriptor {
    shim::Descriptor {
        number,
        source: Some(shim::descriptor::Source::Channel(channel)),
        ..Default::default()
    }
}
