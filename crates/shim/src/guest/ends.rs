//! How processes in the guest end: by their exit message, or with their machine.

use std::time::{Duration, Instant};

use trine_wire::Message;
use trine_wire::agent::Exit;

use super::processes::{MAX_EXIT, Part};
use crate::process::now_stamp;
use crate::shim::Shim;
use crate::tasks::SIGKILL;

/// After the end, what holds a process's output open is its children; its end is told without theirs.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);
/// What a process ends with of which nothing more can be known.
const LOST: Exit = Exit {
    status: 128 + SIGKILL,
    at: None,
    oom: false,
};

impl Shim {
    /// The guest has ended a stream; with a reason when not in order.
    pub fn part_ended(&mut self, number: u32, part: Part, reason: &str) {
        self.part_cut(number, part);
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let (id, exec_id) = (process.id.clone(), process.exec_id.clone());
        let Some(attached) = &mut process.guest else {
            return;
        };
        if part != Part::Exit || attached.end.is_some() {
            return;
        }
        let exit = match Exit::decode(attached.exit.as_slice()) {
            Ok(exit) if reason.is_empty() && (1..=MAX_EXIT).contains(&attached.exit.len()) => exit,
            _ => {
                let shown: String = reason.chars().flat_map(char::escape_default).collect();
                self.log
                    .line(&format!("task {id} {exec_id}: no exit status: {shown}"));
                LOST
            }
        };
        attached.end = Some((exit, Instant::now() + OUTPUT_LIMIT));
    }

    /// Ends those whose end is known and whose output is complete, or has been waited for long enough.
    pub fn finish_guest_processes(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (number, process) in &self.processes {
            let Some(attached) = process.guest.as_ref().filter(|_| !process.is_stopped()) else {
                continue;
            };
            let open = attached.stdout_open || attached.stderr_open;
            if let Some((exit, _)) = attached.end.filter(|(_, until)| !open || now >= *until) {
                due.push((*number, exit));
            }
        }
        for (number, exit) in due {
            // Not the guest's time: its clock is its own.
            self.end_process(number, exit.status, now_stamp(), exit.oom);
        }
    }

    pub fn guest_deadline(&self) -> Option<Instant> {
        let open = self.processes.values().filter(|p| !p.is_stopped());
        open.filter_map(|p| Some(p.guest.as_ref()?.end?.1)).min()
    }

    /// Their machine has ended, and so have they.
    pub fn end_guest_processes(&mut self, key: &str, oom: bool) {
        for channel in self.channels_of(key) {
            self.end_processes_over(channel, oom);
        }
    }

    /// They have lost their link for good.
    pub fn end_processes_over(&mut self, channel: u32, oom: bool) {
        let mut ended = Vec::new();
        for (number, process) in &self.processes {
            if let Some(attached) = &process.guest
                && attached.channel == channel
            {
                let lost = Exit { oom, ..LOST };
                ended.push((*number, attached.end.map_or(lost, |(exit, _)| exit)));
            }
        }
        for (number, exit) in ended {
            self.end_process(number, exit.status, now_stamp(), exit.oom);
        }
    }
}
