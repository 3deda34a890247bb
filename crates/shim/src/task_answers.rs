//! What trined's answers to relayed calls do to the table of processes, and which events they make.

use std::time::Instant;

use trine_wire::events::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskIo, TaskPaused, TaskResumed,
    TaskStart,
};
use trine_wire::metrics::{CpuStat, MemoryStat, Metrics, PidsStat};
use trine_wire::shim::TaskRemoved;
use trine_wire::shim::event::What;
use trine_wire::task::{self, Status};
use trine_wire::{Any, Message};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::process::now_stamp;
use crate::relay::{Relayed, too_late};
use crate::server::Call;
use crate::shim::Shim;
use crate::task_ends::wait_response;
use crate::tasks::own_pid;

impl Shim {
    /// An event of a process, unless the nested shim tells of it.
    pub fn publish(&mut self, number: u32, topic: &str, name: &str, event: &impl Message) {
        if !self.nested_has(number) {
            self.publisher.publish(topic, name, event);
        }
    }

    pub fn known_stats(&self, id: &str) -> Vec<u8> {
        self.last_stats.get(id).cloned().unwrap_or_else(zero_stats)
    }

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
            _ if self.nested_has(what.process()) => too_late(what, "the nested shim"),
            _ => too_late(what, "trined"),
        };
        match what {
            Relayed::Create(number) | Relayed::Exec(number) if !ever_sent => {
                self.drop_process(number);
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
                self.drop_process(number);
            }
            Relayed::Start(number) => self.set_busy(number, false),
            Relayed::Stats(number) => {
                let id = self.processes.get(&number).map_or("", |p| p.id.as_str());
                return Ok(self.known_stats(id));
            }
            // An error would make containerd 2 throw the container away.
            Relayed::Pids(number) => {
                if let Some(process) = self.processes.get(&number) {
                    return Ok(own_pid(process));
                }
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
            Relayed::Wait(_) | Relayed::Pids(_) => Ok(payload),
            Relayed::Resize(_) | Relayed::CloseIo(_) => Ok(empty()),
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
        self.publish(number, "create", "TaskCreate", &event);
        Ok(task::CreateTaskResponse { pid: event.pid }.encode_to_vec())
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
            self.publish(
                number,
                "start",
                "TaskStart",
                &TaskStart { container_id, pid },
            );
        } else {
            let exec_id = process.exec_id.clone();
            let event = TaskExecStarted {
                container_id,
                exec_id,
                pid,
            };
            self.publish(number, "exec-started", "TaskExecStarted", &event);
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
            self.publish(number, "exec-added", "TaskExecAdded", &event);
        }
        empty()
    }

    fn paused(&mut self, number: u32, paused: bool) -> Vec<u8> {
        if let Some(process) = self.processes.get_mut(&number).filter(|p| !p.is_stopped()) {
            let container_id = process.id.clone();
            if paused {
                process.status = Status::Paused;
                self.publish(number, "paused", "TaskPaused", &TaskPaused { container_id });
            } else {
                process.status = Status::Running;
                self.publish(
                    number,
                    "resumed",
                    "TaskResumed",
                    &TaskResumed { container_id },
                );
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
        if !id.is_empty() {
            self.last_stats.insert(id, payload.clone());
        }
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
        let exited_at = *process.exited_at.get_or_insert_with(now_stamp);
        let exited_at = Some(exited_at);
        let is_task = process.is_task();
        self.end_waits(number);
        if is_task {
            self.last_stats.remove(&id);
            let event = TaskDelete {
                container_id: id.clone(),
                pid,
                exit_status,
                exited_at,
                id: id.clone(),
            };
            self.publish(number, "delete", "TaskDelete", &event);
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
        let execs = self.processes.iter_mut();
        let execs = execs.filter(|(_, p)| p.id == id && !p.is_task());
        let mut numbers = Vec::new();
        for (number, exec) in execs {
            exec.deleted = true;
            exec.exited_at.get_or_insert_with(now_stamp);
            exec.stdout.end(now);
            exec.stderr.end(now);
            numbers.push(*number);
        }
        for number in numbers {
            self.end_waits(number);
        }
    }

    /// Deleted without ever having run, so without an end of its own that would answer them.
    fn end_waits(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let answer = wait_response(process).encode_to_vec();
        for call in std::mem::take(&mut process.waiters) {
            self.reply(call, Ok(answer.clone()));
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
        let mut calls = self.relay.forget(|what| what == Relayed::Delete(number));
        if let Some(nested) = &mut self.nested {
            // Of an exec that never ran the Wait would stay for ever.
            calls.extend(nested.forget(|what| what.process() == number));
        }
        for call in calls {
            self.reply(call, Err(failure(Code::NotFound, "the task is deleted")));
        }
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
