//! Task events for containerd, from a bounded queue behind everything else: nobody waits for them.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use trine_wire::events_ttrpc::{Envelope, ForwardRequest};
use trine_wire::{Any, Message, ttrpc};

use crate::client::Client;
use crate::reactor::{Reactor, Token};

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
const MAX_QUEUE: usize = 1024;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub struct Publisher {
    /// `None`: nobody wants events (CRI-O).
    client: Option<Client>,
    namespace: String,
    queue: VecDeque<ForwardRequest>,
    /// Stream id of the first of the queue, and when it is given up.
    asked: Option<(u32, Instant)>,
}

impl Publisher {
    pub fn new(address: &str, namespace: &str) -> Publisher {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        Publisher {
            client: path
                .starts_with('/')
                .then(|| Client::new(Path::new(path).to_owned(), Token::Publisher)),
            namespace: namespace.to_owned(),
            queue: VecDeque::new(),
            asked: None,
        }
    }

    /// `name` is the bare message name, e.g. TaskExit.
    pub fn publish(&mut self, topic: &str, name: &str, event: &impl Message) {
        if self.client.is_none() {
            return;
        }
        if self.queue.len() >= MAX_QUEUE {
            // The first may be on its way; the second is the oldest that may go.
            self.queue.remove(1);
        }
        self.queue.push_back(ForwardRequest {
            envelope: Some(Envelope {
                timestamp: Some(SystemTime::now().into()),
                namespace: self.namespace.clone(),
                topic: format!("/tasks/{topic}"),
                event: Some(Any {
                    type_url: format!("containerd.events.{name}"),
                    value: event.encode_to_vec(),
                }),
            }),
        });
    }

    /// Sends what can be sent; called after every turn of the loop.
    pub fn pump(&mut self, reactor: &Reactor, now: Instant) {
        let Some(client) = &mut self.client else {
            return;
        };
        if self.asked.is_some_and(|(_, until)| now >= until) {
            client.disconnect(true, now);
            self.asked = None;
        }
        let Some(first) = self.queue.front().filter(|_| self.asked.is_none()) else {
            return;
        };
        client.connect(reactor, true, now);
        if !client.connected() {
            return;
        }
        let request = ttrpc::Request {
            service: SERVICE.to_owned(),
            method: "Forward".to_owned(),
            payload: first.encode_to_vec(),
            timeout_nano: i64::try_from(ANSWER_LIMIT.as_nanos()).unwrap_or(i64::MAX),
            metadata: Vec::new(),
        };
        match client.call(reactor, &request) {
            Ok(stream) => self.asked = Some((stream, now + ANSWER_LIMIT)),
            Err(_) => client.disconnect(true, now),
        }
    }

    /// Any answer, even a refusal, is the end of that event.
    pub fn ready(&mut self, reactor: &Reactor, scratch: &mut [u8], now: Instant) {
        let Some(client) = &mut self.client else {
            return;
        };
        match client.receive(reactor, scratch) {
            Ok(answers) => {
                for (stream, _) in answers {
                    if self.asked.is_some_and(|(asked, _)| asked == stream) {
                        self.asked = None;
                        self.queue.pop_front();
                    }
                }
            }
            Err(_) => {
                client.disconnect(true, now);
                self.asked = None;
            }
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let client = self.client.as_ref()?;
        match self.asked {
            Some((_, until)) => Some(until),
            None if self.queue.is_empty() => None,
            None => Some(client.retry_at()),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}
