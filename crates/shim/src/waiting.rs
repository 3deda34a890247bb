//! Calls of trined's that wait: for something to come, for room, or for their time to pass.

use std::time::{Duration, Instant};

use trine_wire::{Message, shim};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::channels::{Held, Kind};
use crate::inbox::Offer;
use crate::server::Call;
use crate::shim::Shim;

const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a write waits for room before it is answered with nothing taken.
const WRITE_WAIT: Duration = Duration::from_secs(10);
const MAX_PARKED: usize = 256;
const MAX_WRITE: usize = 256 << 10;
const DEFAULT_READ: usize = 64 << 10;

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

fn millis(wait_ms: u32) -> Duration {
    Duration::from_millis(u64::from(wait_ms)).min(MAX_WAIT)
}

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

    pub fn waiting_call(&mut self, call: Call, method: &str, payload: &[u8]) {
        match self.wish(method, payload) {
            Ok((wish, wait)) => self.park(call, wish, wait),
            Err(failure) => self.reply(call, Err(failure)),
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
        loop {
            let before = self.parked.len();
            for parked in std::mem::take(&mut self.parked) {
                match self.grant(&parked.wish, now >= parked.until) {
                    Some(answer) => self.reply(parked.call, answer),
                    None => self.parked.push(parked),
                }
            }
            // A write that was granted may have read the answer that an earlier call in the list waits for.
            if self.parked.len() >= before {
                return;
            }
        }
    }

    fn grant(&mut self, wish: &Wish, late: bool) -> Option<Answer> {
        match wish {
            Wish::Events(after) => match self.notes.after(*after) {
                Some(events) => Some(Ok(events.encode_to_vec())),
                None => late.then(|| Ok(empty())),
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
        let acknowledged = held.acknowledge(offset, keep).is_some();
        // That has made room. What now comes in is found below: no event will tell of it again.
        self.channel_ready(number);
        let found = match self.held(name) {
            Some((_, held)) if acknowledged => held.read(offset, keep, limit),
            _ => None,
        };
        let Some(found) = found else {
            let message = format!("channel {name} has nothing up to offset {offset}");
            return Some(Err(failure(Code::OutOfRange, message)));
        };
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

    fn held(&mut self, name: &str) -> Option<(u32, &mut Held)> {
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
        let number = self.held(name).ok_or_else(|| no_channel(name))?.0;
        // First what waits already: a queue emptied after the refusal would wake nobody.
        self.channel_ready(number);
        let Some((_, held)) = self.held(name).filter(|(_, held)| held.is_open()) else {
            let message = format!("the other end of channel {name} is gone");
            return Err(failure(Code::FailedPrecondition, message));
        };
        let offered = held.outgoing.offer(offset, data);
        if matches!(offered, Offer::Taken(_)) {
            self.channel_ready(number);
        }
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
        // As with a channel.
        output.pump(&self.reactor);
        let offered = output.inbox.offer(offset, data);
        if matches!(offered, Offer::Taken(_)) {
            output.pump(&self.reactor);
        }
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
