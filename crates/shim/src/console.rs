//! A machine's console. Guest → spool (every byte) → containerd's FIFO and attached clients, each reading the
//! spool at its own pace: a slow reader does not stall the guest while the spool has room.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::channels::Kind;
use crate::inbox::write_queue;
use crate::link::is_not_now;
use crate::reactor::{READ, Token, WRITE, Watch};
use crate::shim::Shim;
use crate::spool::Spool;
use crate::stdio::Output;

const MAX_INPUT: usize = 64 << 10;
const PIECE: usize = 16 << 10;
/// Reads from the guest in one turn of the loop: other sources wait no longer.
const TURN: usize = 16;
/// What is taken from a guest's end whose child has ended; more than a socket holds.
const LAST_WORDS: usize = 1 << 20;
const SPOOL_RETRY: Duration = Duration::from_secs(1);
const SPOOL_RETRIES: u32 = 5;

mod attach;

use attach::Attach;
pub use attach::AttachClient;

/// No process has this number: the console goes to its spool alone.
pub const NO_TASK: u32 = 0;

pub struct Console {
    /// Number of the task whose stdio this is.
    pub task: u32,
    /// `None`: the guest's end is gone and all it wrote is in the spool.
    stream: Option<UnixStream>,
    watch: Watch,
    spool: Spool,
    /// Taken from the guest and not in the spool yet: only after an error of the disk.
    unspooled: Vec<u8>,
    /// What the FIFO has got.
    cursor: u64,
    input: VecDeque<u8>,
    attach: Option<Attach>,
    /// The child has ended, an empty socket is the end: how much more is taken.
    last_words: Option<usize>,
    /// trined has reaped the child; only the FIFO still needs the spool.
    pub reaped: bool,
    retry_at: Option<Instant>,
    retries: u32,
}

impl Console {
    pub fn new(stream: UnixStream, token: Token, task: u32, spool: Spool) -> Console {
        Console {
            task,
            stream: Some(stream),
            watch: Watch::new(token),
            cursor: spool.end(),
            spool,
            unspooled: Vec::new(),
            input: VecDeque::new(),
            attach: None,
            last_words: None,
            reaped: false,
            retry_at: None,
            retries: 0,
        }
    }

    pub fn child_has_ended(&mut self) {
        self.last_words = Some(LAST_WORDS);
        self.retries = 0;
    }

    /// All the guest wrote is in the spool.
    pub fn is_spooled(&self) -> bool {
        self.stream.is_none() && self.unspooled.is_empty()
    }

    fn has_more(&self) -> bool {
        !self.is_spooled() || self.cursor < self.spool.end()
    }

    /// Guest → spool; false = nothing to read, or no room. `floor`: the oldest byte somebody still needs.
    fn read_guest(&mut self, scratch: &mut [u8], floor: u64) -> io::Result<bool> {
        self.spool_rest()?;
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        let room = match self.last_words {
            // The end is not to wait for a reader that may never come: the spool grows by this much.
            Some(left) => left,
            None => usize::try_from(self.spool.room(floor)?).unwrap_or(usize::MAX),
        };
        if room == 0 && self.last_words.is_none() {
            return Ok(false);
        }
        let part = scratch.get_mut(..room.min(PIECE)).unwrap_or_default();
        let count = match stream.read(part) {
            Ok(count) => count,
            Err(error) if is_not_now(&error) && self.last_words.is_none() => return Ok(false),
            Err(_) => 0,
        };
        if count == 0 {
            self.stream = None;
        }
        if let Some(left) = &mut self.last_words {
            *left -= count;
        }
        self.unspooled
            .extend_from_slice(part.get(..count).unwrap_or_default());
        self.spool_rest()?;
        Ok(true)
    }

    fn spool_rest(&mut self) -> io::Result<()> {
        while !self.unspooled.is_empty() {
            match self.spool.append(&self.unspooled)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => drop(self.unspooled.drain(..count)),
            }
        }
        Ok(())
    }

    /// Spool → FIFO, as much as it takes.
    fn feed(&mut self, output: &mut Output, scratch: &mut [u8]) {
        if !output.is_open() {
            self.cursor = self.spool.end();
        }
        while self.cursor < self.spool.end() && output.can_take() {
            let count = self.spool.read(self.cursor, scratch).unwrap_or(0);
            let bytes = scratch.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                // The disk lost it; the FIFO goes on with what comes next.
                self.cursor = self.spool.end();
                return;
            }
            self.cursor += output.write(bytes) as u64;
        }
    }

    fn write_guest(&mut self) {
        if let Some(stream) = &mut self.stream
            && write_queue(&mut self.input, stream).is_err()
        {
            self.input.clear();
        }
    }

    fn input_room(&self) -> usize {
        MAX_INPUT.saturating_sub(self.input.len())
    }
}

impl Shim {
    /// Moves what can be moved, in every direction.
    pub fn pump_console(&mut self, number: u32, console: &mut Console) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let now = Instant::now();
        let mut stalled = false;
        // A dead console of the task must not take what is typed for the next one.
        let types = console.stream.is_some();
        for _ in 0..TURN {
            let process = self.processes.get_mut(&console.task);
            let wants = process.as_ref().is_some_and(|p| p.stdout.is_open());
            let floor = if wants {
                console.cursor
            } else {
                console.spool.end()
            };
            let more = console.read_guest(&mut scratch, floor);
            match process {
                Some(process) => console.feed(&mut process.stdout, &mut scratch),
                None => console.cursor = console.spool.end(),
            }
            match more {
                Ok(true) => console.retries = 0,
                Ok(false) => {
                    stalled = console.stream.is_some() && !self.has_room(console);
                    break;
                }
                Err(error) => {
                    self.spool_failed(console, &error, now);
                    stalled = true;
                    break;
                }
            }
        }
        console.write_guest();
        if let Some(process) = self.processes.get_mut(&console.task) {
            process.stdout.pump(&self.reactor);
            if types {
                let room = console.input_room();
                process.stdin.pump(&mut console.input, room);
                console.write_guest();
                let wanted = console.stream.is_some() && console.input_room() > 0;
                process.stdin.watch(&self.reactor, wanted);
            }
        }
        self.feed_clients(number, console, &mut scratch);
        self.scratch = scratch;
        if let Some(stream) = &console.stream {
            let read = if stalled { 0 } else { READ };
            let write = if console.input.is_empty() { 0 } else { WRITE };
            console.watch.set(&self.reactor, stream, read | write);
        }
    }

    fn has_room(&self, console: &mut Console) -> bool {
        let wants = self
            .processes
            .get(&console.task)
            .is_some_and(|p| p.stdout.is_open());
        let floor = if wants {
            console.cursor
        } else {
            console.spool.end()
        };
        console.spool.room(floor).is_ok_and(|room| room > 0)
    }

    /// A full disk stalls the guest rather than losing bytes; a dead guest is not waited with for ever.
    fn spool_failed(&mut self, console: &mut Console, error: &io::Error, now: Instant) {
        console.retries = console.retries.saturating_add(1);
        // A disk may stay full for hours; the log has room for other things too.
        if console.retries.is_power_of_two() {
            self.log.line(&format!("console spool: {error}"));
        }
        console.retry_at = Some(now + SPOOL_RETRY);
        if console.last_words.is_some() && console.retries > SPOOL_RETRIES {
            console.stream = None;
            console.unspooled = Vec::new();
            console.retry_at = None;
        }
    }

    pub fn spool_deadline(&self) -> Option<Instant> {
        self.channels
            .values()
            .filter_map(|c| match &c.kind {
                Kind::Console(console) => console.retry_at,
                _ => None,
            })
            .min()
    }

    pub fn retry_spools(&mut self, now: Instant) {
        if self.spool_deadline().is_none_or(|at| at > now) {
            return;
        }
        for number in self.consoles() {
            if let Some(Kind::Console(console)) =
                self.channels.get_mut(&number).map(|c| &mut c.kind)
            {
                console.retry_at = None;
            }
            self.channel_ready(number);
        }
    }

    fn consoles(&self) -> Vec<u32> {
        let all = self
            .channels
            .iter()
            .filter(|(_, c)| matches!(c.kind, Kind::Console(_)));
        all.map(|(number, _)| *number).collect()
    }

    /// Oldest first.
    fn consoles_of(&self, task: u32) -> impl Iterator<Item = (u32, &Console)> {
        self.channels
            .iter()
            .filter_map(move |(number, channel)| match &channel.kind {
                Kind::Console(console) if console.task == task => Some((*number, console.as_ref())),
                _ => None,
            })
    }

    /// The task's FIFO has room again, or stdin has something.
    pub fn feed_console_of(&mut self, task: u32) {
        let numbers: Vec<u32> = self.consoles_of(task).map(|(number, _)| number).collect();
        for number in numbers {
            self.channel_ready(number);
        }
    }

    /// Without a console that takes it, stdin stays in its FIFO, unwatched.
    pub fn input_ready(&mut self, task: u32) {
        self.feed_console_of(task);
        let guest = self.feed_guest_of(task);
        let taken = guest || self.consoles_of(task).any(|(_, c)| c.stream.is_some());
        if let Some(process) = self.processes.get_mut(&task).filter(|_| !taken) {
            process.stdin.watch(&self.reactor, false);
        }
    }

    pub fn console_has_more(&self, task: u32) -> bool {
        self.consoles_of(task)
            .any(|(_, console)| console.has_more())
    }

    /// Consoles and guest links whose child trined has reaped and whose FIFOs need nothing more.
    pub fn drop_idle_channels(&mut self) {
        let processes = &self.processes;
        self.channels.retain(|_, channel| match &channel.kind {
            Kind::Console(console) => {
                let needed = processes
                    .get(&console.task)
                    .is_some_and(|p| p.stdout.is_open());
                !console.reaped || (needed && console.has_more())
            }
            Kind::Guest(guest) => !guest.is_done(),
            _ => true,
        });
    }
}
