//! The task service, as containerd calls it. State, Wait, Connect and Pids are answered from the table of
//! processes, with or without trined.

use std::time::Instant;

use trine_wire::Message;
use trine_wire::shim::ConsoleResize;
use trine_wire::shim::event::What;
use trine_wire::task::{self, Status};

use crate::answer::{Code, Failure, decode, empty, failure};
use crate::process::{NewProcess, Process};
use crate::relay::Relayed;
use crate::server::Call;
use crate::shim::Shim;
use crate::task_ends::wait_response;

pub const SIGKILL: u32 = 9;
/// What ends a pause process, and so a sandbox task.
const ENDS_SANDBOX: [u32; 3] = [2, SIGKILL, 15];

/// How a call goes on.
enum Next {
    Answer(Vec<u8>),
    Relay(Relayed),
    Wait(u32),
    AnswerThenEnd(u32, u32),
    AnswerThenShutdown,
}

fn answer(message: &impl Message) -> Result<Next, Failure> {
    Ok(Next::Answer(message.encode_to_vec()))
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
            Ok(Next::Relay(what)) if self.is_nested(what.process()) => {
                self.forward(Some(call), payload, what);
            }
            Ok(Next::Relay(what)) => self.relay(call, payload, what),
            Ok(Next::Wait(number)) => self.add_waiter(number, call),
            Ok(Next::AnswerThenEnd(number, exit_status)) => {
                self.reply(call, Ok(empty()));
                self.end_soon(number, exit_status);
            }
            Ok(Next::AnswerThenShutdown) => {
                self.reply(call, Ok(empty()));
                self.shutdown_asked();
            }
            Err(failure) => self.reply(call, Err(failure)),
        }
    }

    fn is_nested(&self, number: u32) -> bool {
        self.processes
            .get(&number)
            .is_some_and(|p| p.nested.is_some())
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
        let (number, process) = self.found(&request.id, "")?;
        // Of one that has ended an empty list, or an error, would make containerd 2 throw it away.
        if self.nested_has(number) && process.status == Status::Running {
            return Ok(Next::Relay(Relayed::Pids(number)));
        }
        Ok(Next::Answer(own_pid(process)))
    }

    fn create(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::CreateTaskRequest = decode(payload)?;
        let number = self.add_process(NewProcess {
            id: request.id,
            exec_id: String::new(),
            bundle: request.bundle,
            paths: [request.stdin, request.stdout, request.stderr],
            terminal: request.terminal,
            nested: None,
        })?;
        self.task_came();
        Ok(Next::Relay(Relayed::Create(number)))
    }

    fn exec(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::ExecProcessRequest = decode(payload)?;
        let (_, task) = self.found(&request.id, "")?;
        if task.is_stopped() || task.killed.is_some() {
            return Err(wrong_state(task, "exec in"));
        }
        let (bundle, nested) = (task.bundle.clone(), task.nested);
        if request.exec_id.is_empty() {
            return Err(failure(Code::InvalidArgument, "an exec needs an exec_id"));
        }
        let number = self.add_process(NewProcess {
            id: request.id,
            exec_id: request.exec_id,
            bundle,
            paths: [request.stdin, request.stdout, request.stderr],
            terminal: request.terminal,
            nested,
        })?;
        Ok(Next::Relay(Relayed::Exec(number)))
    }

    fn start(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::StartRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "no such task"));
        };
        if process.status != Status::Created || process.killed.is_some() {
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
        if process.nested.is_some() {
            return Ok(Next::Relay(Relayed::Kill(number)));
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
        if self.is_nested(number) || self.relay.keeps_up() {
            return Ok(Next::Relay(Relayed::Stats(number)));
        }
        Ok(Next::Answer(self.known_stats(&request.id)))
    }

    fn resize(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::ResizePtyRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        if self.is_nested(number) {
            return Ok(Next::Relay(Relayed::Resize(number)));
        }
        self.notes.push(What::Resize(ConsoleResize {
            id: request.id,
            width: request.width,
            height: request.height,
            exec_id: request.exec_id,
        }));
        Ok(Next::Answer(empty()))
    }

    fn close_io(&mut self, payload: &[u8]) -> Result<Next, Failure> {
        let request: task::CloseIoRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        if self.is_nested(number) {
            return Ok(Next::Relay(Relayed::CloseIo(number)));
        }
        if request.stdin {
            if let Some(process) = self.processes.get_mut(&number) {
                process.stdin.close();
            }
            self.input_ready(number);
        }
        Ok(Next::Answer(empty()))
    }
}

/// What Pids answers of a task that has no more to show than its own process.
pub fn own_pid(process: &Process) -> Vec<u8> {
    let own = task::ProcessInfo {
        pid: process.pid,
        info: None,
    };
    let processes = vec![own];
    task::PidsResponse { processes }.encode_to_vec()
}

fn wrong_state(process: &Process, what: &str) -> Failure {
    let state = process.status.as_str_name();
    let message = format!(
        "cannot {what} task {} {}: it is {state}",
        process.id, process.exec_id
    );
    failure(Code::FailedPrecondition, message)
}
