//! The journal of calls that trined answers. A call stays until it is answered or its caller's deadline has
//! passed; whenever trined comes back it gets every unanswered one again under the same id.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use trine_wire::ttrpc::{KeyValue, Request};

use crate::answer::{Answer, Code, Failure, empty, failure};
use crate::client::Client;
use crate::process::Process;
use crate::reactor::Token;
use crate::server::{Call, MAX_PAYLOAD};
use crate::shim::Shim;

const SERVICE: &str = "containerd.task.v2.Task";
const PROTOCOL: &str = "1";
const MAX_ENTRIES: usize = 1024;
const MAX_BYTES: usize = 32 << 20;
pub const STATS_LIMIT: Duration = Duration::from_secs(2);
/// After this long without trined an ended task is deleted without it: containerd shows a container as
/// running until its delete is answered. trined takes the rest apart when it is back. A machine's signals
/// wait no longer either.
const AWAY_LIMIT: Duration = Duration::from_secs(1);

/// What a relayed call means to the shim's own table; the number is the process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    Create(u32),
    Start(u32),
    Exec(u32),
    Kill(u32),
    Delete(u32),
    Pause(u32),
    Resume(u32),
    Update(u32),
    Stats(u32),
    /// Only to a nested shim: of others the shim knows by itself.
    Wait(u32),
    Pids(u32),
    Resize(u32),
    CloseIo(u32),
}

impl Relayed {
    pub fn method(self) -> &'static str {
        match self {
            Relayed::Create(_) => "Create",
            Relayed::Start(_) => "Start",
            Relayed::Exec(_) => "Exec",
            Relayed::Kill(_) => "Kill",
            Relayed::Delete(_) => "Delete",
            Relayed::Pause(_) => "Pause",
            Relayed::Resume(_) => "Resume",
            Relayed::Update(_) => "Update",
            Relayed::Stats(_) => "Stats",
            Relayed::Wait(_) => "Wait",
            Relayed::Pids(_) => "Pids",
            Relayed::Resize(_) => "ResizePty",
            Relayed::CloseIo(_) => "CloseIO",
        }
    }

    /// Its answer says what the shim's table must know, however late it comes.
    pub fn changes_table(self) -> bool {
        matches!(
            self,
            Relayed::Create(_)
                | Relayed::Start(_)
                | Relayed::Exec(_)
                | Relayed::Delete(_)
                | Relayed::Pause(_)
                | Relayed::Resume(_)
        )
    }

    pub fn process(self) -> u32 {
        match self {
            Relayed::Create(n) | Relayed::Start(n) | Relayed::Exec(n) | Relayed::Kill(n) => n,
            Relayed::Delete(n) | Relayed::Pause(n) | Relayed::Resume(n) | Relayed::Update(n) => n,
            Relayed::Stats(n) | Relayed::Wait(n) | Relayed::Pids(n) | Relayed::Resize(n) => n,
            Relayed::CloseIo(n) => n,
        }
    }
}

pub struct Entry {
    pub what: Relayed,
    payload: Vec<u8>,
    /// `None`: the caller has been answered, trined is still to be told.
    call: Option<Call>,
    deadline: Option<Instant>,
    /// Stream id on trined's present connection.
    stream: Option<u32>,
    pub ever_sent: bool,
}

pub struct Relay {
    client: Client,
    identity: Vec<KeyValue>,
    /// By id, so in the order they came.
    entries: BTreeMap<u64, Entry>,
    last_id: u64,
    /// Since when trined has been away.
    away_since: Option<Instant>,
}

fn metadata(namespace: &str, sandbox: &str, socket: &Path) -> Vec<KeyValue> {
    let pair = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    vec![
        pair("trine-protocol", PROTOCOL),
        pair("trine-namespace", namespace),
        pair("trine-sandbox", sandbox),
        pair("trine-address", &socket.to_string_lossy()),
    ]
}

impl Relay {
    pub fn new(state: &Path, namespace: &str, sandbox: &str, socket: &Path) -> Relay {
        Relay {
            client: Client::new(state.join("trined.sock"), Token::Trined),
            identity: metadata(namespace, sandbox, socket),
            entries: BTreeMap::new(),
            last_id: 0,
            away_since: Some(Instant::now()),
        }
    }

    /// From now on calls are another pod's.
    pub fn serve_pod(&mut self, namespace: &str, sandbox: &str, socket: &Path) {
        self.identity = metadata(namespace, sandbox, socket);
    }

    pub fn connected(&self) -> bool {
        self.client.connected()
    }

    /// There, and taking what it is sent.
    pub fn keeps_up(&self) -> bool {
        self.connected() && self.client.is_flushed()
    }

    fn is_full(&self, more: usize) -> bool {
        let held: usize = self.entries.values().map(|e| e.payload.len()).sum();
        more > MAX_PAYLOAD || self.entries.len() >= MAX_ENTRIES || held + more > MAX_BYTES
    }

    fn request(&self, id: u64, entry: &Entry, now: Instant) -> Request {
        let left = entry
            .deadline
            .map(|d| d.saturating_duration_since(now).as_nanos().max(1));
        let mut metadata = self.identity.clone();
        metadata.push(KeyValue {
            key: "trine-request".to_owned(),
            value: id.to_string(),
        });
        Request {
            service: SERVICE.to_owned(),
            method: entry.what.method().to_owned(),
            payload: entry.payload.clone(),
            timeout_nano: left.map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX)),
            metadata,
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = (!self.connected()).then(|| self.client.retry_at());
        self.entries
            .values()
            .filter_map(|e| e.deadline)
            .chain(retry)
            .chain(self.alone_at().filter(|at| *at > Instant::now()))
            .min()
    }

    /// When calls stop waiting for trined that need not; `None` while it is there.
    fn alone_at(&self) -> Option<Instant> {
        self.away_since.map(|since| since + AWAY_LIMIT)
    }

    pub fn holds_create(&self, number: u32) -> bool {
        self.entries
            .values()
            .any(|e| e.what == Relayed::Create(number))
    }

    /// Takes a Create away from trined, whose answer to it then finds nobody.
    pub fn take_create(&mut self, number: u32) -> Option<(Vec<u8>, Option<Call>)> {
        let mut creates = self
            .entries
            .extract_if(.., |_, e| e.what == Relayed::Create(number));
        creates.next().map(|(_, entry)| (entry.payload, entry.call))
    }

    pub fn forget(&mut self, drop_it: impl Fn(Relayed) -> bool) -> Vec<Call> {
        let mut calls = Vec::new();
        self.entries.retain(|_, entry| {
            let gone = drop_it(entry.what);
            if gone {
                calls.extend(entry.call.take());
            }
            !gone
        });
        calls
    }
}

impl Shim {
    /// Writes a call down and sends it when trined is there.
    pub fn relay(&mut self, call: Call, payload: Vec<u8>, what: Relayed) {
        if self.relay.is_full(payload.len()) {
            let full = failure(Code::ResourceExhausted, "too much waits for trined");
            return self.relay_done(what, Some(call), Err(full));
        }
        let now = Instant::now();
        let deadline = match what {
            Relayed::Stats(_) => {
                let limit = now + STATS_LIMIT;
                Some(call.deadline.map_or(limit, |d| d.min(limit)))
            }
            _ => call.deadline,
        };
        self.relay.last_id += 1;
        let entry = Entry {
            what,
            payload,
            deadline,
            call: Some(call),
            stream: None,
            ever_sent: false,
        };
        self.relay.entries.insert(self.relay.last_id, entry);
        self.relay.client.hurry(now);
        self.send_unsent(now);
    }

    /// Connects when it is time to; called after every turn of the loop.
    pub fn relay_pump(&mut self, now: Instant) {
        let hurry = !self.relay.entries.is_empty();
        if self.relay.client.connect(&self.reactor, hurry, now) {
            self.log.line("trined connected");
            self.relay.away_since = None;
        }
        self.send_unsent(now);
        self.expire_entries(now);
        self.go_on_alone(now);
    }

    /// When trined has been away for long: deletes of ended tasks are done without it, and a signal for a
    /// machine is answered, though trined has still to pass it on. containerd would else never come to
    /// its SIGKILL, which needs no trined.
    fn go_on_alone(&mut self, now: Instant) {
        if self.relay.alone_at().is_none_or(|at| at > now) {
            return;
        }
        let alone = |what| match what {
            Relayed::Delete(number) => self.processes.get(&number).is_none_or(Process::is_stopped),
            Relayed::Kill(number) => self.has_running_child(number),
            _ => false,
        };
        let entries = self.relay.entries.iter();
        let waiting = entries.filter(|(_, e)| e.call.is_some() && alone(e.what));
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(mut entry) = self.relay.entries.remove(&id) else {
                continue;
            };
            if matches!(entry.what, Relayed::Delete(_)) {
                self.relay_done(entry.what, entry.call, Ok(Vec::new()));
            } else if let Some(call) = entry.call.take() {
                entry.deadline = None;
                self.relay.entries.insert(id, entry);
                self.reply(call, Ok(empty()));
            }
        }
    }

    fn send_unsent(&mut self, now: Instant) {
        if !self.relay.connected() || self.relay.client.is_stuck() {
            return;
        }
        let unsent = self
            .relay
            .entries
            .iter()
            .filter(|(_, e)| e.stream.is_none());
        let unsent: Vec<u64> = unsent.map(|(id, _)| *id).collect();
        for id in unsent {
            let Some(entry) = self.relay.entries.get(&id) else {
                continue;
            };
            let request = self.relay.request(id, entry, now);
            match self.relay.client.call(&self.reactor, &request) {
                Ok(stream) => {
                    if let Some(entry) = self.relay.entries.get_mut(&id) {
                        entry.stream = Some(stream);
                        entry.ever_sent = true;
                    }
                }
                Err(error) => return self.trined_lost(&error.to_string(), now),
            }
        }
    }

    pub fn trined_ready(&mut self, now: Instant) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let received = self.relay.client.receive(&self.reactor, &mut scratch);
        self.scratch = scratch;
        let answers = match received {
            Ok(answers) => answers,
            Err(error) => return self.trined_lost(&error.to_string(), now),
        };
        for (stream, response) in answers {
            let found = self
                .relay
                .entries
                .iter()
                .find(|(_, e)| e.stream == Some(stream));
            // An answer to nothing was given up by its caller, or came twice.
            let Some(id) = found.map(|(id, _)| *id) else {
                continue;
            };
            let Some(entry) = self.relay.entries.remove(&id) else {
                continue;
            };
            let answer = match response.status {
                Some(status) if status.code != 0 => Err(Failure(status)),
                _ => Ok(response.payload),
            };
            self.relay_done(entry.what, entry.call, answer);
        }
    }

    fn trined_lost(&mut self, why: &str, now: Instant) {
        self.log.line(&format!("trined gone: {why}"));
        let hurry = !self.relay.entries.is_empty();
        self.relay.client.disconnect(hurry, now);
        self.relay.away_since.get_or_insert(now);
        let mut stats = Vec::new();
        for (id, entry) in &mut self.relay.entries {
            entry.stream = None;
            if matches!(entry.what, Relayed::Stats(_)) {
                stats.push(*id);
            }
        }
        for id in stats {
            self.expire(id);
        }
    }

    fn expire_entries(&mut self, now: Instant) {
        let late = self
            .relay
            .entries
            .iter()
            .filter(|(_, e)| e.deadline.is_some_and(|d| d <= now));
        let late: Vec<u64> = late.map(|(id, _)| *id).collect();
        for id in late {
            self.expire(id);
        }
    }

    /// Answers the caller. A Delete stays: what it asked for is still to be done, and nobody may ask again.
    fn expire(&mut self, id: u64) {
        let Some(mut entry) = self.relay.entries.remove(&id) else {
            return;
        };
        let call = entry.call.take();
        let (what, ever_sent) = (entry.what, entry.ever_sent);
        if matches!(what, Relayed::Delete(_)) {
            entry.deadline = None;
            self.relay.entries.insert(id, entry);
        }
        self.relay_expired(what, ever_sent, call);
    }
}

/// The answer for a caller whose deadline has passed.
pub fn too_late(what: Relayed, whose: &str) -> Answer {
    let message = format!("{}: {whose} did not answer in time", what.method());
    Err(failure(Code::DeadlineExceeded, message))
}
