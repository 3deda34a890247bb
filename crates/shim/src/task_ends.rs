//! How a process ends: status, events, waiting callers, and its last output.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use trine_wire::events::{TaskExit, TaskOom};
use trine_wire::shim::event::What;
use trine_wire::task::{self, Status};
use trine_wire::{Message, Timestamp};

use crate::answer::{Code, empty, failure};
use crate::process::{Process, now_stamp};
use crate::reactor::Token;
use crate::relay::Relayed;
use crate::shim::Shim;
use crate::tasks::SIGKILL;

/// Between the answer to a Kill and the news of the end. containerd closes the connection once it knows of the
/// end, and a caller of Kill that has not run since its answer came then reads "ttrpc: closed" instead
/// (github.com/containerd/ttrpc, client.go: dispatch waits for both at once).
const KILL_PAUSE: Duration = Duration::from_millis(20);

/// CRI-O takes no events and looks for this file.
const OOM_FILE: &str = "oom";

fn note_oom(bundle: &str) -> io::Result<()> {
    match bundle {
        "" => Ok(()),
        path => fs::write(Path::new(path).join(OOM_FILE), ""),
    }
}

impl Shim {
    /// The end of a process that has no program of its own, after its Kill has been answered.
    pub fn end_soon(&mut self, number: u32, exit_status: u32) {
        if let Some(process) = self.processes.get_mut(&number) {
            process
                .killed
                .get_or_insert((Instant::now() + KILL_PAUSE, exit_status));
        }
    }

    pub fn end_killed(&mut self, now: Instant) {
        let due = |(number, process): (&u32, &Process)| match process.killed {
            Some((at, exit_status)) if at <= now && !process.is_stopped() => {
                Some((*number, exit_status))
            }
            _ => None,
        };
        let due: Vec<(u32, u32)> = self.processes.iter().filter_map(due).collect();
        for (number, exit_status) in due {
            self.end_process(number, exit_status, now_stamp(), false);
        }
    }

    pub fn killed_deadline(&self) -> Option<Instant> {
        let killed = self.processes.values().filter(|p| !p.is_stopped());
        killed.filter_map(|p| p.killed.map(|(at, _)| at)).min()
    }

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
        process.stdin.shut();
        let now = Instant::now();
        process.stdout.end(now);
        process.stderr.end(now);
        let (id, exec_id, pid) = (process.id.clone(), process.exec_id.clone(), process.pid);
        let note = process.describe();
        let waiters = std::mem::take(&mut process.waiters);
        let answer = wait_response(process).encode_to_vec();

        // A Kill that is still open has done its work; containerd must have its answer before Wait's.
        let mut kills = self.relay.forget(|what| what == Relayed::Kill(number));
        if let Some(nested) = &mut self.nested {
            kills.extend(nested.forget(|what| what == Relayed::Kill(number)));
        }
        for call in kills {
            self.reply(call, Ok(empty()));
        }
        // The nested shim tells of its execs' own ends.
        if exec_id.is_empty() && !self.nested_has(number) {
            self.end_execs_of(&id, at);
        }
        if oom {
            let container_id = id.clone();
            self.publish(number, "oom", "TaskOOM", &TaskOom { container_id });
            if let Err(error) = note_oom(&note.bundle) {
                self.log.line(&format!("task {id}: note its OOM: {error}"));
            }
        }
        let event = TaskExit {
            container_id: id.clone(),
            id: if exec_id.is_empty() { id } else { exec_id },
            pid,
            exit_status,
            exited_at: Some(at),
        };
        self.publish(number, "exit", "TaskExit", &event);
        for call in waiters {
            self.reply(call, Ok(answer.clone()));
        }
        self.notes.push(What::ProcessExited(note));
        self.drain_soon();
    }

    /// It never came to be: whoever waits for it must not wait for ever.
    pub fn drop_process(&mut self, number: u32) {
        self.drop_guest_streams(number);
        let waiters = self.processes.remove(&number).map(|p| p.waiters);
        for call in waiters.unwrap_or_default() {
            self.reply(call, Err(failure(Code::NotFound, "it was never created")));
        }
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
            if let Some(process) = self.processes.get_mut(&number) {
                process.stdout.pump(&self.reactor);
                process.stderr.pump(&self.reactor);
            }
            let more = self.console_has_more(number);
            let (more_out, more_err) = self.guest_has_more(number);
            let Some(process) = self.processes.get_mut(&number) else {
                continue;
            };
            let may_give_up = connected || process.deleted;
            let stdout = process.stdout.drained(more || more_out, may_give_up, now);
            let stderr = process.stderr.drained(more_err, may_give_up, now);
            if stdout && stderr {
                let deleted = process.deleted;
                self.drop_guest_streams(number);
                if deleted {
                    self.processes.remove(&number);
                }
                self.drop_idle_channels();
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
        self.feed_guest_of(number);
    }
}

pub fn wait_response(process: &Process) -> task::WaitResponse {
    task::WaitResponse {
        exit_status: process.exit_status,
        exited_at: process.exited_at,
    }
}
