//! The shim's children: VMMs and their helpers. They are its own because nobody else would learn how they end.

use trine_wire::shim;
use trine_wire::shim::event::What;

use crate::answer::{Code, Failure, failure};
use crate::channels::Kind;
use crate::child::{Child, Ended};
use crate::child_log::ChildLog;
use crate::descriptors::invalid;
use crate::host::{cgroup, spawn};
use crate::nested::NESTED_KEY;
use crate::process::now_stamp;
use crate::reactor::Token;
use crate::shim::Shim;
use crate::signals::{self, Status};

const MAX_CHILDREN: usize = 64;
const MAX_KEY: usize = 255;
const MAX_RULES: usize = 64;

impl Shim {
    pub fn spawn(&mut self, request: shim::SpawnRequest) -> Result<shim::SpawnResponse, Failure> {
        if let Some(child) = self.children.get(&request.key) {
            return Ok(shim::SpawnResponse {
                pid: u32::try_from(child.pid).unwrap_or(0),
                already: true,
            });
        }
        if !(1..=MAX_KEY).contains(&request.key.len()) || request.argv.is_empty() {
            return Err(invalid("spawn needs a key of 1 to 255 bytes and an argv"));
        }
        let long = |rule: &shim::ExitRule| rule.reason.len() > MAX_KEY;
        if request.exit_rules.len() > MAX_RULES || request.exit_rules.iter().any(long) {
            return Err(invalid("at most 64 exit rules with short reasons"));
        }
        if self.children.len() >= MAX_CHILDREN {
            return Err(failure(
                Code::ResourceExhausted,
                "too many children; reap some",
            ));
        }
        let task = self.task_for_child(&request.task_id)?;
        let spawned = self.spawn_with_channels(&request);
        if spawned.is_err() {
            for number in self.channels_of(&request.key) {
                self.channels.remove(&number);
            }
            self.serves.retain(|_, served| served.key != request.key);
        }
        let spawned = spawned?;
        let child = Child {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            task,
            task_id: request.task_id,
            rules: request.exit_rules,
            reason: String::new(),
            oom_before: cgroup::oom_kills(&self.identity.cgroups),
            killed: false,
            ended: None,
            task_ended: false,
        };
        let pid = u32::try_from(child.pid).unwrap_or(0);
        self.log
            .line(&format!("child {} started as {pid}", request.key));
        self.children.insert(request.key.clone(), child);
        for number in self.channels_of(&request.key) {
            self.channel_ready(number);
        }
        Ok(shim::SpawnResponse {
            pid,
            already: false,
        })
    }

    /// A task that has ended gets no new process: a start that was given up must not come true later.
    fn task_for_child(&self, id: &str) -> Result<Option<u32>, Failure> {
        if id.is_empty() {
            return Ok(None);
        }
        let number = self.find(id, "")?;
        match self.processes.get(&number) {
            Some(task) if !task.is_stopped() && task.killed.is_none() => Ok(Some(number)),
            _ => Err(failure(
                Code::FailedPrecondition,
                format!("task {id} has ended"),
            )),
        }
    }

    fn spawn_with_channels(
        &mut self,
        request: &shim::SpawnRequest,
    ) -> Result<spawn::Spawned, Failure> {
        let mut fds = Vec::new();
        for descriptor in &request.descriptors {
            fds.push((
                descriptor.number,
                self.open_descriptor(&request.key, descriptor)?,
            ));
        }
        let mut log = None;
        if !request.log_path.is_empty() {
            let number = self.number();
            let (child_log, writer) = ChildLog::open(&request.log_path, Token::ChildLog(number))?;
            self.child_logs.insert(number, child_log);
            log = Some((number, writer));
        }
        let number = log.as_ref().map(|(number, _)| *number);
        let plan = spawn::SpawnPlan {
            argv: request.argv.clone(),
            env: request.env.clone(),
            fds,
            uid: request.uid,
            gid: request.gid,
            groups: request.groups.clone(),
            jail: request.jail.as_ref().map(jail_of),
            log: log.map(|(_, writer)| writer),
            oom_score_adj: request.oom_score_adj,
            max_open_files: request.max_open_files,
            max_locked_bytes: request.max_locked_bytes,
            keep_privileges: request.keep_capabilities,
            working_dir: request.working_dir.clone(),
        };
        let spawned = spawn::spawn(plan);
        // Also after a failure: what the child said before it failed is worth keeping.
        if let Some(number) = number {
            self.child_log_ready(number);
        }
        Ok(spawned?)
    }

    pub fn signal_child(&mut self, key: &str, signal: u32) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(key) else {
            return Err(failure(
                Code::NotFound,
                format!("child {key} does not exist"),
            ));
        };
        if child.is_running() {
            child.killed |= signal == libc::SIGKILL as u32;
            signals::send(&child.pidfd, signal)?;
        }
        Ok(())
    }

    /// False: the task has no running child.
    pub fn kill_child_of(&mut self, task: u32) -> bool {
        let keys = self.running_children_of(task);
        for key in &keys {
            if let Err(failure) = self.signal_child(key, libc::SIGKILL as u32) {
                self.log.line(&format!("kill {key}: {}", failure.0.message));
            }
        }
        !keys.is_empty()
    }

    pub fn has_running_child(&self, task: u32) -> bool {
        !self.running_children_of(task).is_empty()
    }

    fn running_children_of(&self, task: u32) -> Vec<String> {
        let of_task = self
            .children
            .iter()
            .filter(|(_, c)| c.task == Some(task) && c.is_running());
        of_task.map(|(key, _)| key.clone()).collect()
    }

    pub fn reap_children(&mut self) {
        self.signals.clear();
        while let Some((pid, status)) = signals::next_ended() {
            let found = self
                .children
                .iter()
                .find(|(_, c)| c.pid == pid && c.is_running());
            if let Some(key) = found.map(|(key, _)| key.clone()) {
                self.child_ended(&key, status);
            } else {
                self.program_ended(pid, status);
            }
        }
    }

    fn child_ended(&mut self, key: &str, status: Status) {
        // Last words first: the monitor's reason decides the exit status.
        for number in self.channels_of(key) {
            if let Some(Kind::Console(console)) =
                self.channels.get_mut(&number).map(|c| &mut c.kind)
            {
                console.child_has_ended();
            }
            self.channel_ready(number);
        }
        let oom_now = cgroup::oom_kills(&self.identity.cgroups);
        let Some(child) = self.children.get_mut(key) else {
            return;
        };
        child.ended = Some(Ended {
            status,
            exit_status: child.exit_status(status),
            at: now_stamp(),
            oom: oom_now > child.oom_before,
        });
        let oom = child.is_oom();
        let note = child.describe(key);
        self.log.line(&format!(
            "child {key} ended: code {}, signal {}, reason {:?}, oom {}",
            note.exit_code, note.signal, note.reason, note.oom
        ));
        self.notes.push(What::ChildExited(note));
        self.end_guest_processes(key, oom);
        if key == NESTED_KEY {
            self.nested_lost("it has ended");
        }
        // Nobody listens there any more.
        self.serves.retain(|_, served| served.key != key);
        self.finish_tasks();
    }

    /// A task ends with its child, once the console's last byte is in the spool.
    pub fn finish_tasks(&mut self) {
        let spooled = |key: &str| {
            self.channels.values().all(|channel| match &channel.kind {
                Kind::Console(console) => channel.key != key || console.is_spooled(),
                _ => true,
            })
        };
        let due = |(key, child): (&String, &Child)| {
            (!child.task_ended && child.task.is_some() && !child.is_running() && spooled(key))
                .then(|| key.clone())
        };
        let due: Vec<String> = self.children.iter().filter_map(due).collect();
        for key in due {
            let Some(child) = self.children.get_mut(&key) else {
                continue;
            };
            child.task_ended = true;
            let (Some(task), Some(ended)) = (child.task, child.ended) else {
                continue;
            };
            let oom = child.is_oom();
            self.end_process(task, ended.exit_status, ended.at, oom);
        }
    }

    pub fn reap(&mut self, key: &str) -> Result<(), Failure> {
        let Some(child) = self.children.get(key) else {
            return Ok(());
        };
        if child.is_running() || (child.task.is_some() && !child.task_ended) {
            return Err(failure(
                Code::FailedPrecondition,
                format!("child {key} is running"),
            ));
        }
        self.children.remove(key);
        for number in self.channels_of(key) {
            let Some(channel) = self.channels.get_mut(&number) else {
                continue;
            };
            match &mut channel.kind {
                Kind::Console(console) => {
                    console.close_attach();
                    console.reaped = true;
                }
                Kind::Guest(guest) => guest.reap(),
                Kind::Held(_) | Kind::Monitor(_) => {
                    self.channels.remove(&number);
                    continue;
                }
            }
            channel.name.clear();
            channel.key.clear();
        }
        self.drop_idle_channels();
        Ok(())
    }

    /// The pod is over.
    pub fn kill_children(&mut self) {
        let keys: Vec<String> = self.children.keys().cloned().collect();
        for key in keys {
            let _ = self.signal_child(&key, libc::SIGKILL as u32);
        }
    }
}

fn jail_of(jail: &shim::Jail) -> spawn::Jail {
    let binds = jail.binds.iter().map(|bind| spawn::Bind {
        source: bind.source.clone().into(),
        target: bind.target.clone().into(),
        writable: bind.writable,
        device: bind.device,
        live: bind.live,
    });
    spawn::Jail {
        binds: binds.collect(),
        new_network: jail.new_network,
        new_pid: jail.new_pid,
    }
}
