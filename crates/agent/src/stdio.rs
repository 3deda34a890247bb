//! Bytes between a process's pipes or terminal and its streams. Nothing is kept here: what a stream has no room for
//! stays in the pipe, and a process that writes more waits.

use std::io;

use crate::agent::Agent;
use crate::reactor::{READ, WRITE};
use crate::sys::{is_not_now, read, write};

const PIECE: usize = 32 << 10;
/// Pieces in a row before the rest of the agent has its turn.
const MAX_PIECES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// Moves what a process has written.
pub fn drain(agent: &mut Agent, number: u32, output: Output) {
    let Some(process) = agent.processes.get_mut(&number) else {
        return;
    };
    let (fd, stream) = match output {
        Output::Stdout => (&mut process.stdout, &mut process.streams.stdout),
        Output::Stderr => (&mut process.stderr, &mut process.streams.stderr),
    };
    let Some(id) = *stream else {
        if let Some(fd) = fd {
            fd.set(&agent.reactor, 0);
        }
        return;
    };
    let mux = &mut agent.link.mux;
    let mut ended = fd.is_none() && !matches!(process.stage, crate::process::Stage::Preparing(_));
    let mut buffer = [0_u8; PIECE];
    for _ in 0..MAX_PIECES {
        let Some(source) = fd else { break };
        let room = mux.room(id).min(PIECE);
        if room == 0 {
            // Asks to be told when there is room.
            mux.send(id, &[0]);
            source.set(&agent.reactor, 0);
            return;
        }
        match read(source, buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) => ended = true,
            Ok(count) => {
                mux.send(id, buffer.get(..count).unwrap_or_default());
                continue;
            }
            Err(error) if is_not_now(&error) => break,
            // A terminal that nobody has open any more says EIO.
            Err(_) => ended = true,
        }
        break;
    }
    if ended {
        *fd = None;
        *stream = None;
        mux.fin(id);
        agent.roles.remove(&id);
        // The host has nothing to say on this stream.
        agent.link.mux.consume(id, usize::MAX);
    } else if let Some(source) = fd {
        source.set(&agent.reactor, READ);
    }
}

/// Moves what the host has sent for a process.
pub fn feed(agent: &mut Agent, number: u32) {
    let Some(process) = agent.processes.get_mut(&number) else {
        return;
    };
    let Some(id) = process.streams.stdin else {
        return;
    };
    let mux = &mut agent.link.mux;
    loop {
        let data = mux.data(id);
        if data.is_empty() {
            break;
        }
        let Some(sink) = &mut process.stdin else {
            // It has no stdin or has closed it: the bytes go where they went with a shell's pipe.
            let count = data.len();
            mux.consume(id, count);
            continue;
        };
        match write(sink, data.get(..PIECE).unwrap_or(data)) {
            Ok(count) => mux.consume(id, count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sink.set(&agent.reactor, WRITE);
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => process.stdin = None,
        }
    }
    if let Some(sink) = &mut process.stdin {
        sink.set(&agent.reactor, 0);
    }
    if mux.at_end(id) {
        // A terminal stays open: its end of input is a character.
        if !process.terminal {
            process.stdin = None;
        }
        process.streams.stdin = None;
        mux.fin(id);
        agent.roles.remove(&id);
    }
}
