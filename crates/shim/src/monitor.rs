//! A QMP monitor of the shim's own: it says why a machine ended, when nobody else may be there to hear it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use trine_wire::shim::MonitorNote;

use crate::json::Value;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, Watch};

/// Longer lines are none of ours and are passed over.
const MAX_LINE: usize = 64 << 10;
const MAX_REASON: usize = 64;
/// Reads in one turn of the loop. More than a socket holds: the last words of a dead VMM fit into one,
/// and a VMM that never stops talking does not keep the shim from everything else.
const TURN: usize = 16;
const NEGOTIATE: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\r\n";
pub const PANIC_REASON: &str = "guest-panic";
/// A program in the guest has opened the guest link's port, or closed it: notes for the shim alone.
pub const LINK_OPENED: &str = "LINK_OPENED";
pub const LINK_CLOSED: &str = "LINK_CLOSED";
const LINK_PORT: &str = "guest-link0";

pub struct Monitor {
    stream: Option<UnixStream>,
    watch: Watch,
    lines: Lines,
}

impl Monitor {
    pub fn new(stream: UnixStream, token: Token) -> Monitor {
        Monitor {
            stream: Some(stream),
            watch: Watch::new(token),
            lines: Lines::default(),
        }
    }

    /// Reads what is there, within bounds; answers what is worth a note.
    pub fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) -> Vec<MonitorNote> {
        let mut notes = Vec::new();
        for _ in 0..TURN {
            let Some(stream) = &mut self.stream else {
                break;
            };
            self.watch.set(reactor, stream, READ);
            match stream.read(scratch) {
                Ok(count) if count > 0 => {
                    for line in self.lines.push(scratch.get(..count).unwrap_or_default()) {
                        match understand(&line) {
                            // The socket is empty at that time: the few bytes always fit.
                            Heard::Greeting => drop(stream.write(NEGOTIATE)),
                            Heard::Note(note) => notes.push(note),
                            Heard::Nothing => {}
                        }
                    }
                }
                Err(error) if is_not_now(&error) => break,
                _ => self.stream = None,
            }
        }
        notes
    }
}

enum Heard {
    Greeting,
    Note(MonitorNote),
    Nothing,
}

fn understand(line: &[u8]) -> Heard {
    let Some(value) = Value::parse(line) else {
        return Heard::Nothing;
    };
    if value.get("QMP").is_some() {
        return Heard::Greeting;
    }
    let event = value.get("event").and_then(Value::text).unwrap_or_default();
    let datum = |key| value.get("data").and_then(|d| d.get(key));
    let text = |key| datum(key).and_then(Value::text).unwrap_or_default();
    let (event, reason) = match event {
        "SHUTDOWN" | "RESET" => (event, text("reason")),
        "GUEST_PANICKED" => (event, PANIC_REASON),
        "VSERPORT_CHANGE" if text("id") == LINK_PORT => match datum("open") {
            Some(Value::Bool(true)) => (LINK_OPENED, ""),
            Some(Value::Bool(false)) => (LINK_CLOSED, ""),
            _ => return Heard::Nothing,
        },
        _ => return Heard::Nothing,
    };
    // QEMU has a closed list of short ones.
    if reason.len() > MAX_REASON {
        return Heard::Nothing;
    }
    Heard::Note(MonitorNote {
        key: String::new(),
        event: event.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Cuts a stream into lines of at most MAX_LINE bytes; longer ones are left out.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    skipping: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if self.line.len() + text.len() > MAX_LINE {
                self.skipping = true;
                self.line = Vec::new();
            }
            if !self.skipping {
                self.line.extend_from_slice(text);
            }
            if ends {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.skipping) {
                    whole.push(line);
                }
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_cuts() {
        let mut lines = Lines::default();
        assert!(lines.push(b"ab").is_empty());
        assert_eq!(lines.push(b"c\r\nd\ne"), [b"abc\r".to_vec(), b"d".to_vec()]);
        assert_eq!(lines.push(b"\n"), [b"e".to_vec()]);
    }

    #[test]
    fn an_endless_line_costs_no_memory_and_only_itself() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(lines.push(&[b'x'; 10_000]).is_empty());
            assert!(lines.line.len() <= MAX_LINE);
        }
        assert_eq!(lines.push(b"\nnext\n"), [b"next".to_vec()]);
    }

    #[test]
    fn a_monitor_that_never_stops_does_not_hold_up_the_loop() {
        let reactor = Reactor::new().expect("epoll");
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let mut monitor = Monitor::new(ours, Token::Channel(1));
        let talker = std::thread::spawn(move || while theirs.write(&[b'x'; 4096]).is_ok() {});
        for _ in 0..3 {
            assert_eq!(monitor.pump(&reactor, &mut [0; 1024]), []);
        }
        drop(monitor);
        talker.join().expect("its other end is gone");
    }

    #[test]
    fn a_reason_that_is_an_essay_is_none() {
        let text = format!(
            r#"{{"event":"RESET","data":{{"reason":"{}"}}}}"#,
            "x".repeat(1000)
        );
        assert!(matches!(understand(text.as_bytes()), Heard::Nothing));
    }

    #[test]
    fn hears_greeting_shutdown_and_panic() {
        assert!(matches!(
            understand(br#"{"QMP": {"version": {}}}"#),
            Heard::Greeting
        ));
        let shutdown = br#"{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#;
        let Heard::Note(note) = understand(shutdown) else {
            panic!("no note");
        };
        assert_eq!(
            (note.event.as_str(), note.reason.as_str()),
            ("SHUTDOWN", "guest-shutdown")
        );
        let panicked = br#"{"event":"GUEST_PANICKED","data":{"action":"poweroff"}}"#;
        let Heard::Note(note) = understand(panicked) else {
            panic!("no note");
        };
        assert_eq!(note.reason, PANIC_REASON);
        let port = |open| {
            let text = format!(
                r#"{{"event":"VSERPORT_CHANGE","data":{{"open":{open},"id":"guest-link0"}}}}"#
            );
            match understand(text.as_bytes()) {
                Heard::Note(note) => note.event,
                _ => String::new(),
            }
        };
        assert_eq!(
            [port("true"), port("false"), port("2")],
            [LINK_OPENED, LINK_CLOSED, ""]
        );
        for other in [
            b"{\"return\":{}}".as_slice(),
            br#"{"event":"VSERPORT_CHANGE","data":{"open":true,"id":"guest-agent0"}}"#,
            b"",
            b"{\"event\":1}",
            b"nonsense",
        ] {
            assert!(matches!(understand(other), Heard::Nothing));
        }
    }
}
