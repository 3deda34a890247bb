//! What comes from the peer, every byte of it hostile.

use super::parse::{self, Header, Item, Parser};
use super::stream::Stream;
use super::{ABORT, CREDIT, FIN, HELLO, OPEN, RESET};
use super::{Event, MAX_CONTROL, MAX_STREAMS, Mux, NONCE_BYTES, VERSION};

impl Mux {
    /// Takes bytes from the peer, cut anywhere.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        while !self.failed {
            match self.parser.next(&mut bytes) {
                Ok(Some(item)) => {
                    if let Err(reason) = self.item(item) {
                        self.fail(reason);
                    }
                }
                Ok(None) => return,
                Err(reason) => self.fail(reason),
            }
        }
    }

    fn fail(&mut self, reason: &'static str) {
        self.forget();
        self.events.push_back(Event::Failed(reason));
        if self.is_host {
            self.failed = true;
        } else {
            self.parser = Parser::hunting(RESET, None);
        }
    }

    fn item(&mut self, item: Item) -> Result<(), &'static str> {
        match item {
            Item::Link { version, nonce } => self.link_opened(version, nonce),
            Item::DataBegins { id, length } => self.data_begins(id, length),
            Item::Data { id, piece } => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.received(piece);
                    self.tell_readable(id);
                }
                Ok(())
            }
            Item::Frame { header, payload } => self.frame(header, &payload),
        }
    }

    fn link_opened(&mut self, version: u32, nonce: [u8; NONCE_BYTES]) -> Result<(), &'static str> {
        self.forget();
        if !self.is_host {
            // A host of another version learns so from the answer.
            parse::put_link(&mut self.control, HELLO, nonce);
        }
        if version != VERSION {
            return if self.is_host {
                Err("the guest's agent speaks another version of the link")
            } else {
                self.parser = Parser::hunting(RESET, None);
                Ok(())
            };
        }
        self.ready = true;
        self.events.push_back(Event::Ready);
        Ok(())
    }

    fn frame(&mut self, header: Header, payload: &[u8]) -> Result<(), &'static str> {
        let Header { id, kind, .. } = header;
        match kind {
            RESET if !self.is_host => {
                let (version, nonce) = parse::link(payload).ok_or("a RESET of a wrong length")?;
                self.link_opened(version, nonce)
            }
            OPEN => self.opened(id, payload),
            CREDIT => self.credit(id, payload),
            FIN => self.finished(id),
            ABORT => {
                self.check_known(id)?;
                if self.streams.remove(&id).is_some() {
                    let reason = String::from_utf8_lossy(payload).into_owned();
                    self.events.push_back(Event::Aborted { id, reason });
                }
                Ok(())
            }
            _ => Err("a frame that this side does not take"),
        }
    }

    fn opened(&mut self, id: u32, payload: &[u8]) -> Result<(), &'static str> {
        let is_hosts = id % 2 == 1;
        if is_hosts == self.is_host || id <= self.peer_id {
            return Err("an OPEN with an id that is not the peer's to give");
        }
        self.peer_id = id;
        let (credit, name) = parse::open(payload).ok_or("an OPEN without a credit")?;
        let Ok(name) = std::str::from_utf8(name) else {
            return self.refused(id, "the name is not UTF-8");
        };
        if self.streams.len() >= MAX_STREAMS {
            return self.refused(id, "too many streams");
        }
        let mut stream = Stream::new(self.takes_wide(), credit);
        stream.grant_window();
        self.streams.insert(id, stream);
        self.take_turn(id);
        let name = name.to_owned();
        self.events.push_back(Event::Opened { id, name });
        Ok(())
    }

    fn refused(&mut self, id: u32, reason: &str) -> Result<(), &'static str> {
        self.refuse(id, reason);
        if self.control.len() > MAX_CONTROL {
            return Err("the peer asks and does not read the answers");
        }
        Ok(())
    }

    /// Does not fail by itself: the user's own aborts are bounded by the streams there are.
    pub(super) fn refuse(&mut self, id: u32, reason: &str) {
        parse::put_abort(&mut self.control, id, reason);
    }

    fn credit(&mut self, id: u32, payload: &[u8]) -> Result<(), &'static str> {
        self.check_known(id)?;
        let count = parse::number(payload).ok_or("a CREDIT of a wrong length")?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.add_credit(count) {
            if stream.take_answer() {
                self.events.push_back(Event::Writable(id));
            }
            self.take_turn(id);
            return Ok(());
        }
        self.broken(id, "more credit than there can be")
    }

    fn data_begins(&mut self, id: u32, length: usize) -> Result<(), &'static str> {
        self.check_known(id)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.expect(length) {
            return Ok(());
        }
        self.broken(id, "more data than there was credit for")
    }

    fn finished(&mut self, id: u32) -> Result<(), &'static str> {
        self.check_known(id)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.peer_finished();
            self.tell_readable(id);
            if self.streams.get(&id).is_some_and(Stream::is_over) {
                self.streams.remove(&id);
            }
        }
        Ok(())
    }

    /// Frames of a stream that was aborted here may still be on their way; one that never was is a lie.
    fn check_known(&self, id: u32) -> Result<(), &'static str> {
        let own = (id % 2 == 1) == self.is_host;
        let known = if own {
            id < self.next_id
        } else {
            id <= self.peer_id
        };
        if known && id != 0 {
            Ok(())
        } else {
            Err("a frame of a stream that never was")
        }
    }

    /// The peer broke the rules of one stream; the link goes on.
    fn broken(&mut self, id: u32, reason: &str) -> Result<(), &'static str> {
        self.streams.remove(&id);
        let reason_told = reason.to_owned();
        self.events.push_back(Event::Aborted {
            id,
            reason: reason_told,
        });
        self.refused(id, reason)
    }

    fn tell_readable(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.told
        {
            stream.told = true;
            self.events.push_back(Event::Readable(id));
        }
    }
}
