//! The table of what containerd knows as tasks and execs.

use std::time::{Instant, SystemTime};

use trine_wire::task::Status;
use trine_wire::{Timestamp, shim};

use crate::answer::{Code, Failure, failure};
use crate::guest::Attached;
use crate::pod::valid_id;
use crate::reactor::Token;
use crate::server::Call;
use crate::shim::Shim;
use crate::stdio::{Input, Output};

const MAX_PROCESSES: usize = 1024;
const MAX_TEXT: usize = 4096;
/// Of all processes together: Describe tells of all of them in one answer.
const MAX_TEXTS: usize = 1 << 20;

pub struct Process {
    pub id: String,
    pub exec_id: String,
    pub bundle: String,
    pub status: Status,
    pub pid: u32,
    pub exit_status: u32,
    pub exited_at: Option<Timestamp>,
    pub paths: [String; 3],
    pub terminal: bool,
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
    pub waiters: Vec<Call>,
    /// trined is at its Create, Exec or Start: it may be about to run.
    pub busy: bool,
    /// containerd has deleted it; only its last output is still on its way.
    pub deleted: bool,
    /// Killed, which its caller knows by now: when the end is told, and with which exit status.
    pub killed: Option<(Instant, u32)>,
    /// The nested shim has it: its FIFOs, its status and its events are that one's.
    /// Which nested shim of this pod: after the death of one there may be another.
    pub nested: Option<u32>,
    /// It runs in the guest.
    pub guest: Option<Box<Attached>>,
}

impl Process {
    pub fn is_task(&self) -> bool {
        self.exec_id.is_empty()
    }

    pub fn is_stopped(&self) -> bool {
        self.status == Status::Stopped
    }

    pub fn is_draining(&self) -> bool {
        let open = self.stdout.is_open() || self.stderr.is_open();
        self.deleted || (self.is_stopped() && open)
    }

    fn text_bytes(&self) -> usize {
        let paths = self.paths.iter().map(String::len).sum::<usize>();
        self.id.len() + self.exec_id.len() + self.bundle.len() + paths
    }

    pub fn describe(&self) -> shim::Process {
        let [stdin, stdout, stderr] = self.paths.clone();
        shim::Process {
            id: self.id.clone(),
            exec_id: self.exec_id.clone(),
            bundle: self.bundle.clone(),
            status: self.status as i32,
            pid: self.pid,
            exit_status: self.exit_status,
            exited_at: self.exited_at,
            stdin,
            stdout,
            stderr,
            terminal: self.terminal,
            nested: self.nested.is_some(),
        }
    }
}

/// What containerd says of a new task or exec.
pub struct NewProcess {
    pub id: String,
    pub exec_id: String,
    pub bundle: String,
    pub paths: [String; 3],
    pub terminal: bool,
    pub nested: Option<u32>,
}

pub fn now_stamp() -> Timestamp {
    SystemTime::now().into()
}

impl Shim {
    /// Number of a task (no exec id) or an exec.
    pub fn find(&self, id: &str, exec_id: &str) -> Result<u32, Failure> {
        self.processes
            .iter()
            .find(|(_, p)| p.id == id && p.exec_id == exec_id && !p.deleted)
            .map(|(number, _)| *number)
            .ok_or_else(|| {
                let exec = if exec_id.is_empty() {
                    String::new()
                } else {
                    format!(" exec {exec_id}")
                };
                failure(Code::NotFound, format!("task {id}{exec} does not exist"))
            })
    }

    pub fn found(&self, id: &str, exec_id: &str) -> Result<(u32, &Process), Failure> {
        let number = self.find(id, exec_id)?;
        let process = self.processes.get(&number);
        process
            .map(|p| (number, p))
            .ok_or_else(|| failure(Code::NotFound, "no such task"))
    }

    pub fn add_process(&mut self, new: NewProcess) -> Result<u32, Failure> {
        if !valid_id(&new.id) {
            return Err(failure(
                Code::InvalidArgument,
                "a task's id must be a plain name",
            ));
        }
        let texts = [&new.exec_id, &new.bundle].into_iter().chain(&new.paths);
        if texts.into_iter().any(|text| text.len() > MAX_TEXT) {
            return Err(failure(
                Code::InvalidArgument,
                "an id or a path is over 4096 bytes",
            ));
        }
        if self.find(&new.id, &new.exec_id).is_ok() {
            let message = format!("task {} {} exists already", new.id, new.exec_id);
            return Err(failure(Code::AlreadyExists, message));
        }
        let texts = self
            .processes
            .values()
            .map(Process::text_bytes)
            .sum::<usize>();
        if self.processes.len() >= MAX_PROCESSES || texts >= MAX_TEXTS {
            return Err(failure(Code::ResourceExhausted, "too many tasks and execs"));
        }
        let number = self.number();
        let [stdin, stdout, stderr] = &new.paths;
        // With a terminal containerd names a stderr that it does not read.
        let stderr = if new.terminal { "" } else { stderr.as_str() };
        let [stdin, stdout, stderr] = match new.nested {
            Some(_) => ["", "", ""],
            None => [stdin.as_str(), stdout.as_str(), stderr],
        };
        let process = Process {
            stdin: Input::open(stdin, Token::Stdin(number))?,
            stdout: Output::open(stdout, Token::Stdout(number))?,
            stderr: Output::open(stderr, Token::Stderr(number))?,
            id: new.id,
            exec_id: new.exec_id,
            bundle: new.bundle,
            status: Status::Created,
            pid: self.identity.pid,
            exit_status: 0,
            exited_at: None,
            paths: new.paths,
            terminal: new.terminal,
            waiters: Vec::new(),
            busy: true,
            deleted: false,
            killed: None,
            nested: new.nested,
            guest: None,
        };
        self.processes.insert(number, process);
        Ok(number)
    }
}
