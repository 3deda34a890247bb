//! One process of a container as the agent keeps it, from its fork until it is removed.

use std::os::fd::{AsFd, OwnedFd};

use trine_wire::Timestamp;
use trine_wire::agent::Exit;
use trine_wire::agent::process_state::State;

use crate::answer::Call;
use crate::container::spawn::Child;
use crate::reactor::{READ, Reactor, Token, Watched};

pub struct Process {
    pub container: String,
    /// Empty = the container's own.
    pub exec: String,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub stage: Stage,
    pub terminal: bool,
    pub wants_stdin: bool,
    pub report: Option<Watched>,
    pub stdin: Option<Watched>,
    pub stdout: Option<Watched>,
    pub stderr: Option<Watched>,
    pub streams: Streams,
    /// What the container's group counted when this process was started.
    pub oom_kills: u64,
}

/// The mux streams joined to it now.
#[derive(Default)]
pub struct Streams {
    pub stdin: Option<u32>,
    pub stdout: Option<u32>,
    pub stderr: Option<u32>,
    pub exits: Vec<u32>,
}

pub enum Stage {
    /// The child prepares itself; who asked for it waits.
    Preparing(Call),
    Created,
    Starting(Call),
    Running,
    Ended(Exit),
}

impl Process {
    pub fn new(
        number: u32,
        call: Call,
        name: (&str, &str),
        child: Child,
        reactor: &Reactor,
    ) -> Self {
        let mut report = Watched::new(child.report, Token::Report(number));
        report.set(reactor, READ);
        Process {
            container: name.0.to_owned(),
            exec: name.1.to_owned(),
            pid: child.pid,
            pidfd: child.pidfd,
            stage: Stage::Preparing(call),
            terminal: child.stdout.is_none(),
            wants_stdin: false,
            report: Some(report),
            stdin: child.stdin.map(|fd| Watched::new(fd, Token::Stdin(number))),
            stdout: child
                .stdout
                .map(|fd| Watched::new(fd, Token::Stdout(number))),
            stderr: child
                .stderr
                .map(|fd| Watched::new(fd, Token::Stderr(number))),
            streams: Streams::default(),
            oom_kills: 0,
        }
    }

    /// The agent's end of the process's terminal: input and output are one.
    pub fn take_terminal(&mut self, number: u32, master: OwnedFd) -> std::io::Result<()> {
        crate::sys::set_nonblocking(&master)?;
        if self.wants_stdin {
            let input = master.as_fd().try_clone_to_owned()?;
            self.stdin = Some(Watched::new(input, Token::Stdin(number)));
        }
        self.stdout = Some(Watched::new(master, Token::Stdout(number)));
        Ok(())
    }

    /// Nothing moves until a stream asks for it.
    pub fn unwatch(&mut self, reactor: &Reactor) {
        let all = [&mut self.stdin, &mut self.stdout, &mut self.stderr];
        for fd in all.into_iter().flatten() {
            fd.set(reactor, 0);
        }
    }

    pub fn is_init(&self) -> bool {
        self.exec.is_empty()
    }

    pub fn exit(&self) -> Option<&Exit> {
        match &self.stage {
            Stage::Ended(exit) => Some(exit),
            _ => None,
        }
    }

    pub fn state(&self) -> State {
        match self.stage {
            Stage::Preparing(_) | Stage::Created => State::Created,
            Stage::Starting(_) | Stage::Running => State::Running,
            Stage::Ended(_) => State::Ended,
        }
    }
}

pub fn now() -> Timestamp {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.subsec_nanos()).unwrap_or(0),
    }
}
