//! Short programs run for trined in the pod's network namespace: ip, nft, tc.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use trine_wire::{Message, shim};

use crate::answer::{Code, Failure, failure};
use crate::child_log::set_blocking;
use crate::host::spawn::{SpawnPlan, spawn};
use crate::inbox::write_queue;
use crate::link::is_not_now;
use crate::reactor::{READ, Reactor, Token, WRITE, Watch};
use crate::relay::Relayed;
use crate::server::Call;
use crate::shim::Shim;
use crate::signals::{self, Status};

const MAX_PROGRAMS: usize = 32;
/// Reads in one turn of the loop.
const TURN: usize = 16;
const MAX_OUTPUT: usize = 1 << 20;
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who wants to know how a program ended.
pub enum Purpose {
    Answer(Call),
    /// A dead nested shim's task is cleared; the Create or Delete of it that waits for that.
    CleanNested(Relayed, Option<Call>),
}

pub struct Program {
    purpose: Purpose,
    pub until: Instant,
    name: String,
    pid: i32,
    pidfd: OwnedFd,
    stdin: Option<(File, Watch)>,
    input: VecDeque<u8>,
    stdout: Captured,
    stderr: Captured,
    status: Option<Status>,
}

struct Captured {
    pipe: Option<(File, Watch)>,
    bytes: Vec<u8>,
}

impl Captured {
    fn new(reader: PipeReader, token: Token) -> io::Result<Captured> {
        let pipe = File::from(OwnedFd::from(reader));
        set_blocking(&pipe, false)?;
        Ok(Captured {
            pipe: Some((pipe, Watch::new(token))),
            bytes: Vec::new(),
        })
    }

    /// Beyond the limit the rest is read and dropped. A program that never stops writing is killed in time.
    fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) {
        for _ in 0..TURN {
            let Some((pipe, watch)) = &mut self.pipe else {
                return;
            };
            watch.set(reactor, pipe, READ);
            match pipe.read(scratch) {
                Ok(count) if count > 0 => {
                    let room = MAX_OUTPUT.saturating_sub(self.bytes.len());
                    let part = scratch.get(..count.min(room)).unwrap_or_default();
                    self.bytes.extend_from_slice(part);
                }
                Err(error) if is_not_now(&error) => return,
                _ => self.pipe = None,
            }
        }
    }
}

impl Program {
    fn pump(&mut self, reactor: &Reactor, scratch: &mut [u8]) {
        if let Some((pipe, watch)) = &mut self.stdin {
            if write_queue(&mut self.input, pipe).is_err() || self.input.is_empty() {
                self.stdin = None;
            } else {
                watch.set(reactor, pipe, WRITE);
            }
        }
        self.stdout.pump(reactor, scratch);
        self.stderr.pump(reactor, scratch);
    }

    fn is_done(&self) -> bool {
        self.status.is_some() && self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }
}

fn stdin_of(writer: PipeWriter, token: Token) -> io::Result<(File, Watch)> {
    let pipe = File::from(OwnedFd::from(writer));
    set_blocking(&pipe, false)?;
    Ok((pipe, Watch::new(token)))
}

impl Shim {
    /// The call is answered when the program has ended.
    pub fn run_program(&mut self, call: Call, request: shim::RunRequest) {
        if self.programs.len() >= MAX_PROGRAMS {
            let full = failure(Code::ResourceExhausted, "too many programs run at once");
            return self.reply(call, Err(full));
        }
        self.run_for(Purpose::Answer(call), request, "");
    }

    /// In the directory `dir`; empty = the root.
    pub fn run_for(&mut self, purpose: Purpose, request: shim::RunRequest, dir: &str) {
        let number = self.number();
        match start(number, &request, dir) {
            Ok(started) => {
                let limit = match request.timeout_ms {
                    0 => DEFAULT_LIMIT,
                    ms => Duration::from_millis(u64::from(ms)).min(LONGEST),
                };
                let program = Program {
                    purpose,
                    until: Instant::now() + limit,
                    name: request.argv.first().cloned().unwrap_or_default(),
                    pid: started.pid,
                    pidfd: started.pidfd,
                    stdin: Some(started.stdin),
                    input: request.stdin.into(),
                    stdout: started.stdout,
                    stderr: started.stderr,
                    status: None,
                };
                self.programs.insert(number, program);
                self.program_ready(number, 0);
            }
            Err(failure) => self.program_done(purpose, Err(failure)),
        }
    }

    fn program_done(&mut self, purpose: Purpose, result: Result<shim::RunResponse, Failure>) {
        match purpose {
            Purpose::Answer(call) => self.reply(call, result.map(|r| r.encode_to_vec())),
            Purpose::CleanNested(what, call) => {
                let said = match result {
                    Ok(response) if response.exit_code == 0 => response.stdout,
                    Ok(response) => {
                        let said = String::from_utf8_lossy(&response.stderr).into_owned();
                        self.log.line(&format!("clear a nested task: {said}"));
                        Vec::new()
                    }
                    Err(failure) => {
                        self.log
                            .line(&format!("clear a nested task: {}", failure.0.message));
                        Vec::new()
                    }
                };
                self.nested_cleaned(what, call, &said);
            }
        }
    }

    pub fn program_ready(&mut self, number: u32, _part: u8) {
        let Some(program) = self.programs.get_mut(&number) else {
            return;
        };
        program.pump(&self.reactor, &mut self.scratch);
        if program.is_done() {
            self.finish_program(number);
        }
    }

    pub fn program_ended(&mut self, pid: i32, status: Status) {
        let found = self
            .programs
            .iter()
            .find(|(_, p)| p.pid == pid && p.status.is_none());
        let Some(number) = found.map(|(number, _)| *number) else {
            return;
        };
        if let Some(program) = self.programs.get_mut(&number) {
            program.status = Some(status);
        }
        self.program_ready(number, 0);
    }

    fn finish_program(&mut self, number: u32) {
        let Some(program) = self.programs.remove(&number) else {
            return;
        };
        let answer = match program.status {
            Some(status) => Ok(shim::RunResponse {
                exit_code: status.exit_code,
                stdout: program.stdout.bytes,
                stderr: program.stderr.bytes,
            }),
            None => {
                let _ = signals::send(&program.pidfd, libc::SIGKILL as u32);
                let message = format!("{} did not end in time and was killed", program.name);
                Err(failure(Code::DeadlineExceeded, message))
            }
        };
        self.program_done(program.purpose, answer);
    }

    /// What has not ended is killed; what has ended but left its output open is answered.
    pub fn expire_programs(&mut self, now: Instant) {
        let late = self.programs.iter().filter(|(_, p)| p.until <= now);
        let late: Vec<u32> = late.map(|(number, _)| *number).collect();
        for number in late {
            self.finish_program(number);
        }
    }
}

struct Started {
    pid: i32,
    pidfd: OwnedFd,
    stdin: (File, Watch),
    stdout: Captured,
    stderr: Captured,
}

fn start(number: u32, request: &shim::RunRequest, dir: &str) -> Result<Started, Failure> {
    if request.argv.is_empty() {
        return Err(failure(Code::InvalidArgument, "run needs an argv"));
    }
    let (stdin, stdin_writer) = io::pipe()?;
    let (stdout_reader, stdout) = io::pipe()?;
    let (stderr_reader, stderr) = io::pipe()?;
    let plan = SpawnPlan {
        argv: request.argv.clone(),
        env: vec![PATH.to_owned(), "LC_ALL=C".to_owned()],
        fds: vec![
            (0, OwnedFd::from(stdin)),
            (1, OwnedFd::from(stdout)),
            (2, OwnedFd::from(stderr)),
        ],
        keep_privileges: true,
        working_dir: dir.to_owned(),
        ..SpawnPlan::default()
    };
    let spawned = spawn(plan)?;
    Ok(Started {
        pid: spawned.pid,
        pidfd: spawned.pidfd,
        stdin: stdin_of(stdin_writer, Token::Program(number, 0))?,
        stdout: Captured::new(stdout_reader, Token::Program(number, 1))?,
        stderr: Captured::new(stderr_reader, Token::Program(number, 2))?,
    })
}
