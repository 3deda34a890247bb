//! What happened in the pod, for trined: kept until it says that it has read it.

use std::collections::VecDeque;

use trine_wire::Message;
use trine_wire::shim::event::What;
use trine_wire::shim::{Event, EventsResponse};

const MAX_NOTES: usize = 1024;
/// Bytes of one answer; the next call gives the rest. Any single note is shorter.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Default)]
pub struct Notes {
    kept: VecDeque<Event>,
    last: u64,
    /// The newest one that had to go unread.
    lost: u64,
}

impl Notes {
    pub fn push(&mut self, what: What) {
        self.last += 1;
        if self.kept.len() >= MAX_NOTES
            && let Some(oldest) = self.kept.pop_front()
        {
            self.lost = oldest.seq;
        }
        self.kept.push_back(Event {
            seq: self.last,
            what: Some(what),
        });
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// Forgets what is up to `after`; `None` while there is nothing newer.
    pub fn after(&mut self, after: u64) -> Option<EventsResponse> {
        while self.kept.front().is_some_and(|event| event.seq <= after) {
            self.kept.pop_front();
        }
        let mut room = MAX_ANSWER;
        let fitting = |event: &&Event| {
            let length = event.encoded_len();
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        };
        (!self.kept.is_empty()).then(|| EventsResponse {
            events: self.kept.iter().take_while(fitting).cloned().collect(),
            lost: self.lost > after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_wire::shim::TaskRemoved;

    fn removed(id: &str) -> What {
        What::TaskRemoved(TaskRemoved { id: id.into() })
    }

    #[test]
    fn unread_notes_are_given_again_and_read_ones_are_gone() {
        let mut notes = Notes::default();
        assert_eq!(notes.after(0), None);
        notes.push(removed("a"));
        notes.push(removed("b"));
        for _ in 0..2 {
            assert_eq!(notes.after(0).expect("two").events.len(), 2);
        }
        let rest = notes.after(1).expect("one");
        assert_eq!(rest.events.first().map(|e| e.seq), Some(2));
        assert_eq!(notes.after(2), None);
    }

    #[test]
    fn what_does_not_fit_into_one_answer_comes_with_the_next() {
        let mut notes = Notes::default();
        for _ in 0..MAX_NOTES {
            notes.push(removed(&"x".repeat(8192)));
        }
        let (mut seen, mut answers) = (0, 0);
        while let Some(response) = notes.after(seen) {
            assert!(response.encoded_len() < MAX_ANSWER * 2);
            assert_eq!(response.events.first().map(|e| e.seq), Some(seen + 1));
            seen += response.events.len() as u64;
            answers += 1;
        }
        assert_eq!((seen, answers), (MAX_NOTES as u64, 9));
    }

    #[test]
    fn overflow_is_told_once_per_reader_that_missed_something() {
        let mut notes = Notes::default();
        for _ in 0..MAX_NOTES + 5 {
            notes.push(removed("x"));
        }
        let late = notes.after(2).expect("events");
        assert!(late.lost);
        assert_eq!(late.events.len(), MAX_NOTES);
        assert!(!notes.after(5).expect("events").lost);
    }
}
