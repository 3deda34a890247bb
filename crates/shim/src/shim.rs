//! The process that stays: its state and its one loop. All the work is done between two waits of the loop;
//! nothing in it blocks.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use trine_wire::ttrpc;

use crate::answer::{Code, failure};
use crate::become_pod::Unclaimed;
use crate::channels::Channel;
use crate::child::Child;
use crate::child_log::ChildLog;
use crate::console::AttachClient;
use crate::control::Keeper;
use crate::guest::{Join, Served};
use crate::identity::Identity;
use crate::log::Log;
use crate::nested::Nested;
use crate::notes::Notes;
use crate::process::Process;
use crate::programs::Program;
use crate::publisher::Publisher;
use crate::reactor::{Reactor, Token, Watch};
use crate::relay::Relay;
use crate::server::{Call, Connection};
use crate::signals::Signals;
use crate::waiting::Parked;

/// Without a task and without containerd for this long, the start that made this shim has failed.
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);
/// Between the answer to Shutdown and the end: containerd must have read it.
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(50);
const EVENTS_LIMIT: Duration = Duration::from_millis(500);
/// How often FIFOs of ended processes are looked at: a reader's progress wakes nobody.
const DRAIN_STEP: Duration = Duration::from_millis(10);
const SLOW_DRAIN_STEP: Duration = Duration::from_millis(200);

pub struct Shim {
    pub identity: Identity,
    pub reactor: Reactor,
    pub log: Log,
    pub scratch: Box<[u8]>,
    last_number: u32,

    pub listener: UnixListener,
    pub listener_watch: Watch,
    pub connections: BTreeMap<u32, Connection>,
    pub signals: Signals,
    pub relay: Relay,
    pub nested: Option<Nested>,
    pub publisher: Publisher,

    pub processes: BTreeMap<u32, Process>,
    pub last_stats: BTreeMap<String, Vec<u8>>,
    pub children: BTreeMap<String, Child>,
    pub child_logs: BTreeMap<u32, ChildLog>,
    pub channels: BTreeMap<u32, Channel>,
    pub attach_clients: BTreeMap<u32, AttachClient>,
    pub programs: BTreeMap<u32, Program>,
    /// Connections joined with streams of a guest link.
    pub joins: BTreeMap<u32, Join>,
    /// Who answers streams that the guest opens, by the first word of their names.
    pub serves: BTreeMap<String, Served>,
    pub keeper: Keeper,
    pub notes: Notes,
    pub parked: Vec<Parked>,

    /// Since when there has been neither a task nor containerd.
    alone_since: Option<Instant>,
    exit_at: Option<Instant>,
    shutdown_seen: bool,
    next_drain: Option<Instant>,
    /// When to listen again after descriptors had run out.
    pub accept_at: Option<Instant>,
    unclaimed: Option<Unclaimed>,
}

pub struct Parts {
    pub identity: Identity,
    pub reactor: Reactor,
    pub listener: UnixListener,
    pub signals: Signals,
    pub relay: Relay,
    pub publisher: Publisher,
}

impl Shim {
    pub fn new(parts: Parts, log: Log) -> Shim {
        Shim {
            identity: parts.identity,
            reactor: parts.reactor,
            log,
            scratch: vec![0; crate::link::SCRATCH_BYTES].into_boxed_slice(),
            last_number: 0,
            listener: parts.listener,
            listener_watch: Watch::new(Token::Listener),
            connections: BTreeMap::new(),
            signals: parts.signals,
            relay: parts.relay,
            nested: None,
            publisher: parts.publisher,
            processes: BTreeMap::new(),
            last_stats: BTreeMap::new(),
            children: BTreeMap::new(),
            child_logs: BTreeMap::new(),
            channels: BTreeMap::new(),
            attach_clients: BTreeMap::new(),
            programs: BTreeMap::new(),
            joins: BTreeMap::new(),
            serves: BTreeMap::new(),
            keeper: Keeper::default(),
            notes: Notes::default(),
            parked: Vec::new(),
            alone_since: None,
            exit_at: None,
            shutdown_seen: false,
            next_drain: None,
            accept_at: None,
            unclaimed: None,
        }
    }

    /// A number for a new thing; never used twice in a shim's life.
    pub fn number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// Returns when the pod is over.
    pub fn run(&mut self) {
        self.signals.watch(&self.reactor);
        self.accept();
        loop {
            let now = Instant::now();
            self.listen_again(now);
            self.expire_programs(now);
            self.retry_spools(now);
            self.relay_pump(now);
            self.expire_nested(now);
            self.expire_joins(now);
            self.finish_guest_processes(now);
            self.end_killed(now);
            self.drain_outputs(now);
            self.serve_parked(now);
            self.publisher.pump(&self.reactor, now);
            if self.is_over(now) {
                return;
            }
            let timeout = self
                .next_deadline()
                .map(|d| d.saturating_duration_since(now));
            for token in self.reactor.wait(timeout) {
                self.ready(token);
            }
        }
    }

    fn ready(&mut self, token: Token) {
        let now = Instant::now();
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.reap_children(),
            Token::Connection(number) => self.connection_ready(number),
            Token::Trined => self.trined_ready(now),
            Token::Publisher => self.publisher.ready(&self.reactor, &mut self.scratch, now),
            Token::Channel(number) => self.channel_ready(number),
            Token::Stdout(process) | Token::Stderr(process) => self.output_ready(token, process),
            Token::Stdin(process) => self.input_ready(process),
            Token::AttachListener(channel) => self.accept_attach(channel),
            Token::AttachClient(number) => self.attach_ready(number),
            Token::ChildLog(number) => self.child_log_ready(number),
            Token::Program(number, part) => self.program_ready(number, part),
            Token::Dhcp(number) => self.keeper.net.dhcp_ready(number),
            Token::Forward => self.forward_ready(),
            Token::GuestDoor(channel) => self.accept_at_door(channel),
            Token::Join(number) => self.join_ready(number),
            Token::Nested => self.nested_ready(),
        }
    }

    pub fn dispatch(&mut self, call: Call, request: ttrpc::Request) {
        match request.service.as_str() {
            "containerd.task.v2.Task" | "containerd.task.v3.Task" => {
                if let Some(connection) = self.connections.get_mut(&call.connection) {
                    connection.is_containerd = true;
                }
                self.task_call(call, &request.method, request.payload);
            }
            "trine.shim.v1.Shim" => self.control_call(call, &request.method, &request.payload),
            other => {
                let message = format!("service {other} is not here");
                self.reply(call, Err(failure(Code::Unimplemented, message)));
            }
        }
    }

    /// Shutdown comes once for each container and for the sandbox; the last one counts.
    pub fn shutdown_asked(&mut self) {
        self.shutdown_seen = true;
        self.exit_when_empty();
    }

    /// A task is gone for good; without a caller nobody would ask for the shutdown again.
    pub fn task_gone(&mut self, had_caller: bool) {
        if self.shutdown_seen && !had_caller {
            self.exit_when_empty();
        }
    }

    pub fn task_came(&mut self) {
        self.shutdown_seen = false;
        self.exit_at = None;
    }

    pub fn is_ending(&self) -> bool {
        self.exit_at.is_some()
    }

    fn exit_when_empty(&mut self) {
        if !self.processes.values().any(|p| !p.deleted) {
            self.exit_at.get_or_insert(Instant::now() + SHUTDOWN_PAUSE);
        }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if self.identity.podless {
            let unclaimed = self.unclaimed.get_or_insert_with(|| Unclaimed::new(now));
            if unclaimed.is_lost(now) {
                self.log.line("taken for a pod and not told which: ending");
                return true;
            }
        } else {
            self.unclaimed = None;
        }
        if self.identity.podless || !self.processes.is_empty() || self.containerd_connected() {
            self.alone_since = None;
        } else {
            let since = *self.alone_since.get_or_insert(now);
            if now.duration_since(since) >= ORPHAN_LIMIT {
                self.log.line("no task and no containerd: ending");
                return true;
            }
        }
        let Some(at) = self
            .exit_at
            .filter(|at| now >= *at && self.processes.is_empty())
        else {
            return false;
        };
        // The last events get a moment to go out.
        self.publisher.is_idle() || now >= at + EVENTS_LIMIT
    }

    fn drain_outputs(&mut self, now: Instant) {
        let ending = self.processes.values().any(|p| p.is_draining());
        if !ending {
            self.next_drain = None;
            return;
        }
        if self.next_drain.is_some_and(|at| now < at) {
            return;
        }
        self.drain_ended(now);
        let step = if self.containerd_connected() {
            DRAIN_STEP
        } else {
            SLOW_DRAIN_STEP
        };
        self.next_drain = Some(now + step);
    }

    /// An ended process is looked at in the next turn, which comes at once, not at the next step.
    pub fn drain_soon(&mut self) {
        self.next_drain = Some(Instant::now());
    }

    fn next_deadline(&self) -> Option<Instant> {
        let alone = self.alone_since.map(|since| since + ORPHAN_LIMIT);
        let exit = self
            .exit_at
            .filter(|_| self.processes.is_empty())
            .map(|at| match Instant::now() >= at {
                true => at + EVENTS_LIMIT,
                false => at,
            });
        let parked = self.parked.iter().map(|p| p.until);
        let programs = self.programs.values().map(|p| p.until);
        parked
            .chain(programs)
            .chain(
                [alone, exit, self.next_drain, self.accept_at]
                    .into_iter()
                    .flatten(),
            )
            .chain(self.relay.next_deadline())
            .chain(self.nested.as_ref().and_then(Nested::next_deadline))
            .chain(self.publisher.next_deadline())
            .chain(self.spool_deadline())
            .chain(self.join_deadline())
            .chain(self.unclaimed.as_ref().map(|u| u.look_at))
            .chain(self.guest_deadline())
            .chain(self.killed_deadline())
            .min()
    }
}
