//! What happens to processes and containers by themselves: they get ready, run, end, run out of memory, are gone.

use trine_wire::Message;
use trine_wire::agent::{Exit, StartProcessResponse};

use crate::agent::Agent;
use crate::answer::{Answer, Call, Code, Failure, failure};
use crate::container::Container;
use crate::container::namespaces::Pinned;
use crate::container::report::{self, Message as Report};
use crate::helper::let_go;
use crate::process::{Stage, now};
use crate::stdio::{self, Output};
use crate::{signals, sys};

/// As shells have it: a program that is not there, and one that cannot be executed.
const NOT_FOUND: u32 = 127;
const NOT_EXECUTABLE: u32 = 126;

impl Agent {
    /// Takes what a child that is not yet its program has to say.
    pub fn read_report(&mut self, number: u32) {
        loop {
            let Some(process) = self.processes.get_mut(&number) else {
                return;
            };
            let Some(fd) = &process.report else { return };
            match report::receive(fd) {
                Ok(Report::NothingYet) => return,
                Ok(Report::Terminal(master)) => {
                    if let Err(error) = process.take_terminal(number, master) {
                        return self.could_not(number, &error.to_string());
                    }
                }
                Ok(Report::Ready) => self.is_ready(number),
                Ok(Report::Failed(text)) => return self.could_not(number, &text),
                Ok(Report::Closed) => return self.is_running(number),
                Err(error) => return self.could_not(number, &error.to_string()),
            }
        }
    }

    fn is_ready(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let Stage::Preparing(call) = process.stage else {
            return;
        };
        if process.is_init() {
            // Before its program runs, which could change what these names mean.
            let container = self.containers.get_mut(&process.container);
            let kept = Pinned::of(process.pid).and_then(|pinned| match container {
                Some(container) => {
                    container.pinned = Some(pinned);
                    container.guard(&self.groups)
                }
                None => Ok(()),
            });
            if let Err(error) = kept {
                return self.could_not(number, &error.to_string());
            }
        }
        process.stage = Stage::Created;
        self.answer(call, Ok(Vec::new()));
    }

    /// The report's socket was closed: by exec, or by a death whose status comes with SIGCHLD.
    fn is_running(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        if process.report.take().is_none() {
            return; // it has had its say
        }
        match process.stage {
            Stage::Starting(call) => {
                process.stage = Stage::Running;
                let pid = process.pid.cast_unsigned();
                let response = StartProcessResponse { pid };
                self.answer(call, Ok(response.encode_to_vec()));
            }
            Stage::Preparing(_) => self.could_not(number, "the new process died"),
            Stage::Created | Stage::Running | Stage::Ended(_) => {}
        }
    }

    /// The child could not become its program. What could not be made is forgotten; what could not be started
    /// has ended.
    fn could_not(&mut self, number: u32, text: &str) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        process.report = None;
        // A child that is past its report ends by itself.
        let _ = signals::send(&process.pidfd, libc::SIGKILL.cast_unsigned());
        let container = process.container.clone();
        let is_init = process.is_init();
        // Not the kind that trined keeps to itself: container tools look for these words.
        let wrong = failure(Code::FailedPrecondition, text);
        match process.stage {
            Stage::Preparing(call) => {
                if is_init {
                    self.abandon(&container, call, wrong);
                } else {
                    self.forget_process(number);
                    self.answer(call, Err(wrong));
                }
            }
            Stage::Starting(call) => {
                let status = if text.contains("no such file") {
                    NOT_FOUND
                } else {
                    NOT_EXECUTABLE
                };
                self.end(number, status);
                self.answer(call, Err(wrong));
            }
            Stage::Created | Stage::Running | Stage::Ended(_) => {}
        }
    }

    /// SIGCHLD has told of this one.
    pub fn child_ended(&mut self, pid: i32, status: u32) {
        if self.helper_ended(pid) || self.release_ended(pid) || self.freezer_ended(pid) {
            return;
        }
        let found = self
            .processes
            .iter()
            .find(|(_, p)| p.pid == pid && p.exit().is_none());
        let Some((number, _)) = found else { return };
        let number = *number;
        // Its last words may still be in the socket.
        self.read_report(number);
        // A child that was forked beside it and has not run yet holds a copy of its end: the socket says nothing then.
        self.is_running(number);
        self.end(number, status);
    }

    fn end(&mut self, number: u32, status: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        if process.exit().is_some() {
            return;
        }
        process.report = None;
        let (id, is_init) = (process.container.clone(), process.is_init());
        let mut oom = false;
        if let Some(container) = self.containers.get(&id) {
            oom = container.group.oom_kills() > process.oom_kills;
            if is_init {
                // In a PID namespace of its own the kernel does this; in the pod's nobody else would.
                let _ = container.group.kill();
            }
        }
        process.stage = Stage::Ended(Exit {
            status,
            at: Some(now()),
            oom,
        });
        stdio::drain(self, number, Output::Stdout);
        stdio::drain(self, number, Output::Stderr);
        self.tell_exit(number);
        self.oom_check(&id);
        self.remove_if_over(&id);
    }

    /// A container whose first process could not be made leaves nothing: its name is free when that is answered.
    fn abandon(&mut self, id: &str, call: Call, wrong: Failure) {
        if let Some(container) = self.containers.get_mut(id) {
            let _ = container.group.kill();
            container.abandoned = Some((call, wrong));
        }
        self.remove_if_over(id);
    }

    /// Forgets a container that is to go when nothing of it is left, and tells who waits.
    pub fn remove_if_over(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let unwanted = container.abandoned.is_some() || !container.removing.is_empty();
        if !unwanted || container.group.is_populated() {
            return;
        }
        let lives = |p: &crate::process::Process| p.container == id && p.exit().is_none();
        if container.abandoned.is_none() && self.processes.values().any(lives) {
            return;
        }
        // Busy for as long as the kernel has not finished with the last process; it says so by an event.
        if let Err(error) = self.groups.remove(container.group.name())
            && error.kind() == std::io::ErrorKind::ResourceBusy
        {
            return;
        }
        let Some(mut container) = self.containers.remove(id) else {
            return;
        };
        let numbers: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, p)| p.container == id)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.forget_process(number);
        }
        self.tell_all(std::mem::take(&mut container.freezing));
        self.let_container_go(id, container);
    }

    /// Lets go of a container that is over, and tells who waits for that.
    fn let_container_go(&mut self, id: &str, mut container: Container) {
        let disks = self.own_disks(&container);
        let pinned = container.pinned.take();
        let removed = container.removing.into_iter().map(|c| (c, Ok(Vec::new())));
        let abandoned = container.abandoned.map(|(call, wrong)| (call, Err(wrong)));
        let calls: Vec<(Call, Answer)> = removed.chain(abandoned).collect();
        if !disks.is_empty() {
            return self.release(id, pinned, disks, calls);
        }
        if let Some(pinned) = pinned {
            let_go(pinned);
        }
        for (call, answer) in calls {
            self.answer(call, answer);
        }
    }

    pub fn forget_process(&mut self, number: u32) {
        let Some(process) = self.processes.remove(&number) else {
            return;
        };
        let streams = process.streams;
        let all = [streams.stdin, streams.stdout, streams.stderr];
        for id in all.into_iter().flatten().chain(streams.exits) {
            self.roles.remove(&id);
            self.link.mux.abort(id, "the process was removed");
        }
    }

    fn tell_all(&mut self, calls: Vec<Call>) {
        for call in calls {
            self.answer(call, Ok(Vec::new()));
        }
    }

    pub fn memory_event(&mut self, number: u32) {
        let Some(id) = self.container_numbered(number) else {
            return;
        };
        if let Some(container) = self.containers.get(&id)
            && let Some(watched) = &container.memory_events
        {
            sys::silence(watched);
        }
        self.oom_check(&id);
    }

    fn oom_check(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let kills = container.group.oom_kills();
        if kills > container.oom_kills {
            container.oom_kills = kills;
            for (call, response) in self.events.oom(id) {
                self.answer(call, Ok(response));
            }
        }
    }

    /// The group was frozen, thawed, emptied or filled.
    pub fn group_changed(&mut self, number: u32) {
        let Some(id) = self.container_numbered(number) else {
            return;
        };
        if let Some(container) = self.containers.get_mut(&id) {
            if let Some(watched) = &container.freezer_events {
                sys::silence(watched);
            }
            let frozen = container.group.is_frozen();
            let waiting = if frozen {
                std::mem::take(&mut container.freezing)
            } else {
                Vec::new()
            };
            self.tell_all(waiting);
        }
        self.remove_if_over(&id);
    }

    fn container_numbered(&self, number: u32) -> Option<String> {
        let found = self.containers.iter().find(|(_, c)| c.number == number);
        found.map(|(id, _)| id.clone())
    }
}
