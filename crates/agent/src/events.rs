//! What happened, kept for whoever asks: the last 256.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trine_wire::Message;
use trine_wire::agent::{Event, EventsResponse, event::What};

use crate::answer::Call;

const MAX_EVENTS: usize = 256;
const MAX_WAIT: Duration = Duration::from_secs(60);
const MAX_WAITING: usize = 64;

#[derive(Default)]
pub struct Events {
    kept: VecDeque<Event>,
    last: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    call: Call,
    after: u64,
    until: Instant,
}

impl Events {
    /// Answers for those who waited.
    pub fn oom(&mut self, container: &str) -> Vec<(Call, Vec<u8>)> {
        self.last += 1;
        if self.kept.len() == MAX_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(Event {
            seq: self.last,
            what: Some(What::Oom(container.to_owned())),
        });
        let waiting = std::mem::take(&mut self.waiting);
        let answered = waiting.iter().map(|w| (w.call, self.since(w.after)));
        answered.collect()
    }

    /// What there is after `after`; `None` = the answer comes later.
    pub fn ask(&mut self, call: Call, after: u64, wait: Duration) -> Option<Vec<u8>> {
        if after < self.last || wait.is_zero() || self.waiting.len() >= MAX_WAITING {
            return Some(self.since(after));
        }
        self.waiting.push(Waiting {
            call,
            after,
            until: Instant::now() + wait.min(MAX_WAIT),
        });
        None
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|w| w.until).min()
    }

    pub fn expired(&mut self, now: Instant) -> Vec<(Call, Vec<u8>)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (over, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|w| w.until <= now);
        self.waiting = rest;
        over.iter().map(|w| (w.call, self.since(w.after))).collect()
    }

    /// A connection has gone, and its calls with it.
    pub fn forget(&mut self, stream: u32) {
        self.waiting.retain(|w| w.call.stream != stream);
    }

    fn since(&self, after: u64) -> Vec<u8> {
        let events: Vec<Event> = self
            .kept
            .iter()
            .filter(|e| e.seq > after)
            .cloned()
            .collect();
        let oldest = self.kept.front().map_or(self.last + 1, |e| e.seq);
        EventsResponse {
            lost: after + 1 < oldest,
            events,
        }
        .encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call = Call {
        stream: 1,
        number: 1,
    };

    fn read(bytes: &[u8]) -> (Vec<u64>, bool) {
        let response = EventsResponse::decode(bytes).expect("ours");
        (
            response.events.iter().map(|e| e.seq).collect(),
            response.lost,
        )
    }

    #[test]
    fn who_waits_is_told_and_who_comes_late_too() {
        let mut events = Events::default();
        assert!(events.ask(CALL, 0, MAX_WAIT).is_none());
        let answers = events.oom("c1");
        assert_eq!(answers.len(), 1);
        assert_eq!(read(&answers[0].1), (vec![1], false));
        let late = events.ask(CALL, 0, MAX_WAIT).expect("at once");
        assert_eq!(read(&late), (vec![1], false));
        assert_eq!(events.deadline(), None);
    }

    #[test]
    fn only_the_newest_are_kept_and_the_gap_is_told() {
        let mut events = Events::default();
        for _ in 0..300 {
            events.oom("c");
        }
        let (seen, lost) = read(&events.ask(CALL, 10, Duration::ZERO).expect("now"));
        assert_eq!(
            (seen.len(), seen.first().copied(), lost),
            (256, Some(45), true)
        );
        let (_, lost) = read(&events.ask(CALL, 100, Duration::ZERO).expect("now"));
        assert!(!lost);
    }
}
