//! Clients of a console's attach socket: the newest output, then live both ways.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::{Console, PIECE};
use crate::channels::Kind;
use crate::host::sys::listen_at;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, WRITE, Watch};
use crate::shim::Shim;

/// What an attaching client is shown of the past, and how far it may fall behind.
const ATTACH_PAST: u64 = 64 << 10;
const ATTACH_LAG: u64 = 1 << 20;
const MAX_ATTACHED: usize = 16;

pub struct Attach {
    listener: UnixListener,
    watch: Watch,
    path: PathBuf,
}

impl Drop for Attach {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub struct AttachClient {
    channel: u32,
    stream: UnixStream,
    watch: Watch,
    cursor: u64,
}

impl Console {
    pub fn listen(&mut self, path: &Path, token: Token, reactor: &Reactor) -> io::Result<()> {
        let listener = listen_at(path, 0o600)?;
        listener.set_nonblocking(true)?;
        let mut attach = Attach {
            listener,
            watch: Watch::new(token),
            path: path.to_owned(),
        };
        attach.watch.set(reactor, &attach.listener, READ);
        self.attach = Some(attach);
        Ok(())
    }

    pub fn close_attach(&mut self) {
        self.attach = None;
    }
}

impl Shim {
    pub fn accept_attach(&mut self, channel: u32) {
        let Some(Kind::Console(console)) = self.channels.get_mut(&channel).map(|c| &mut c.kind)
        else {
            return;
        };
        let Some(attach) = &mut console.attach else {
            return;
        };
        let (end, oldest) = (console.spool.end(), console.spool.oldest());
        let stream = match attach.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_not_now(&error) => return,
            Err(_) => {
                attach.watch.set(&self.reactor, &attach.listener, 0);
                return self.accept_soon();
            }
        };
        let attached = self
            .attach_clients
            .values()
            .filter(|c| c.channel == channel)
            .count();
        if attached >= MAX_ATTACHED || stream.set_nonblocking(true).is_err() {
            return;
        }
        let number = self.number();
        let client = AttachClient {
            channel,
            stream,
            watch: Watch::new(Token::AttachClient(number)),
            cursor: end.saturating_sub(ATTACH_PAST).max(oldest),
        };
        self.attach_clients.insert(number, client);
        self.channel_ready(channel);
    }

    pub fn watch_attach_listeners(&mut self) {
        for channel in self.channels.values_mut() {
            if let Kind::Console(console) = &mut channel.kind
                && let Some(attach) = &mut console.attach
            {
                attach.watch.set(&self.reactor, &attach.listener, READ);
            }
        }
    }

    /// What a client types goes to the guest, as long as the guest takes it.
    pub fn attach_ready(&mut self, number: u32) {
        let Some(client) = self.attach_clients.get_mut(&number) else {
            return;
        };
        let channel = client.channel;
        let Some(Kind::Console(console)) = self.channels.get_mut(&channel).map(|c| &mut c.kind)
        else {
            self.attach_clients.remove(&number);
            return;
        };
        let room = console.input_room().min(PIECE);
        let part = self.scratch.get_mut(..room).unwrap_or_default();
        if !part.is_empty() {
            match client.stream.read(part) {
                Ok(count) if count > 0 => {
                    console.input.extend(part.get(..count).unwrap_or_default())
                }
                Err(error) if is_not_now(&error) => {}
                _ => drop(self.attach_clients.remove(&number)),
            }
        }
        self.channel_ready(channel);
    }

    pub(super) fn feed_clients(&mut self, channel: u32, console: &mut Console, scratch: &mut [u8]) {
        let room = console.input_room() > 0;
        let reactor = &self.reactor;
        self.attach_clients.retain(|_, client| {
            client.channel != channel || client.feed(console, scratch, room, reactor)
        });
    }
}

impl AttachClient {
    /// False: the client is gone, too far behind, or has seen the end.
    fn feed(
        &mut self,
        console: &Console,
        scratch: &mut [u8],
        room: bool,
        reactor: &Reactor,
    ) -> bool {
        let end = console.spool.end();
        let mut blocked = false;
        while self.cursor < end && !blocked {
            let lags = end - self.cursor > ATTACH_LAG || self.cursor < console.spool.oldest();
            let Some(count) = console
                .spool
                .read(self.cursor, scratch)
                .ok()
                .filter(|_| !lags)
            else {
                return false;
            };
            let bytes = scratch.get(..count).unwrap_or_default();
            match self.stream.write(bytes) {
                Ok(written) if written > 0 => self.cursor += written as u64,
                Err(error) if is_not_now(&error) => blocked = true,
                _ => return false,
            }
        }
        let read = if room { READ } else { 0 };
        let write = if blocked { WRITE } else { 0 };
        self.watch.set(reactor, &self.stream, read | write);
        console.stream.is_some() || blocked
    }
}
