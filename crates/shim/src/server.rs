//! The shim's own socket: containerd's and trined's connections. A connection is closed only by its peer or
//! for bytes that are no ttrpc: to containerd a closed connection is a dead pod.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use trine_wire::frame::{Frame, MAX_BODY_BYTES, REQUEST, RESPONSE};
use trine_wire::{Message, ttrpc};

use crate::answer::{Answer, Code, Failure, failure};
use crate::link::{Link, is_not_now};
use crate::reactor::{READ, Token};
use crate::shim::Shim;

const MAX_CONNECTIONS: usize = 1024;
/// Room is left for the envelope.
pub const MAX_PAYLOAD: usize = MAX_BODY_BYTES - (64 << 10);
/// How long to leave a listener alone when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Unanswered calls of one connection.
const MAX_CALLS: u32 = 1024;

/// A request that must get exactly one answer: `Shim::reply` takes it.
#[derive(Debug)]
pub struct Call {
    pub connection: u32,
    stream: u32,
    pub deadline: Option<Instant>,
}

pub struct Connection {
    link: Link,
    calls: u32,
    /// It has called the task service: containerd, not trined.
    pub is_containerd: bool,
}

impl Shim {
    pub fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.accepted(stream),
                Err(error) if is_not_now(&error) => break,
                Err(error) => {
                    // Out of descriptors. Watched on, the socket would keep the loop spinning.
                    self.log.line(&format!("accept: {error}"));
                    self.listener_watch.set(&self.reactor, &self.listener, 0);
                    self.accept_soon();
                    return;
                }
            }
        }
        self.listener_watch.set(&self.reactor, &self.listener, READ);
    }

    fn accepted(&mut self, stream: UnixStream) {
        let number = self.number();
        match Link::new(stream, Token::Connection(number), &self.reactor) {
            Ok(link) if self.connections.len() < MAX_CONNECTIONS => {
                let connection = Connection {
                    link,
                    calls: 0,
                    is_containerd: false,
                };
                self.connections.insert(number, connection);
            }
            _ => self.log.line("connection refused: too many"),
        }
    }

    /// Some listener is left alone for a moment.
    pub fn accept_soon(&mut self) {
        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
    }

    pub fn listen_again(&mut self, now: Instant) {
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept();
            self.watch_attach_listeners();
            self.watch_doors();
        }
    }

    pub fn connection_ready(&mut self, number: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut open = match self.connections.get_mut(&number) {
            Some(connection) => {
                connection.link.flush(&self.reactor).is_ok()
                    && connection.link.receive(&mut scratch).unwrap_or(false)
            }
            None => true,
        };
        self.scratch = scratch;
        // What came before the end still counts: a caller may send and close.
        loop {
            let Some(connection) = self.connections.get_mut(&number) else {
                return;
            };
            match connection.link.next_frame(&self.reactor) {
                Ok(Some(frame)) => self.frame(number, &frame),
                Ok(None) => break,
                Err(error) => {
                    self.log
                        .line(&format!("connection {number} closed: {error}"));
                    open = false;
                    break;
                }
            }
        }
        if !open {
            self.connection_lost(number);
        }
    }

    fn frame(&mut self, number: u32, frame: &Frame) {
        if frame.kind != REQUEST {
            return;
        }
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.calls += 1;
        let too_many = connection.calls > MAX_CALLS;
        let mut call = Call {
            connection: number,
            stream: frame.stream,
            deadline: None,
        };
        match ttrpc::Request::decode(frame.body.as_slice()) {
            _ if too_many => self.refuse(call, Code::ResourceExhausted, "too many calls at once"),
            _ if frame.stream.is_multiple_of(2) => {
                self.refuse(call, Code::InvalidArgument, "a client's stream id is odd");
            }
            Err(error) => self.refuse(call, Code::InvalidArgument, &error.to_string()),
            Ok(request) => {
                let timeout = u64::try_from(request.timeout_nano).ok().filter(|n| *n > 0);
                call.deadline =
                    timeout.and_then(|n| Instant::now().checked_add(Duration::from_nanos(n)));
                self.dispatch(call, request);
            }
        }
    }

    fn refuse(&mut self, call: Call, code: Code, message: &str) {
        self.reply(call, Err(failure(code, message)));
    }

    /// A caller that has gone is not told.
    pub fn reply(&mut self, call: Call, answer: Answer) {
        let Some(connection) = self.connections.get_mut(&call.connection) else {
            return;
        };
        connection.calls = connection.calls.saturating_sub(1);
        let response = match answer {
            Ok(payload) if payload.len() > MAX_PAYLOAD => {
                // Not sendable, which must not cost the connection.
                let Failure(status) = failure(Code::ResourceExhausted, "the answer is too long");
                ttrpc::Response {
                    status: Some(status),
                    payload: Vec::new(),
                }
            }
            Ok(payload) => ttrpc::Response {
                status: None,
                payload,
            },
            Err(Failure(status)) => ttrpc::Response {
                status: Some(status),
                payload: Vec::new(),
            },
        };
        let sent = connection
            .link
            .send(&self.reactor, call.stream, RESPONSE, &response);
        if let Err(error) = sent {
            self.log
                .line(&format!("connection {} lost: {error}", call.connection));
            self.connection_lost(call.connection);
        }
    }

    fn connection_lost(&mut self, number: u32) {
        self.connections.remove(&number);
        for process in self.processes.values_mut() {
            process.waiters.retain(|call| call.connection != number);
        }
        self.parked
            .retain(|parked| parked.call.connection != number);
    }

    pub fn containerd_connected(&self) -> bool {
        self.connections.values().any(|c| c.is_containerd)
    }
}
