//! The task service: what containerd knows as tasks and execs. State, Wait, Connect and Pids are answered
//! from this table, with or without trined.

use std::time::{Instant, SystemTime};

use trine_wire::shim::ConsoleResize;
use trine_wire::shim::event::What;
use trine_wire::task::{self, Status};
use trine_wire::{Message, Timestamp, shim};

use crate::answer::{Code, Failure, decode, empty, failure};
use crate::pod::valid_id;
use crate::reactor::Token;
use crate::relay::Relayed;
use crate::server::Call;
use crate::shim::Shim;
use crate::stdio::{Input, Output};
use crate::task_ends::wait_response;

const MAX_PROCESSES: usize = 1024;
const MAX_TEXT: usize = 4096;
/// Of all processes together: Describe tells of all of them in one answer.
const MAX_TEXTS: usize = 1 << 20;
pub const SIGKILL: u32 = 9;
/// What ends a pause process, and so a sandbox task.
const ENDS_SANDBOX: [u32; 3] = [2, SIGKILL, 15];

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
        }
    }
}

/// What containerd says of a new task or exec.
struct NewProcess {
    id: String,
    exec_id: String,
    bundle: String,
    paths: [String; 3],
    terminal: bool,
}

/// How a call goes on.
enum Next {
    Answer(Vec<u8>),
    Relay(Relayed),
    Wait(u32),
    /// The answer first: containerd closes the connection as soon as it knows of the end.
    AnswerThenEnd(u32, u32),
    AnswerThenShutdown,
}

fn answer(message: &impl Message) -> Result<Next, Failure> {
    Ok(Next::Answer(message.encode_to_vec()))
}

pub fn now_stamp() -> Timestamp {
    SystemTime::now().into()
}

impl Shim {
    pub fn task_call(&mut self, call: Call, method: &str, payload: Vec<u8>) {
        let next = match method {
            "State" => self.state(&payload),
            "Wait" => self.wait(&payload),
            "Connect" => self.connect(&payload),
            "Pids" => self.pids(&payload),
            "Create" => self.create(&payload),
            "Start" => self.start(&payload),
            "Exec" => self.exec(&payload),
            "Kill" => self.kill(&payload),
            "Delete" => self.delete(&payload),
            "Pause" => self.relay_for_task(&payload, Relayed::Pause),
            "Resume" => self.relay_for_task(&payload, Relayed::Resume),
            "Update" => self.relay_for_task(&payload, Relayed::Update),
            "Stats" => self.stats(&payload),
            "ResizePty" => self.resize(&payload),
            "CloseIO" => self.close_io(&payload),
            "Shutdown" => Ok(Next::AnswerThenShutdown),
            other => Err(failure(Code::Unimplemented, format!("task call {other}"))),
        };
        match next {
            Ok(Next::Answer(payload)) => self.reply(call, Ok(payload)),
            Ok(Next::Relay(what)) => self.relay(call, payload, what),
            Ok(Next::Wait(number)) => self.add_waiter(number, call),
            Ok(Next::AnswerThenEnd(number, exit_status)) => {
                self.reply(call, Ok(empty()));
                self.end_process(number, exit_status, now_stamp(), false);
            }
            Ok(Next::AnswerThenShutdown) => {
                self.reply(call, Ok(empty()));
                self.shutdown_asked();
            }
            Err(failure) => self.reply(call, Err(failure)),
        }
    }

    /// Callers that have given up meanwhile make room: a Wait must not fail for want of it.
    fn add_waiter(&mut self, number: u32, call: Call) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let now = Instant::now();
        let late = |call: &mut Call| call.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<Call> = process.waiters.extract_if(.., late).collect();
        process.waiters.push(call);
        for call in late {
            self.reply(
                call,
                Err(failure(Code::DeadlineExceeded, "it has not ended yet")),
            );
        }
    }

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

    fn found(&self, id: &str, exec_id: &str) -> Result<(u32, &Process), Failure> {
        let number = self.find(id, exec_id)?;
        let process = self.processes.get(&number);
        process
            .map(|p| (number, p))
            .ok_or_else(|| failure(Code::NotFound, "no such task"))
    }

    fn state(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::StateRequest = decode(payload)?;
        let (_, process) = self.found(&request.id, &request.exec_id)?;
        let [stdin, stdout, stderr] = process.paths.clone();
        answer(&task::StateResponse {
            id: process.id.clone(),
            bundle: process.bundle.clone(),
            pid: process.pid,
            status: process.status as i32,
            stdin,
            stdout,
            stderr,
            terminal: process.terminal,
            exit_status: process.exit_status,
            exited_at: process.exited_at,
            exec_id: process.exec_id.clone(),
        })
    }

    fn wait(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::WaitRequest = decode(payload)?;
        let (number, process) = self.found(&request.id, &request.exec_id)?;
        if !process.is_stopped() {
            return Ok(Next::Wait(number));
        }
        answer(&wait_response(process))
    }

    /// Always answered: an error here makes containerd throw the pod away.
    fn connect(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::ConnectRequest = decode(payload)?;
        let task_pid = self
            .found(&request.id, "")
            .map_or(self.identity.pid, |(_, p)| p.pid);
        answer(&task::ConnectResponse {
            shim_pid: self.identity.pid,
            task_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn pids(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::PidsRequest = decode(payload)?;
        let (_, process) = self.found(&request.id, "")?;
        answer(&task::PidsResponse {
            processes: vec![task::ProcessInfo {
                pid: process.pid,
                info: None,
            }],
        })
    }

    fn create(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::CreateTaskRequest = decode(payload)?;
        let number = self.add_process(NewProcess {
            id: request.id,
            exec_id: String::new(),
            bundle: request.bundle,
            paths: [request.stdin, request.stdout, request.stderr],
            terminal: request.terminal,
        })?;
        self.task_came();
        Ok(Next::Relay(Relayed::Create(number)))
    }

    fn exec(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::ExecProcessRequest = decode(payload)?;
        let (_, task) = self.found(&request.id, "")?;
        if task.is_stopped() {
            return Err(wrong_state(task, "exec in"));
        }
        let bundle = task.bundle.clone();
        if request.exec_id.is_empty() {
            return Err(failure(Code::InvalidArgument, "an exec needs an exec_id"));
        }
        let number = self.add_process(NewProcess {
            id: request.id,
            exec_id: request.exec_id,
            bundle,
            paths: [request.stdin, request.stdout, request.stderr],
            terminal: request.terminal,
        })?;
        Ok(Next::Relay(Relayed::Exec(number)))
    }

    fn add_process(&mut self, new: NewProcess) -> Result<u32, Failure> {
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
        };
        self.processes.insert(number, process);
        Ok(number)
    }

    fn start(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::StartRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "no such task"));
        };
        if process.status != Status::Created {
            return Err(wrong_state(process, "start"));
        }
        process.busy = true;
        Ok(Next::Relay(Relayed::Start(number)))
    }

    fn kill(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::KillRequest = decode(payload)?;
        let (number, process) = self.found(&request.id, &request.exec_id)?;
        if process.is_stopped() {
            return Err(failure(
                Code::NotFound,
                format!("task {} has ended", request.id),
            ));
        }
        let is_sandbox = self.identity.has_sandbox_task
            && process.is_task()
            && process.id == self.identity.sandbox_id;
        let idle = process.status == Status::Created && !process.busy;
        if is_sandbox {
            return Ok(match ENDS_SANDBOX.contains(&request.signal) {
                true => Next::AnswerThenEnd(number, 128 + request.signal),
                false => Next::Answer(empty()),
            });
        }
        if request.signal == SIGKILL {
            if self.kill_child_of(number) {
                return Ok(Next::Answer(empty()));
            }
            if idle {
                return Ok(Next::AnswerThenEnd(number, 128 + SIGKILL));
            }
        }
        Ok(Next::Relay(Relayed::Kill(number)))
    }

    fn delete(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::DeleteRequest = decode(payload)?;
        let (number, process) = self.found(&request.id, &request.exec_id)?;
        let alive = matches!(
            process.status,
            Status::Running | Status::Paused | Status::Pausing
        );
        if alive || self.has_running_child(number) {
            return Err(wrong_state(process, "delete"));
        }
        Ok(Next::Relay(Relayed::Delete(number)))
    }

    /// Pause, Resume and Update all begin with the task's id.
    fn relay_for_task(&self, payload: &[u8], what: fn(u32) -> Relayed) -> Result<Next, Failure> {
        let request: task::PauseRequest = decode(payload)?;
        Ok(Next::Relay(what(self.find(&request.id, "")?)))
    }

    fn stats(&self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::StatsRequest = decode(payload)?;
        let number = self.find(&request.id, "")?;
        // Asked every second, and by no means worth waiting in a queue that nobody reads.
        if self.relay.keeps_up() {
            return Ok(Next::Relay(Relayed::Stats(number)));
        }
        Ok(Next::Answer(self.known_stats(&request.id)))
    }

    fn resize(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::ResizePtyRequest = decode(payload)?;
        self.find(&request.id, &request.exec_id)?;
        self.notes.push(What::Resize(ConsoleResize {
            id: request.id,
            width: request.width,
            height: request.height,
        }));
        Ok(Next::Answer(empty()))
    }

    fn close_io(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::CloseIoRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        if request.stdin {
            if let Some(process) = self.processes.get_mut(&number) {
                process.stdin.close();
            }
            self.input_ready(number);
        }
        Ok(Next::Answer(empty()))
    }
}

fn wrong_state(process: &Process, what: &str) -> Failure {
    let state = process.status.as_str_name();
    let message = format!(
        "cannot {what} task {} {}: it is {state}",
        process.id, process.exec_id
    );
    failure(Code::FailedPrecondition, message)
}
