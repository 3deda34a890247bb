//! One child: what is known of it, and what its task reports when it ends.

use std::os::fd::OwnedFd;

use trine_wire::{Timestamp, shim};

use crate::monitor::PANIC_REASON;
use crate::signals::Status;

pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Number of the task that ends with it, and its id.
    pub task: Option<u32>,
    pub task_id: String,
    pub rules: Vec<shim::ExitRule>,
    /// Noted from its monitor.
    pub reason: String,
    pub oom_before: u64,
    /// The shim was asked to kill it: not the kernel's doing.
    pub killed: bool,
    pub ended: Option<Ended>,
    pub task_ended: bool,
}

#[derive(Clone, Copy)]
pub struct Ended {
    pub status: Status,
    pub exit_status: u32,
    pub at: Timestamp,
    pub oom: bool,
}

impl Child {
    /// A panic is the reason of the shutdown that follows it; a reset makes all of it history.
    pub fn note(&mut self, event: &str, reason: &str) {
        if event == "RESET" {
            self.reason.clear();
        } else if self.reason != PANIC_REASON {
            self.reason = reason.to_owned();
        }
    }

    pub fn exit_status(&self, status: Status) -> u32 {
        let rule = self
            .rules
            .iter()
            .find(|r| !self.reason.is_empty() && r.reason == self.reason);
        rule.map_or_else(|| status.exit_status(), |r| r.exit_status)
    }

    pub fn describe(&self, key: &str) -> shim::Child {
        let ended = self.ended;
        shim::Child {
            key: key.to_owned(),
            pid: u32::try_from(self.pid).unwrap_or(0),
            running: ended.is_none(),
            exit_code: ended.map_or(0, |e| e.status.exit_code),
            signal: ended.map_or(0, |e| e.status.signal),
            oom: ended.is_some_and(|e| e.oom),
            reason: self.reason.clone(),
            exit_status: ended.map_or(0, |e| e.exit_status),
            exited_at: ended.map(|e| e.at),
            task_id: self.task_id.clone(),
        }
    }

    /// The kernel ended it for want of memory.
    pub fn is_oom(&self) -> bool {
        self.ended
            .is_some_and(|e| e.oom && e.status.signal == libc::SIGKILL && !self.killed)
    }

    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(rules: &[(&str, u32)]) -> Child {
        let rules = rules.iter().map(|(reason, exit_status)| shim::ExitRule {
            reason: (*reason).to_owned(),
            exit_status: *exit_status,
        });
        Child {
            pid: 1,
            pidfd: OwnedFd::from(std::fs::File::open("/dev/null").expect("null")),
            task: None,
            task_id: String::new(),
            rules: rules.collect(),
            reason: String::new(),
            oom_before: 0,
            killed: false,
            ended: None,
            task_ended: false,
        }
    }

    const CLEAN: Status = Status {
        exit_code: 0,
        signal: 0,
    };
    const KILLED: Status = Status {
        exit_code: -1,
        signal: 9,
    };

    #[test]
    fn rules_map_the_noted_reason_and_nothing_else() {
        let mut vm = child(&[("guest-shutdown", 0), ("guest-panic", 70)]);
        assert_eq!(vm.exit_status(KILLED), 137);
        vm.note("SHUTDOWN", "host-qmp-quit");
        assert_eq!(vm.exit_status(CLEAN), 0);
        assert_eq!(vm.exit_status(KILLED), 137);
        vm.note("GUEST_PANICKED", PANIC_REASON);
        vm.note("SHUTDOWN", "guest-shutdown");
        assert_eq!(vm.exit_status(CLEAN), 70);
    }

    #[test]
    fn a_reset_makes_a_panic_history() {
        let mut vm = child(&[("guest-panic", 70), ("guest-shutdown", 0)]);
        vm.note("GUEST_PANICKED", PANIC_REASON);
        vm.note("RESET", "guest-reset");
        vm.note("SHUTDOWN", "guest-shutdown");
        assert_eq!(vm.exit_status(KILLED), 0);
    }
}
