//! Ordinary containers beside a machine: the node's own runc shim as a child of this one, one a pod. It gets the
//! task calls of the containers that trined has handed over (Nest), as they came, and opens their FIFOs itself.
//! The table of processes follows it: State and Wait are answered here, so that its death is no silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use trine_wire::ttrpc::{KeyValue, Request};
use trine_wire::{Message, shim, task};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::client::Client;
use crate::nested_ends::RECORD_FILE;
use crate::nested_start::append_options;
use crate::relay::{Relayed, STATS_LIMIT};
use crate::server::{Call, MAX_PAYLOAD};
use crate::shim::Shim;

pub const NESTED_KEY: &str = "nested";
/// containerd 1.x serves the first, 2.x the second; the messages are the same.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];
const MAX_CALLS: usize = 4096;

/// The pod's nested shim and the calls it has not answered.
pub struct Nested {
    number: u32,
    client: Client,
    service: usize,
    calls: BTreeMap<u32, Forwarded>,
}

pub struct Forwarded {
    pub what: Relayed,
    /// `None`: asked by this shim itself, or answered since.
    pub call: Option<Call>,
    payload: Vec<u8>,
    deadline: Option<Instant>,
    /// As which of the services it was sent.
    service: usize,
}

impl Nested {
    pub fn new(number: u32, client: Client) -> Nested {
        Nested {
            number,
            client,
            service: 0,
            calls: BTreeMap::new(),
        }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Takes back the calls of which `drop_it` is true.
    pub fn forget(&mut self, drop_it: impl Fn(Relayed) -> bool) -> Vec<Call> {
        let dropped = self.calls.extract_if(.., |_, f| drop_it(f.what));
        dropped.filter_map(|(_, f)| f.call).collect()
    }

    /// Whether it is still to answer the Create of this process.
    pub fn creates(&self, number: u32) -> bool {
        let mut calls = self.calls.values();
        calls.any(|f| f.what == Relayed::Create(number))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().filter_map(|f| f.deadline).min()
    }

    pub fn into_calls(self) -> impl Iterator<Item = Forwarded> {
        self.calls.into_values()
    }
}

impl Shim {
    pub fn nest(&mut self, payload: &[u8]) -> Answer {
        let request: shim::NestRequest = decode(payload)?;
        let number = self.find(&request.id, "")?;
        if !request.program.starts_with('/') {
            let why = "a nested shim is named by an absolute path";
            return Err(failure(Code::InvalidArgument, why));
        }
        let Some(process) = self.processes.get(&number).filter(|p| p.nested.is_none()) else {
            return Ok(empty());
        };
        if process.is_stopped() || process.killed.is_some() || !self.relay.holds_create(number) {
            let message = format!("the Create of task {} no longer waits", request.id);
            return Err(failure(Code::FailedPrecondition, message));
        }
        let bundle = PathBuf::from(&process.bundle);
        let nested = self.ensure_nested(&request)?;
        // For `delete`, should both shims be gone by then.
        fs::write(bundle.join(RECORD_FILE), &request.program)?;
        let Some((mut create, call)) = self.relay.take_create(number) else {
            return Err(failure(Code::FailedPrecondition, "the Create is gone"));
        };
        append_options(&mut create, request.runc_options);
        if let Some(process) = self.processes.get_mut(&number) {
            process.nested = Some(nested);
            // The nested shim waits for a writer of it; ours would be one, and its end the container's end of input.
            process.stdin.shut();
        }
        self.forward(call, create, Relayed::Create(number));
        Ok(empty())
    }

    /// Passes a call on. `None` for the caller: the answer is for this shim.
    pub fn forward(&mut self, call: Option<Call>, payload: Vec<u8>, what: Relayed) {
        let own = call.as_ref().and_then(|call| call.deadline);
        let limit = matches!(what, Relayed::Stats(_)).then(|| Instant::now() + STATS_LIMIT);
        let forwarded = Forwarded {
            what,
            deadline: own.into_iter().chain(limit).min(),
            call,
            payload,
            service: 0,
        };
        if let Err((forwarded, why)) = self.send_nested(forwarded) {
            let why = failure(Code::Unavailable, format!("the nested shim: {why}"));
            match forwarded.what {
                what @ Relayed::Delete(_) => self.clean_nested(what, forwarded.call),
                // Of the end of that process nobody would hear.
                Relayed::Wait(number) if self.nested_has(number) => {
                    self.nested_lost(&why.0.message);
                }
                // It was lost before, and its processes ended with it.
                Relayed::Wait(_) => {}
                what => self.relay_done(what, forwarded.call, Err(why)),
            }
        }
    }

    /// The process is with the nested shim that runs now.
    pub fn nested_has(&self, process: u32) -> bool {
        let of = self.processes.get(&process).and_then(|p| p.nested);
        of.is_some() && of == self.nested.as_ref().map(|n| n.number)
    }

    fn send_nested(&mut self, mut forwarded: Forwarded) -> Result<(), (Forwarded, String)> {
        let namespace = self.identity.namespace.clone();
        let is_there = self.nested_has(forwarded.what.process());
        let Some(nested) = self.nested.as_mut().filter(|_| is_there) else {
            return Err((forwarded, "it has ended".to_owned()));
        };
        if nested.client.is_stuck() || nested.calls.len() >= MAX_CALLS {
            return Err((forwarded, "it does not take its calls".to_owned()));
        }
        let left = forwarded.deadline.map_or(0, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            i64::try_from(left.as_nanos()).unwrap_or(i64::MAX).max(1)
        });
        forwarded.service = nested.service;
        let request = Request {
            service: SERVICES
                .get(nested.service)
                .copied()
                .unwrap_or_default()
                .to_owned(),
            method: forwarded.what.method().to_owned(),
            payload: forwarded.payload.clone(),
            timeout_nano: left,
            metadata: vec![KeyValue {
                key: "containerd-namespace-ttrpc".to_owned(),
                value: namespace,
            }],
        };
        match nested.client.call(&self.reactor, &request) {
            Ok(stream) => {
                nested.calls.insert(stream, forwarded);
                Ok(())
            }
            Err(error) => Err((forwarded, error.to_string())),
        }
    }

    pub fn nested_ready(&mut self) {
        let Some(nested) = &mut self.nested else {
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let received = nested.client.receive(&self.reactor, &mut scratch);
        self.scratch = scratch;
        match received {
            Ok(answers) => {
                for (stream, response) in answers {
                    let answer = match response.status {
                        Some(status) if status.code != 0 => Err(Failure(status)),
                        _ if response.payload.len() > MAX_PAYLOAD => {
                            Err(failure(Code::ResourceExhausted, "the answer is too long"))
                        }
                        _ => Ok(response.payload),
                    };
                    self.nested_answered(stream, answer);
                }
            }
            // What it leaves is cleared when its end is seen.
            Err(error) => self.nested_lost(&error.to_string()),
        }
    }

    /// Answers the callers whose deadlines have passed. What changes the table is still waited for, once.
    pub fn expire_nested(&mut self, now: Instant) {
        let Some(nested) = &mut self.nested else {
            return;
        };
        let late = nested
            .calls
            .extract_if(.., |_, f| f.deadline.is_some_and(|d| d <= now));
        let late: Vec<(u32, Forwarded)> = late.collect();
        let mut expired = Vec::new();
        for (stream, mut forwarded) in late {
            let what = forwarded.what;
            expired.push((what, forwarded.call.take()));
            let known = |f: &Forwarded| f.what == what && f.call.is_none();
            if what.changes_table() && !nested.calls.values().any(known) {
                forwarded.deadline = None;
                nested.calls.insert(stream, forwarded);
            }
        }
        for (what, call) in expired {
            self.relay_expired(what, true, call);
        }
    }

    fn nested_answered(&mut self, stream: u32, answer: Answer) {
        let Some(nested) = &mut self.nested else {
            return;
        };
        let Some(forwarded) = nested.calls.remove(&stream) else {
            return;
        };
        let what = forwarded.what;
        let other = matches!(&answer, Err(Failure(s)) if s.code == Code::Unimplemented as i32);
        if other && matches!(what, Relayed::Create(_)) && forwarded.service == 0 {
            nested.service = 1;
            return self.forward(forwarded.call, forwarded.payload, what);
        }
        let done = answer.is_ok();
        match (what, answer) {
            (Relayed::Wait(number), Ok(payload)) => self.nested_exited(number, &payload),
            // Its process is gone without having run: whoever waits is answered by its Delete.
            (Relayed::Wait(_), Err(_)) => {}
            (what, answer) => self.relay_done(what, forwarded.call, answer),
        }
        match what {
            Relayed::Create(number) if done => {
                if let Some(process) = self.processes.get_mut(&number) {
                    process.stdout.close();
                    process.stderr.close();
                }
                self.wait_nested(number);
            }
            Relayed::Exec(number) if done => self.wait_nested(number),
            _ => {}
        }
    }

    fn wait_nested(&mut self, number: u32) {
        let Some(process) = self.processes.get(&number) else {
            return;
        };
        let wait = task::WaitRequest {
            id: process.id.clone(),
            exec_id: process.exec_id.clone(),
        };
        self.forward(None, wait.encode_to_vec(), Relayed::Wait(number));
    }
}
