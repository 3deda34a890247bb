//! A client's bytes: whole requests out of a stream, answers back into it. Any worker may read the next
//! request while others are still at work on earlier ones; answers go out as they come.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};

use crate::epoll::{Epoll, READ, WRITE};
use crate::session::{Broken, Session};
use crate::sync::lock;
use crate::wire::{HEADER, Reader, Reply};

const T_FLUSH: u8 = 108;
/// Of these all but a few, the workers', are Tflush requests that wait.
const MAX_AT_WORK: usize = 1024;

/// A worker's own buffers, used again for every request.
#[derive(Default)]
pub struct Scratch {
    request: Vec<u8>,
    reply: Vec<u8>,
}

pub struct Connection {
    socket: UnixStream,
    token: u64,
    session: Session,
    input: Mutex<Input>,
    output: Mutex<Output>,
    /// Requests at work, with the Tflush requests that wait for them.
    at_work: Mutex<HashMap<u16, Vec<u16>>>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    filled: usize,
}

/// What the client has not taken yet. While there is something, no request is read.
#[derive(Default)]
struct Output {
    pending: Vec<u8>,
    sent: usize,
}

enum Next {
    Request,
    Nothing,
}

impl Connection {
    pub fn new(socket: UnixStream, token: u64, session: Session) -> Connection {
        Connection {
            socket,
            token,
            session,
            input: Mutex::default(),
            output: Mutex::default(),
            at_work: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub fn watch(&self, epoll: &Epoll) -> std::io::Result<()> {
        epoll.add(self.socket.as_raw_fd(), READ, self.token)
    }

    /// No event of it arrives any more; workers in the middle of something finish it.
    pub fn close(&self, epoll: &Epoll) {
        let _armed = lock(&self.output);
        self.closed.store(true, Ordering::Relaxed);
        epoll.remove(self.socket.as_raw_fd());
        // Gone already is as good.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Does what an event calls for: at most one request.
    pub fn serve(&self, epoll: &Epoll, scratch: &mut Scratch) -> Result<(), Broken> {
        if !self.send_pending(epoll)? {
            return Ok(());
        }
        let next = match self.input.try_lock() {
            Ok(mut input) => self.receive(&mut input, &mut scratch.request)?,
            // Another worker is reading, and arms the socket when it has read.
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Poisoned(_)) => return Err(Broken),
        };
        self.arm(epoll, &lock(&self.output));
        match next {
            Next::Request => self.work(epoll, scratch),
            Next::Nothing => Ok(()),
        }
    }

    /// Reads as much of one request as there is; a whole one is swapped into `request`.
    fn receive(&self, input: &mut Input, request: &mut Vec<u8>) -> Result<Next, Broken> {
        loop {
            let wanted = self.wanted(input)?;
            if input.filled == wanted {
                self.begin(&input.buffer)?;
                std::mem::swap(&mut input.buffer, request);
                request.truncate(wanted);
                input.filled = 0;
                return Ok(Next::Request);
            }
            if input.buffer.len() < wanted {
                input.buffer.resize(wanted, 0);
            }
            let room = input.buffer.get_mut(input.filled..wanted).ok_or(Broken)?;
            match (&self.socket).read(room) {
                Ok(0) => return Err(Broken),
                Ok(count) => input.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken),
            }
        }
    }

    /// How long the request under way is, as far as one can tell.
    fn wanted(&self, input: &Input) -> Result<usize, Broken> {
        if input.filled < HEADER {
            return Ok(HEADER);
        }
        let size = Reader::new(&input.buffer).u32().map_err(|_| Broken)? as usize;
        if size < HEADER || size > self.session.request_limit() {
            return Err(Broken);
        }
        Ok(size)
    }

    /// Notes the tag before the next request can be read: it may be the Tflush of this one.
    fn begin(&self, request: &[u8]) -> Result<(), Broken> {
        let (_, tag) = kind_and_tag(request)?;
        let mut at_work = lock(&self.at_work);
        if at_work.len() >= MAX_AT_WORK || at_work.insert(tag, Vec::new()).is_some() {
            return Err(Broken);
        }
        Ok(())
    }

    fn work(&self, epoll: &Epoll, scratch: &mut Scratch) -> Result<(), Broken> {
        let request = &scratch.request;
        let (kind, tag) = kind_and_tag(request)?;
        let body = request.get(HEADER..).unwrap_or_default();
        let reply = &mut scratch.reply;
        if kind == T_FLUSH {
            let old = Reader::new(body).u16().map_err(|_| Broken)?;
            let mut at_work = lock(&self.at_work);
            if old != tag
                && let Some(waiting) = at_work.get_mut(&old)
            {
                waiting.push(tag);
                return Ok(());
            }
            drop(at_work);
            Reply::new(reply).finish(T_FLUSH + 1, tag);
        } else {
            self.session.answer(kind, tag, body, reply)?;
        }
        self.send(epoll, tag, reply)
    }

    /// Frees the tag and those of the Tflush requests that waited for it, whose answers follow.
    fn finish(&self, tag: u16, reply: &mut Vec<u8>) {
        let mut at_work = lock(&self.at_work);
        let mut done = at_work.remove(&tag).unwrap_or_default();
        while let Some(flush) = done.pop() {
            done.extend(at_work.remove(&flush).unwrap_or_default());
            let mut answer = Vec::new();
            Reply::new(&mut answer).finish(T_FLUSH + 1, flush);
            reply.extend_from_slice(&answer);
        }
    }

    /// The tag is freed under the output's lock: before the client can use it again, and not before what a
    /// Tflush that finds it free has to come after.
    fn send(&self, epoll: &Epoll, tag: u16, reply: &mut Vec<u8>) -> Result<(), Broken> {
        let mut output = lock(&self.output);
        self.finish(tag, reply);
        if output.pending.is_empty() {
            let sent = self.push(reply)?;
            let rest = reply.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            output.pending.extend_from_slice(rest);
            self.arm(epoll, &output);
        } else {
            output.pending.extend_from_slice(reply);
        }
        Ok(())
    }

    /// Whether the client has taken all of it.
    fn send_pending(&self, epoll: &Epoll) -> Result<bool, Broken> {
        let mut output = lock(&self.output);
        if output.pending.is_empty() {
            return Ok(true);
        }
        let sent = self.push(output.pending.get(output.sent..).unwrap_or_default())?;
        output.sent += sent;
        if output.sent < output.pending.len() {
            self.arm(epoll, &output);
            return Ok(false);
        }
        *output = Output::default();
        Ok(true)
    }

    /// Sends what the socket takes without waiting.
    fn push(&self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match (&self.socket).write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken),
            }
        }
        Ok(sent)
    }

    /// Under the output's lock, so that whoever arms last knows what there is to wait for.
    fn arm(&self, epoll: &Epoll, output: &Output) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let interest = if output.pending.is_empty() {
            READ
        } else {
            WRITE
        };
        epoll.arm(self.socket.as_raw_fd(), interest, self.token);
    }
}

fn kind_and_tag(request: &[u8]) -> Result<(u8, u16), Broken> {
    let mut header = Reader::new(request.get(4..).unwrap_or_default());
    let kind = header.u8().map_err(|_| Broken)?;
    let tag = header.u16().map_err(|_| Broken)?;
    Ok((kind, tag))
}
