//! The task service: what containerd knows as tasks and execs. State, Wait, Connect and Pids are answered
//! from this table, with or without trined.

use std::time::{Instant, SystemTime};

use trine_wire::events::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIo, TaskOom, TaskPaused,
    TaskResumed, TaskStart,
};
use trine_wire::metrics::{CpuStat, MemoryStat, Metrics, PidsStat};
use trine_wire::shim::event::What;
use trine_wire::shim::{ConsoleResize, TaskRemoved};
use trine_wire::task::{self, Status};
use trine_wire::{Any, Message, Timestamp, shim};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::pod::valid_id;
use crate::reactor::Token;
use crate::relay::{Relayed, too_late};
use crate::server::Call;
use crate::shim::Shim;
use crate::stdio::{Input, Output};

const MAX_PROCESSES: usize = 1024;
const SIGKILL: u32 = 9;
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
    paths: [String; 3],
    pub terminal: bool,
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
    pub waiters: Vec<Call>,
    /// trined is at its Create, Exec or Start: it may be about to run.
    busy: bool,
    /// containerd has deleted it; only its last output is still on its way.
    pub deleted: bool,
}

impl Process {
    fn is_task(&self) -> bool {
        self.exec_id.is_empty()
    }

    pub fn is_stopped(&self) -> bool {
        self.status == Status::Stopped
    }

    pub fn is_draining(&self) -> bool {
        let open = self.stdout.is_open() || self.stderr.is_open();
        self.deleted || (self.is_stopped() && open)
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
            Ok(Next::Wait(number)) => {
                if let Some(process) = self.processes.get_mut(&number) {
                    process.waiters.push(call);
                }
            }
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
        if self.find(&new.id, &new.exec_id).is_ok() {
            let message = format!("task {} {} exists already", new.id, new.exec_id);
            return Err(failure(Code::AlreadyExists, message));
        }
        if self.processes.len() >= MAX_PROCESSES {
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
        if self.relay.connected() {
            return Ok(Next::Relay(Relayed::Stats(number)));
        }
        Ok(Next::Answer(self.known_stats(&request.id)))
    }

    fn known_stats(&self, id: &str) -> Vec<u8> {
        self.last_stats.get(id).cloned().unwrap_or_else(zero_stats)
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

/// What trined's answers do to the table.
impl Shim {
    pub fn relay_done(&mut self, what: Relayed, call: Option<Call>, answer: Answer) {
        let answer = match answer {
            Ok(payload) => self.relayed_ok(what, payload, call.is_some()),
            Err(failure) => self.relayed_failed(what, failure),
        };
        if let Some(call) = call {
            self.reply(call, answer);
        }
        if let Relayed::Delete(number) = what {
            self.task_removed(number);
        }
    }

    /// The caller's deadline has passed. What trined never heard of has not happened.
    pub fn relay_expired(&mut self, what: Relayed, ever_sent: bool, call: Option<Call>) {
        let answer = match what {
            Relayed::Stats(number) => {
                let id = self.processes.get(&number).map_or("", |p| p.id.as_str());
                Ok(self.known_stats(id))
            }
            _ => too_late(what),
        };
        match what {
            Relayed::Create(number) | Relayed::Exec(number) if !ever_sent => {
                self.processes.remove(&number);
            }
            Relayed::Create(number) | Relayed::Exec(number) | Relayed::Start(number) => {
                self.set_busy(number, false);
            }
            _ => {}
        }
        if let Some(call) = call {
            self.reply(call, answer);
        }
    }

    fn set_busy(&mut self, number: u32, busy: bool) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.busy = busy;
        }
    }

    fn relayed_failed(&mut self, what: Relayed, failure: Failure) -> Answer {
        match what {
            Relayed::Create(number) | Relayed::Exec(number) => {
                self.processes.remove(&number);
            }
            Relayed::Start(number) => self.set_busy(number, false),
            Relayed::Stats(number) => {
                let id = self.processes.get(&number).map_or("", |p| p.id.as_str());
                return Ok(self.known_stats(id));
            }
            _ => {}
        }
        Err(failure)
    }

    fn relayed_ok(&mut self, what: Relayed, payload: Vec<u8>, has_caller: bool) -> Answer {
        match what {
            Relayed::Create(number) => self.created(number, &payload),
            Relayed::Start(number) => self.started(number, &payload),
            Relayed::Exec(number) => Ok(self.exec_added(number)),
            Relayed::Delete(number) => Ok(self.deleted(number, has_caller)),
            Relayed::Stats(number) => Ok(self.new_stats(number, payload)),
            Relayed::Pause(number) => Ok(self.paused(number, true)),
            Relayed::Resume(number) => Ok(self.paused(number, false)),
            Relayed::Kill(_) | Relayed::Update(_) => Ok(empty()),
        }
    }

    fn created(&mut self, number: u32, payload: &[u8]) -> Answer {
        let response: task::CreateTaskResponse = decode(payload)?;
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "the task is gone"));
        };
        process.busy = false;
        if response.pid != 0 {
            process.pid = response.pid;
        }
        let [stdin, stdout, stderr] = process.paths.clone();
        let event = TaskCreate {
            container_id: process.id.clone(),
            bundle: process.bundle.clone(),
            io: Some(TaskIo {
                stdin,
                stdout,
                stderr,
                terminal: process.terminal,
            }),
            checkpoint: String::new(),
            pid: process.pid,
        };
        self.publisher.publish("create", "TaskCreate", &event);
        Ok(task::CreateTaskResponse { pid: process.pid }.encode_to_vec())
    }

    fn started(&mut self, number: u32, payload: &[u8]) -> Answer {
        let response: task::StartResponse = decode(payload)?;
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "the task is gone"));
        };
        process.busy = false;
        if response.pid != 0 {
            process.pid = response.pid;
        }
        if process.status == Status::Created {
            process.status = Status::Running;
        }
        let (container_id, pid) = (process.id.clone(), process.pid);
        if process.is_task() {
            self.publisher
                .publish("start", "TaskStart", &TaskStart { container_id, pid });
        } else {
            let exec_id = process.exec_id.clone();
            let event = TaskExecStarted {
                container_id,
                exec_id,
                pid,
            };
            self.publisher
                .publish("exec-started", "TaskExecStarted", &event);
        }
        Ok(task::StartResponse { pid }.encode_to_vec())
    }

    fn exec_added(&mut self, number: u32) -> Vec<u8> {
        if let Some(process) = self.processes.get_mut(&number) {
            process.busy = false;
            let event = TaskExecAdded {
                container_id: process.id.clone(),
                exec_id: process.exec_id.clone(),
            };
            self.publisher
                .publish("exec-added", "TaskExecAdded", &event);
        }
        empty()
    }

    fn paused(&mut self, number: u32, paused: bool) -> Vec<u8> {
        if let Some(process) = self.processes.get_mut(&number).filter(|p| !p.is_stopped()) {
            let container_id = process.id.clone();
            if paused {
                process.status = Status::Paused;
                self.publisher
                    .publish("paused", "TaskPaused", &TaskPaused { container_id });
            } else {
                process.status = Status::Running;
                self.publisher
                    .publish("resumed", "TaskResumed", &TaskResumed { container_id });
            }
        }
        empty()
    }

    /// An answer without statistics must not reach containerd.
    fn new_stats(&mut self, number: u32, payload: Vec<u8>) -> Vec<u8> {
        let id = self
            .processes
            .get(&number)
            .map_or_else(String::new, |p| p.id.clone());
        let full = decode::<task::StatsResponse>(&payload).is_ok_and(|r| {
            r.stats
                .is_some_and(|s| !s.type_url.is_empty() && !s.value.is_empty())
        });
        if !full {
            return self.known_stats(&id);
        }
        self.last_stats.insert(id, payload.clone());
        payload
    }

    fn deleted(&mut self, number: u32, has_caller: bool) -> Vec<u8> {
        let Some(process) = self.processes.get_mut(&number) else {
            return empty();
        };
        process.deleted = true;
        let now = Instant::now();
        process.stdout.end(now);
        process.stderr.end(now);
        let (id, pid, exit_status) = (process.id.clone(), process.pid, process.exit_status);
        let exited_at = process.exited_at.or_else(|| Some(now_stamp()));
        if process.is_task() {
            self.last_stats.remove(&id);
            let event = TaskDelete {
                container_id: id.clone(),
                pid,
                exit_status,
                exited_at,
                id: id.clone(),
            };
            self.publisher.publish("delete", "TaskDelete", &event);
            self.delete_execs_of(&id);
        }
        self.drain_soon();
        self.task_gone(has_caller);
        let response = task::DeleteResponse {
            pid,
            exit_status,
            exited_at,
        };
        response.encode_to_vec()
    }

    fn delete_execs_of(&mut self, id: &str) {
        let now = Instant::now();
        for exec in self
            .processes
            .values_mut()
            .filter(|p| p.id == id && !p.is_task())
        {
            exec.deleted = true;
            exec.stdout.end(now);
            exec.stderr.end(now);
        }
    }

    /// After the reply to Delete: trined may forget the task, and other Deletes of it are done too.
    fn task_removed(&mut self, number: u32) {
        let removed = match self.processes.get(&number) {
            Some(process) if process.deleted => process.is_task().then(|| process.id.clone()),
            _ => return,
        };
        if let Some(id) = removed {
            self.notes.push(What::TaskRemoved(TaskRemoved { id }));
        }
        for call in self.relay.forget(|what| what == Relayed::Delete(number)) {
            self.reply(call, Err(failure(Code::NotFound, "the task is deleted")));
        }
    }
}

/// Ends.
impl Shim {
    /// The one way a process ends. Repeated, it changes nothing.
    pub fn end_process(&mut self, number: u32, exit_status: u32, at: Timestamp, oom: bool) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        if process.is_stopped() {
            return;
        }
        process.status = Status::Stopped;
        process.exit_status = exit_status;
        process.exited_at = Some(at);
        let now = Instant::now();
        process.stdout.end(now);
        process.stderr.end(now);
        let (id, exec_id, pid) = (process.id.clone(), process.exec_id.clone(), process.pid);
        let note = process.describe();
        let waiters = std::mem::take(&mut process.waiters);
        let answer = wait_response(process).encode_to_vec();

        // A Kill that is still open has done its work; containerd must have its answer before Wait's.
        for call in self.relay.forget(|what| what == Relayed::Kill(number)) {
            self.reply(call, Ok(empty()));
        }
        if exec_id.is_empty() {
            self.end_execs_of(&id, at);
        }
        if oom {
            let container_id = id.clone();
            self.publisher
                .publish("oom", "TaskOOM", &TaskOom { container_id });
        }
        let event = TaskExit {
            container_id: id.clone(),
            id: if exec_id.is_empty() { id } else { exec_id },
            pid,
            exit_status,
            exited_at: Some(at),
        };
        self.publisher.publish("exit", "TaskExit", &event);
        for call in waiters {
            self.reply(call, Ok(answer.clone()));
        }
        self.notes.push(What::ProcessExited(note));
        self.drain_soon();
    }

    fn end_execs_of(&mut self, id: &str, at: Timestamp) {
        let execs = self
            .processes
            .iter()
            .filter(|(_, p)| p.id == id && !p.is_task() && !p.is_stopped());
        let execs: Vec<u32> = execs.map(|(number, _)| *number).collect();
        for number in execs {
            self.end_process(number, 128 + SIGKILL, at, false);
        }
    }

    /// Closes what has been read to its end; processes that are deleted and closed are gone for good.
    pub fn drain_ended(&mut self, now: Instant) {
        let connected = self.containerd_connected();
        let ended = self.processes.iter().filter(|(_, p)| p.is_draining());
        let ended: Vec<u32> = ended.map(|(number, _)| *number).collect();
        for number in ended {
            self.feed_console_of(number);
            let more = self.console_has_more(number);
            let Some(process) = self.processes.get_mut(&number) else {
                continue;
            };
            process.stdout.pump(&self.reactor);
            process.stderr.pump(&self.reactor);
            let may_give_up = connected || process.deleted;
            let stdout = process.stdout.drained(more, may_give_up, now);
            let stderr = process.stderr.drained(false, may_give_up, now);
            if stdout && stderr && process.deleted {
                self.processes.remove(&number);
                self.drop_idle_consoles();
            }
        }
    }

    pub fn output_ready(&mut self, token: Token, number: u32) {
        if let Some(process) = self.processes.get_mut(&number) {
            let output = match token {
                Token::Stdout(_) => &mut process.stdout,
                _ => &mut process.stderr,
            };
            output.unblock();
            output.pump(&self.reactor);
        }
        self.feed_console_of(number);
    }
}

/// pids, cpu and memory present and zero: containerd 1.6 dies of an empty answer.
fn zero_stats() -> Vec<u8> {
    let zero = Metrics {
        pids: Some(PidsStat::default()),
        cpu: Some(CpuStat::default()),
        memory: Some(MemoryStat::default()),
        ..Metrics::default()
    };
    let stats = Some(Any {
        type_url: "io.containerd.cgroups.v2.Metrics".to_owned(),
        value: zero.encode_to_vec(),
    });
    task::StatsResponse { stats }.encode_to_vec()
}

fn wait_response(process: &Process) -> task::WaitResponse {
    task::WaitResponse {
        exit_status: process.exit_status,
        exited_at: process.exited_at,
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
