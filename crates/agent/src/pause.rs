//! How long to leave alone what does not succeed: a second at first, then twice as long each time.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// What has lasted so long has ended for another reason than the one before.
const SOUND: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Pause {
    last: Option<Duration>,
    until: Option<Instant>,
    /// When it was last seen to succeed.
    since: Option<Instant>,
}

impl Pause {
    /// It has succeeded, for now.
    pub fn succeeded(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It has not, or does not any more.
    pub fn begin(&mut self, now: Instant) {
        let since = self.since.take();
        let was_sound = since.is_some_and(|since| now.duration_since(since) >= SOUND);
        let pause = match self.last.filter(|_| !was_sound) {
            Some(last) => (2 * last).min(LONGEST),
            None => FIRST,
        };
        self.last = Some(pause);
        self.until = Some(now + pause);
    }

    /// True once when it is over.
    pub fn ends(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Nobody waits for it any more.
    pub fn cancel(&mut self) {
        self.until = None;
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(pause: &mut Pause, now: Instant, count: usize) -> Vec<u64> {
        let length = |_| {
            pause.begin(now);
            let until = pause.deadline().expect("it has begun");
            assert!(!pause.ends(now) && pause.ends(until) && !pause.ends(until));
            until.duration_since(now).as_secs()
        };
        (0..count).map(length).collect()
    }

    #[test]
    fn it_grows_until_something_has_lasted() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        assert_eq!(lengths(&mut pause, now, 7), [1, 2, 4, 8, 16, 30, 30]);
        pause.succeeded(now);
        assert_eq!(lengths(&mut pause, now + Duration::from_secs(59), 1), [30]);
        pause.succeeded(now);
        pause.succeeded(now + Duration::from_secs(59));
        assert_eq!(lengths(&mut pause, now + SOUND, 2), [1, 2]);
    }

    #[test]
    fn a_pause_that_nobody_waits_for_does_not_end() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        pause.begin(now);
        pause.cancel();
        assert!(!pause.ends(now + LONGEST) && pause.deadline().is_none());
    }
}
