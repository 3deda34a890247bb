//! trine.shim.v1: what trined asks of the shim.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trine_wire::{Message, shim, task};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::channels::Kind;
use crate::host::{mount, net};
use crate::netserve::NetServers;
use crate::server::Call;
use crate::shim::Shim;
use crate::stdio::Offer;
use crate::tasks::now_stamp;

const PROTOCOL: u32 = 1;
const MAX_STATE: usize = 1 << 20;
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a write waits for room before it is answered with nothing taken.
const WRITE_WAIT: Duration = Duration::from_secs(10);
const MAX_PARKED: usize = 256;
const MAX_WRITE: usize = 256 << 10;
const DEFAULT_READ: usize = 64 << 10;

/// What the shim keeps for trined.
#[derive(Default)]
pub struct Keeper {
    state: Vec<u8>,
    revision: u64,
    pub taps: BTreeMap<String, OwnedFd>,
    pub net: NetServers,
    pub mounted: BTreeSet<PathBuf>,
}

/// A call that waits for something to come, or for its time.
pub struct Parked {
    pub call: Call,
    pub until: Instant,
    wish: Wish,
}

enum Wish {
    Events(u64),
    Read {
        channel: String,
        offset: u64,
        keep: u64,
        limit: usize,
    },
    Write {
        target: Target,
        offset: u64,
        data: Vec<u8>,
    },
}

enum Target {
    Channel(String),
    Stdio { number: u32, stderr: bool },
}

fn done() -> Answer {
    Ok(empty())
}

fn millis(wait_ms: u32) -> Duration {
    Duration::from_millis(u64::from(wait_ms)).min(MAX_WAIT)
}

impl Shim {
    pub fn control_call(&mut self, call: Call, method: &str, payload: &[u8]) {
        let answer = match method {
            "Describe" => Ok(self.describe().encode_to_vec()),
            "PutState" => self.put_state(payload),
            "Mount" => self.mount(payload),
            "Unmount" => self.unmount(payload),
            "OpenTap" => self.open_tap(payload),
            "ServeDhcp" => self.serve_dhcp(payload),
            "ServeForward" => self.serve_forward(payload),
            "Spawn" => decode(payload).and_then(|r| Ok(self.spawn(r)?.encode_to_vec())),
            "Signal" => self.signal(payload),
            "Reap" => decode(payload).and_then(|r: shim::ReapRequest| {
                self.reap(&r.key)?;
                done()
            }),
            "SetProcess" => self.set_process(payload),
            "Run" => match decode(payload) {
                Ok(request) => return self.run_program(call, request),
                Err(failure) => Err(failure),
            },
            "Events" | "ReadChannel" | "WriteChannel" | "WriteStdio" => {
                match self.wish(method, payload) {
                    Ok((wish, wait)) => return self.park(call, wish, wait),
                    Err(failure) => Err(failure),
                }
            }
            other => Err(failure(Code::Unimplemented, format!("shim call {other}"))),
        };
        self.reply(call, answer);
    }

    fn describe(&self) -> shim::DescribeResponse {
        let identity = &self.identity;
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let alive = self.processes.values().filter(|p| !p.deleted);
        shim::DescribeResponse {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            namespace: identity.namespace.clone(),
            sandbox_id: identity.sandbox_id.clone(),
            runtime: identity.runtime.clone(),
            bundle: identity.bundle.clone(),
            netns: identity.netns.clone(),
            pod_dir: path(&identity.pod_dir),
            pid: identity.pid,
            state: self.keeper.state.clone(),
            state_revision: self.keeper.revision,
            processes: alive.map(|p| p.describe()).collect(),
            children: self
                .children
                .iter()
                .map(|(key, child)| child.describe(key))
                .collect(),
            taps: self.keeper.taps.keys().cloned().collect(),
            last_event: self.notes.last(),
            cgroups: identity.cgroups.iter().map(|p| path(p)).collect(),
        }
    }

    fn put_state(&mut self, payload: &[u8]) -> Answer {
        let request: shim::PutStateRequest = decode(payload)?;
        if request.state.len() > MAX_STATE {
            return Err(failure(
                Code::ResourceExhausted,
                "the state document is over 1 MiB",
            ));
        }
        if request.revision < self.keeper.revision {
            let held = self.keeper.revision;
            let message = format!("state revision {} is older than {held}", request.revision);
            return Err(failure(Code::FailedPrecondition, message));
        }
        self.keeper.state = request.state;
        self.keeper.revision = request.revision;
        done()
    }

    /// A repeated request finds the target mounted by the earlier one.
    fn mount(&mut self, payload: &[u8]) -> Answer {
        let request: shim::MountRequest = decode(payload)?;
        let target = absolute(&request.target)?;
        if !self.keeper.mounted.contains(&target) || !mount::is_mounted(&target)? {
            let layers = request.mounts.into_iter().map(|m| mount::Layer {
                kind: m.r#type,
                source: m.source,
                options: m.options,
                target: m.target,
            });
            mount::mount_layers(&target, &layers.collect::<Vec<_>>())?;
            self.keeper.mounted.insert(target);
        }
        done()
    }

    fn unmount(&mut self, payload: &[u8]) -> Answer {
        let request: shim::UnmountRequest = decode(payload)?;
        let target = absolute(&request.target)?;
        mount::unmount_all(&target)?;
        self.keeper.mounted.remove(&target);
        done()
    }

    fn open_tap(&mut self, payload: &[u8]) -> Answer {
        let request: shim::OpenTapRequest = decode(payload)?;
        if let Entry::Vacant(entry) = self.keeper.taps.entry(request.name) {
            let tap = net::open_tap(entry.key(), request.mtu)?;
            entry.insert(tap);
        }
        done()
    }

    fn signal(&mut self, payload: &[u8]) -> Answer {
        let request: shim::SignalRequest = decode(payload)?;
        self.signal_child(&request.key, request.signal)?;
        done()
    }

    fn set_process(&mut self, payload: &[u8]) -> Answer {
        let request: shim::SetProcessRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        let status = request.status();
        let pid = if request.pid == 0 {
            self.identity.pid
        } else {
            request.pid
        };
        if status == task::Status::Stopped {
            if self.has_running_child(number) {
                let message = format!("task {} ends with its child", request.id);
                return Err(failure(Code::FailedPrecondition, message));
            }
            let at = request.exited_at.unwrap_or_else(now_stamp);
            self.end_process(number, request.exit_status, at, false);
            return done();
        }
        if let Some(process) = self.processes.get_mut(&number).filter(|p| !p.is_stopped()) {
            process.pid = pid;
            if status != task::Status::Unknown {
                process.status = status;
            }
        }
        done()
    }
}

/// Calls that wait.
impl Shim {
    fn wish(&self, method: &str, payload: &[u8]) -> Result<(Wish, Duration), Failure> {
        match method {
            "Events" => {
                let request: shim::EventsRequest = decode(payload)?;
                Ok((Wish::Events(request.after), millis(request.wait_ms)))
            }
            "ReadChannel" => {
                let request: shim::ReadChannelRequest = decode(payload)?;
                let limit = usize::try_from(request.max_bytes).unwrap_or(usize::MAX);
                let wish = Wish::Read {
                    channel: request.name,
                    offset: request.offset,
                    keep: u64::from(request.keep_bytes),
                    limit: if limit == 0 {
                        DEFAULT_READ
                    } else {
                        limit.min(MAX_WRITE)
                    },
                };
                Ok((wish, millis(request.wait_ms)))
            }
            "WriteChannel" => {
                let request: shim::WriteChannelRequest = decode(payload)?;
                write_wish(Target::Channel(request.name), request.offset, request.data)
            }
            _ => {
                let request: shim::WriteStdioRequest = decode(payload)?;
                let target = Target::Stdio {
                    number: self.find(&request.id, &request.exec_id)?,
                    stderr: request.stderr,
                };
                write_wish(target, request.offset, request.data)
            }
        }
    }

    fn park(&mut self, call: Call, wish: Wish, wait: Duration) {
        if self.parked.len() >= MAX_PARKED {
            let full = failure(Code::ResourceExhausted, "too many calls wait");
            return self.reply(call, Err(full));
        }
        let until = Instant::now() + wait;
        let until = call.deadline.map_or(until, |deadline| deadline.min(until));
        self.parked.push(Parked { call, until, wish });
    }

    /// Answers those whose wish has come true or whose time has passed; after every turn of the loop.
    pub fn serve_parked(&mut self, now: Instant) {
        for parked in std::mem::take(&mut self.parked) {
            match self.grant(&parked.wish, now >= parked.until) {
                Some(answer) => self.reply(parked.call, answer),
                None => self.parked.push(parked),
            }
        }
    }

    fn grant(&mut self, wish: &Wish, late: bool) -> Option<Answer> {
        match wish {
            Wish::Events(after) => match self.notes.after(*after) {
                Some(events) => Some(Ok(events.encode_to_vec())),
                None => late.then(done),
            },
            Wish::Read {
                channel,
                offset,
                keep,
                limit,
            } => self.read_channel(channel, (*offset, *keep), *limit, late),
            Wish::Write {
                target,
                offset,
                data,
            } => self.write(target, *offset, data, late),
        }
    }

    fn read_channel(
        &mut self,
        name: &str,
        (offset, keep): (u64, u64),
        limit: usize,
        late: bool,
    ) -> Option<Answer> {
        let Some((number, held)) = self.held(name) else {
            return Some(Err(no_channel(name)));
        };
        let Some(found) = held.read(offset, keep, limit) else {
            let message = format!("channel {name} has nothing up to offset {offset}");
            return Some(Err(failure(Code::OutOfRange, message)));
        };
        // What was acknowledged has made room.
        self.channel_ready(number);
        if found.data.is_empty() && !found.closed && !late {
            return None;
        }
        let response = shim::ReadChannelResponse {
            offset: found.offset,
            data: found.data,
            closed: found.closed,
        };
        Some(Ok(response.encode_to_vec()))
    }

    fn held(&mut self, name: &str) -> Option<(u32, &mut crate::channels::Held)> {
        let number = self.channel_named(name)?;
        match self.channels.get_mut(&number).map(|c| &mut c.kind) {
            Some(Kind::Held(held)) => Some((number, held)),
            _ => None,
        }
    }

    fn write(&mut self, target: &Target, offset: u64, data: &[u8], late: bool) -> Option<Answer> {
        let offered = match target {
            Target::Channel(name) => self.write_channel(name, offset, data),
            Target::Stdio { number, stderr } => self.write_stdio(*number, *stderr, offset, data),
        };
        let next = match offered {
            Ok(Offer::Taken(next)) => next,
            Ok(Offer::Full) if late => offset,
            Ok(Offer::Full) => return None,
            Ok(Offer::Gap(next)) => {
                let message = format!("offset {offset} leaves a gap; {next} is wanted");
                return Some(Err(failure(Code::OutOfRange, message)));
            }
            Err(failure) => return Some(Err(failure)),
        };
        // Both responses are the one field.
        Some(Ok(
            shim::WriteChannelResponse { offset: next }.encode_to_vec()
        ))
    }

    fn write_channel(&mut self, name: &str, offset: u64, data: &[u8]) -> Result<Offer, Failure> {
        let (number, held) = self.held(name).ok_or_else(|| no_channel(name))?;
        if !held.is_open() {
            let message = format!("the other end of channel {name} is gone");
            return Err(failure(Code::FailedPrecondition, message));
        }
        let offered = held.outgoing.offer(offset, data);
        self.channel_ready(number);
        Ok(offered)
    }

    /// After the end nothing is added, but a repeated write still learns that it was done.
    fn write_stdio(
        &mut self,
        number: u32,
        stderr: bool,
        offset: u64,
        data: &[u8],
    ) -> Result<Offer, Failure> {
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(failure(Code::NotFound, "the process is gone"));
        };
        let stopped = process.is_stopped();
        let output = if stderr {
            &mut process.stderr
        } else {
            &mut process.stdout
        };
        let known = offset.saturating_add(data.len() as u64) <= output.inbox.next();
        if stopped && !known {
            return Err(failure(Code::FailedPrecondition, "the process has ended"));
        }
        let offered = output.inbox.offer(offset, data);
        output.pump(&self.reactor);
        Ok(offered)
    }
}

fn write_wish(target: Target, offset: u64, data: Vec<u8>) -> Result<(Wish, Duration), Failure> {
    if data.len() > MAX_WRITE {
        return Err(failure(Code::InvalidArgument, "a write is at most 256 KiB"));
    }
    let wish = Wish::Write {
        target,
        offset,
        data,
    };
    Ok((wish, WRITE_WAIT))
}

fn no_channel(name: &str) -> Failure {
    failure(
        Code::NotFound,
        format!("held channel {name} does not exist"),
    )
}

fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(failure(
        Code::InvalidArgument,
        "a mount target is an absolute path",
    ))
}
