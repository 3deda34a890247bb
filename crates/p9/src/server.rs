//! Workers that share one epoll set: whoever is free takes the next request, reads it, does it and answers
//! it, with no hand-over. One that waits for a disk holds up nobody while another is free.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use crate::connection::{Connection, Scratch};
use crate::epoll::{Epoll, READ};
use crate::session::{Export, Session};
use crate::sync::lock;

pub const MAX_CONNECTIONS: usize = 64;
const LISTENER: u64 = 0;
const STACK_BYTES: usize = 256 * 1024;

pub struct Server {
    epoll: Epoll,
    listener: UnixListener,
    export: Arc<Export>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_token: AtomicU64,
}

impl Server {
    pub fn new(listener: UnixListener, export: Export) -> io::Result<Server> {
        let epoll = Epoll::new()?;
        listener.set_nonblocking(true)?;
        epoll.add(listener.as_raw_fd(), READ, LISTENER)?;
        Ok(Server {
            epoll,
            listener,
            export: Arc::new(export),
            connections: Mutex::default(),
            next_token: AtomicU64::new(LISTENER + 1),
        })
    }

    /// Serves with that many workers for ever. `confine` is called once they are all there, before the
    /// first of them looks at a client.
    pub fn run(
        self: &Arc<Self>,
        workers: usize,
        confine: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let ready = Arc::new(Barrier::new(workers));
        for _ in 1..workers {
            let (server, ready) = (Arc::clone(self), Arc::clone(&ready));
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    // Once to say that the thread has started, which takes more calls than are left
                    // later, and once to be let go.
                    ready.wait();
                    ready.wait();
                    let error = server.work();
                    eprintln!("trine-p9: a worker ended: {error}");
                    std::process::exit(1);
                })?;
        }
        ready.wait();
        confine()?;
        ready.wait();
        Err(self.work())
    }

    fn work(&self) -> io::Error {
        let mut scratch = Scratch::default();
        loop {
            match self.epoll.wait() {
                Ok(LISTENER) => {
                    self.accept();
                    self.epoll.arm(self.listener.as_raw_fd(), READ, LISTENER);
                }
                Ok(token) => self.serve(token, &mut scratch),
                Err(error) => return error,
            }
        }
    }

    fn serve(&self, token: u64, scratch: &mut Scratch) {
        let connection = lock(&self.connections).get(&token).cloned();
        let Some(connection) = connection else {
            return;
        };
        if connection.serve(&self.epoll, scratch).is_err() {
            lock(&self.connections).remove(&token);
            connection.close(&self.epoll);
        }
    }

    /// One too many is closed at once. A failure of accept is the client's loss: it was not there any more.
    fn accept(&self) {
        let Ok((socket, _)) = self.listener.accept() else {
            return;
        };
        let mut connections = lock(&self.connections);
        if connections.len() >= MAX_CONNECTIONS {
            eprintln!("trine-p9: a client more than the {MAX_CONNECTIONS} allowed was refused");
            return;
        }
        if let Err(error) = self.enter(socket, &mut connections) {
            eprintln!("trine-p9: a client was lost: {error}");
        }
    }

    fn enter(
        &self,
        socket: UnixStream,
        connections: &mut HashMap<u64, Arc<Connection>>,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(Arc::clone(&self.export));
        let connection = Arc::new(Connection::new(socket, token, session));
        connections.insert(token, Arc::clone(&connection));
        connection.watch(&self.epoll).inspect_err(|_| {
            connections.remove(&token);
        })
    }
}
