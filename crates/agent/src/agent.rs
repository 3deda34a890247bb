//! The agent's state and its loop. One thread; nothing here waits for a workload or for a share's files, which a
//! child does instead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use trine_wire::mux::Event;

use crate::answer::{Answer, Call, Code, failure};
use crate::container::Container;
use crate::container::cgroup::Groups;
use crate::container::parked::Parking;
use crate::events::Events;
use crate::freeze::Freezer;
use crate::helper::Helper;
use crate::link::{Link, Port};
use crate::local_ports::LocalPorts;
use crate::mounts::Mounts;
use crate::pod_pids::PodPids;
use crate::process::Process;
use crate::pump::Pump;
use crate::reactor::{READ, Reactor, Token, Watched};
use crate::relay::Relays;
use crate::release::Release;
use crate::rpc::Rpc;
use crate::shares::Shares;
use crate::sys::{during, open};
use crate::{online, signals, stdio};

/// How long a container may take to freeze or to be gone before whoever waits is told.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a stream of the link is joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Rpc,
    Stdin(u32),
    Stdout(u32),
    Stderr(u32),
    Exit(u32),
    Pump(u32),
}

pub struct Agent {
    pub reactor: Reactor,
    pub link: Link,
    signals: Watched,
    pub groups: Groups,
    /// The agent's own PID namespace: it forks into others and comes back.
    pub own_pids: OwnedFd,
    pub pod_pids: Option<PodPids>,
    /// The pod, since Revive.
    pub pod: Option<String>,
    /// That is no pod's name yet: another may take its place.
    pub provisional: bool,
    pub containers: BTreeMap<String, Container>,
    pub processes: BTreeMap<u32, Process>,
    pub roles: BTreeMap<u32, Role>,
    pub rpcs: BTreeMap<u32, Rpc>,
    pub helpers: BTreeMap<u32, Helper>,
    pub releases: BTreeMap<u32, Release>,
    /// Disks that were busy when their container was over: said to whoever asks again.
    pub stuck_disks: BTreeSet<String>,
    pub pumps: BTreeMap<u32, Pump>,
    /// Of a whole machine whose file systems stand still.
    pub freezer: Option<Freezer>,
    pub mounts: Mounts,
    /// Volumes that a whole machine is to have.
    pub shares: Option<Shares>,
    /// Of containers beside a whole machine.
    pub local_ports: LocalPorts,
    pub events: Events,
    pub relays: Relays,
    pub parking: Parking,
    /// Calls to be told that it took too long.
    pub deadlines: BTreeMap<(Instant, u32), Call>,
    last_number: u32,
    /// Memory the kernel had when the agent began.
    pub first_bytes: u64,
    /// The guest is a whole machine: see machine.rs.
    pub is_machine: bool,
    pub outlives_host: bool,
}

impl Agent {
    pub fn new(port: OwnedFd, cgroup_root: &str, outlives_host: bool) -> io::Result<Agent> {
        let reactor = Reactor::new()?;
        let mut signals = Watched::new(signals::hold()?, Token::Signals);
        signals.set(&reactor, READ);
        Ok(Agent {
            link: Link::new(port, &reactor)?,
            reactor,
            signals,
            groups: Groups::open(cgroup_root).map_err(during("set up control groups"))?,
            own_pids: open("/proc/self/ns/pid", libc::O_RDONLY)?,
            pod_pids: None,
            pod: None,
            provisional: false,
            containers: BTreeMap::new(),
            processes: BTreeMap::new(),
            roles: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            helpers: BTreeMap::new(),
            releases: BTreeMap::new(),
            stuck_disks: BTreeSet::new(),
            pumps: BTreeMap::new(),
            freezer: None,
            mounts: Mounts::default(),
            shares: None,
            local_ports: LocalPorts::default(),
            events: Events::default(),
            relays: Relays::default(),
            parking: Parking::default(),
            deadlines: BTreeMap::new(),
            last_number: 0,
            first_bytes: online::memory_bytes(),
            is_machine: false,
            outlives_host,
        })
    }

    /// Only returns when the link is lost for good.
    pub fn run(&mut self) -> io::Result<()> {
        let mut more = true;
        self.relays.refill_soon();
        loop {
            let timeout = if more {
                Some(Duration::ZERO)
            } else {
                self.next_deadline()
            };
            let tokens = self.reactor.wait(timeout);
            if more || tokens.contains(&Token::Port) {
                match self.link.receive()? {
                    Port::Dry => more = false,
                    Port::More => more = true,
                    Port::Closed if self.outlives_host => more = false,
                    Port::Closed => return Ok(()),
                }
            }
            for token in tokens {
                self.ready(token);
            }
            self.expire();
            self.settle()?;
        }
    }

    /// Until neither events are left nor bytes that the port takes.
    fn settle(&mut self) -> io::Result<()> {
        loop {
            while let Some(event) = self.link.mux.poll_event() {
                self.link_event(event);
            }
            self.link.flush()?;
            match self.link.mux.poll_event() {
                Some(event) => self.link_event(event),
                None => return Ok(()),
            }
        }
    }

    fn ready(&mut self, token: Token) {
        match token {
            Token::Port => {}
            Token::Signals => {
                signals::clear(&self.signals);
                while let Some((pid, status)) = signals::next_ended() {
                    if !self.parking.ended(&self.groups, pid) && !self.pod_pids_ended(pid) {
                        self.child_ended(pid, status);
                    }
                }
            }
            Token::Stdin(n) => stdio::feed(self, n),
            Token::Stdout(n) => stdio::drain(self, n, stdio::Output::Stdout),
            Token::Stderr(n) => stdio::drain(self, n, stdio::Output::Stderr),
            Token::Report(n) => self.read_report(n),
            Token::Pump(n) => self.pump(n),
            Token::LocalPort(n) => self.accept_at_port(n),
            Token::Helper(n) => self.helper_reported(n),
            Token::Release(n) => self.release_reported(n),
            Token::Freezer => self.freezer_reported(),
            Token::MemoryEvents(n) => self.memory_event(n),
            Token::FreezerEvents(n) => self.group_changed(n),
        }
    }

    fn link_event(&mut self, event: Event) {
        match event {
            Event::Ready => {
                self.forget_streams();
                self.mount_shares();
            }
            // All streams are gone with it; the host begins anew.
            Event::Failed(why) => {
                eprintln!("trine-agent: the guest link failed: {why}");
                self.forget_streams();
            }
            Event::Opened { id, name } => self.opened(id, &name),
            Event::Readable(id) | Event::Writable(id) => self.moved(id),
            Event::Aborted { id, .. } => self.closed(id),
        }
    }

    fn moved(&mut self, id: u32) {
        match self.roles.get(&id) {
            Some(Role::Rpc) => self.serve(id),
            Some(Role::Stdin(n)) => stdio::feed(self, *n),
            Some(Role::Stdout(n)) => stdio::drain(self, *n, stdio::Output::Stdout),
            Some(Role::Stderr(n)) => stdio::drain(self, *n, stdio::Output::Stderr),
            Some(Role::Exit(_)) | None => {}
            Some(Role::Pump(n)) => self.pump(*n),
        }
    }

    /// A number that no token, process or stream has had.
    pub fn number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    pub fn answer(&mut self, call: Call, answer: Answer) {
        self.deadlines.retain(|_, waiting| *waiting != call);
        if let Some(rpc) = self.rpcs.get_mut(&call.stream) {
            rpc.answer(call.number, answer);
            self.serve(call.stream);
        }
    }

    pub fn wait_at_most(&mut self, call: Call, patience: Duration) {
        let number = self.number();
        self.deadlines
            .insert((Instant::now() + patience, number), call);
    }

    fn next_deadline(&self) -> Option<Duration> {
        let first = self.deadlines.keys().next().map(|(at, _)| *at);
        let all = [
            first,
            self.events.deadline(),
            self.relays.deadline(),
            self.parking.deadline(),
            self.ports_deadline(),
            self.shares_deadline(),
        ];
        let soonest = all.into_iter().flatten().min()?;
        Some(soonest.saturating_duration_since(Instant::now()))
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.deadlines.first_entry()
            && entry.key().0 <= now
        {
            let call = entry.remove();
            for container in self.containers.values_mut() {
                container.freezing.retain(|c| *c != call);
                container.removing.retain(|c| *c != call);
            }
            self.forget_release_call(call);
            let text = format!("not done within {} s", PATIENCE.as_secs());
            self.answer(call, Err(failure(Code::DeadlineExceeded, text)));
        }
        self.relays.refill(now);
        self.listen_at_ports_again(now);
        self.mount_shares_again(now);
        if self.parking.is_due(now) {
            let number = self.number();
            self.parking.expire(&self.groups, number, now);
        }
        for (call, response) in self.events.expired(now) {
            self.answer(call, Ok(response));
        }
    }
}
