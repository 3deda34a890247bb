//! Processes in the guest: their stdio and their ends are streams of the link, joined with the FIFOs.

use std::collections::VecDeque;
use std::time::Instant;

use trine_wire::agent::Exit;
use trine_wire::shim;

use super::{End, Guest};
use crate::answer::{Answer, Code, decode, empty, failure};
use crate::descriptors::invalid;
use crate::shim::Shim;
use crate::stdio::Output;

/// An Exit is some thirty bytes.
pub const MAX_EXIT: usize = 1024;
const MAX_NAME: usize = 256;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Stdin,
    Stdout,
    Stderr,
    Exit,
}

/// A process's tie to the guest.
pub struct Attached {
    pub channel: u32,
    container: String,
    exec: String,
    terminal: bool,
    /// What has come of the exit message.
    pub exit: Vec<u8>,
    /// Its end, and until when its last output is waited for.
    pub end: Option<(Exit, Instant)>,
    pub stdout_open: bool,
    pub stderr_open: bool,
}

impl Attached {
    fn names(&self, part: Part) -> String {
        let kind = match part {
            Part::Stdin => "stdin",
            Part::Stdout => "stdout",
            Part::Stderr => "stderr",
            Part::Exit => "exit",
        };
        format!("{kind}/{}/{}", self.container, self.exec)
    }
}

impl Shim {
    /// Repeated, it changes nothing.
    pub fn attach_guest(&mut self, payload: &[u8]) -> Answer {
        let request: shim::AttachGuestRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        let names = [&request.guest_container, &request.guest_exec];
        let bad = |name: &str| name.len() > MAX_NAME || name.contains('/');
        if request.guest_container.is_empty() || names.into_iter().any(|name| bad(name)) {
            return Err(invalid(
                "a name in the guest has 1 to 256 bytes and no slash",
            ));
        }
        let channel = self.guest_channel();
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "no such task"));
        };
        if let Some(known) = &process.guest {
            let same = known.container == request.guest_container
                && known.exec == request.guest_exec
                && known.terminal == request.terminal;
            return match same {
                true => Ok(empty()),
                false => Err(failure(
                    Code::AlreadyExists,
                    format!("task {} is attached to another process", request.id),
                )),
            };
        }
        let channel =
            channel.ok_or_else(|| failure(Code::FailedPrecondition, "there is no guest link"))?;
        if process.is_stopped() {
            let message = format!("task {} {} has ended", request.id, request.exec_id);
            return Err(failure(Code::FailedPrecondition, message));
        }
        process.guest = Some(Box::new(Attached {
            channel,
            container: request.guest_container,
            exec: request.guest_exec,
            terminal: request.terminal,
            exit: Vec::new(),
            end: None,
            stdout_open: false,
            stderr_open: false,
        }));
        self.with_guest(channel, |shim, guest| shim.open_process(guest, number));
        Ok(empty())
    }

    /// Opens what it has no stream of yet. Before the link is open, that waits.
    pub fn open_process(&mut self, guest: &mut Guest, number: u32) {
        if !guest.mux.is_ready() {
            return;
        }
        let open = self.processes.get_mut(&number).filter(|p| !p.is_stopped());
        let Some(process) = open else {
            return;
        };
        let has_stdin = !process.paths.first().is_none_or(String::is_empty);
        let Some(attached) = process.guest.as_mut().filter(|a| a.end.is_none()) else {
            return;
        };
        let mut parts = vec![Part::Exit, Part::Stdout];
        if !attached.terminal {
            parts.push(Part::Stderr);
        }
        if has_stdin {
            parts.push(Part::Stdin);
        }
        attached.exit.clear();
        for part in parts {
            let id = match guest.mux.open(&attached.names(part)) {
                Ok(id) => id,
                Err(refused) => {
                    self.log
                        .line(&format!("{}: {refused}", attached.names(part)));
                    continue;
                }
            };
            match part {
                Part::Stdout => attached.stdout_open = true,
                Part::Stderr => attached.stderr_open = true,
                Part::Stdin | Part::Exit => {}
            }
            if part != Part::Stdin {
                guest.mux.fin(id);
            }
            guest.ends.insert(id, End::Process(number, part));
        }
        self.move_process(guest, number);
    }

    /// Everything of one process that can go on; true = something takes its stdin.
    fn move_process(&mut self, guest: &mut Guest, number: u32) -> bool {
        let mut takes_stdin = false;
        for (id, end) in guest.ends.clone() {
            if let End::Process(of, part) = end
                && of == number
            {
                takes_stdin |= part == Part::Stdin;
                self.move_part(guest, id, number, part);
            }
        }
        takes_stdin
    }

    pub fn move_part(&mut self, guest: &mut Guest, id: u32, number: u32, part: Part) {
        let Some(process) = self.processes.get_mut(&number) else {
            guest.ends.remove(&id);
            return guest.mux.abort(id, "the process is forgotten");
        };
        match part {
            Part::Stdin => {
                let mut typed = VecDeque::new();
                process.stdin.pump(&mut typed, guest.mux.room(id));
                guest.mux.send(id, typed.make_contiguous());
                if process.stdin.is_open() {
                    let room = guest.mux.room(id) > 0;
                    process.stdin.watch(&self.reactor, room);
                } else {
                    guest.mux.fin(id);
                }
            }
            Part::Stdout => feed(guest, id, &mut process.stdout),
            Part::Stderr => feed(guest, id, &mut process.stderr),
            Part::Exit => {
                if let Some(attached) = &mut process.guest {
                    let data = guest.mux.data(id);
                    let room = (MAX_EXIT + 1).saturating_sub(attached.exit.len());
                    attached.exit.extend(data.iter().take(room));
                    let count = data.len();
                    guest.mux.consume(id, count);
                }
            }
        }
        match part {
            Part::Stdout => process.stdout.pump(&self.reactor),
            Part::Stderr => process.stderr.pump(&self.reactor),
            Part::Stdin | Part::Exit => {}
        }
        let gone = guest.stream.is_none() && guest.mux.data(id).is_empty();
        if guest.mux.at_end(id) {
            guest.ends.remove(&id);
            self.part_ended(number, part, "");
        } else if gone {
            guest.ends.remove(&id);
            self.part_cut(number, part);
        }
    }

    /// A stream is no more.
    pub fn part_cut(&mut self, number: u32, part: Part) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let Some(attached) = &mut process.guest else {
            return;
        };
        match part {
            Part::Stdin => process.stdin.watch(&self.reactor, false),
            Part::Stdout => attached.stdout_open = false,
            Part::Stderr => attached.stderr_open = false,
            Part::Exit => {}
        }
    }

    /// A FIFO has room again, or stdin has something. True = something takes stdin.
    pub fn feed_guest_of(&mut self, number: u32) -> bool {
        let mut takes_stdin = false;
        if let Some(channel) = self.guest_channel_of(number) {
            self.with_guest(channel, |shim, guest| {
                takes_stdin = shim.move_process(guest, number);
            });
        }
        takes_stdin
    }

    /// Whether more may come for its stdout and stderr.
    pub fn guest_has_more(&self, number: u32) -> (bool, bool) {
        let attached = self.processes.get(&number).and_then(|p| p.guest.as_ref());
        attached.map_or((false, false), |a| (a.stdout_open, a.stderr_open))
    }

    /// Nobody reads it any more.
    pub fn drop_guest_streams(&mut self, number: u32) {
        let Some(channel) = self.guest_channel_of(number) else {
            return;
        };
        self.with_guest(channel, |shim, guest| {
            for (id, end) in guest.ends.clone() {
                if let End::Process(of, part) = end
                    && of == number
                {
                    guest.ends.remove(&id);
                    guest.mux.abort(id, "nobody reads it any more");
                    shim.part_cut(number, part);
                }
            }
        });
    }

    fn guest_channel_of(&self, number: u32) -> Option<u32> {
        Some(self.processes.get(&number)?.guest.as_ref()?.channel)
    }
}

/// As much as the FIFO takes; without one all of it, for nobody.
fn feed(guest: &mut Guest, id: u32, output: &mut Output) {
    loop {
        let data = guest.mux.data(id);
        if data.is_empty() || (output.is_open() && !output.can_take()) {
            return;
        }
        let count = output.write(data);
        guest.mux.consume(id, count);
    }
}
