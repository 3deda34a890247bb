//! Children that do what could make the agent wait for a share: the agent itself carries the shares' bytes.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::agent::Agent;
use crate::answer::{Call, Code, failure};
use crate::container::namespaces::Pinned;
use crate::container::report::{self, Message};
use crate::container::spawn::{Fork, fork};
use crate::reactor::{READ, Token, Watched};
use crate::signals;
use crate::sys::close_all_but;

/// Who waits for it.
#[derive(Debug, Clone, Copy)]
pub enum For {
    /// Of a mount in the mounts' table.
    Call(Call),
    /// The agent's own: a whole machine's volumes.
    Shares,
}

pub struct Helper {
    waits: For,
    pid: i32,
    pidfd: OwnedFd,
    report: Watched,
    /// The mount it makes or undoes.
    target: String,
}

impl Agent {
    /// Does `work` in a child and tells who waits how it went; `target` tells the mounts' table. Of the agent's
    /// descriptors the child keeps `needs` only.
    pub fn help(
        &mut self,
        waits: For,
        target: String,
        needs: Option<RawFd>,
        work: impl FnOnce() -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let (ours, theirs) = report::pair()?;
        match fork(0, None)? {
            Fork::Child => {
                // A copy of the agent's end of a share would keep the kernel waiting when the server has gone.
                close_all_but(needs.into_iter().chain([theirs.as_raw_fd()]).collect());
                let code = match work().and_then(|()| theirs.ready()) {
                    Ok(()) => 0,
                    Err(error) => {
                        theirs.failed(&error);
                        1
                    }
                };
                // SAFETY: ends the child without running anything of the agent's.
                unsafe { libc::_exit(code) }
            }
            Fork::Parent { pid, pidfd } => {
                let number = self.number();
                let mut report = Watched::new(ours, Token::Helper(number));
                report.set(&self.reactor, READ);
                let helper = Helper {
                    waits,
                    pid,
                    pidfd,
                    report,
                    target,
                };
                self.helpers.insert(number, helper);
                Ok(())
            }
        }
    }

    pub fn helper_reported(&mut self, number: u32) {
        let Some(helper) = self.helpers.get(&number) else {
            return;
        };
        let result = match report::receive(&helper.report) {
            Ok(Message::NothingYet) => return,
            Ok(Message::Ready) => Ok(Vec::new()),
            Ok(Message::Failed(text)) => Err(failure(Code::FailedPrecondition, text)),
            Ok(Message::Closed | Message::Terminal(_)) | Err(_) => {
                Err(failure(Code::FailedPrecondition, "the mount's helper died"))
            }
        };
        let Some(helper) = self.helpers.remove(&number) else {
            return;
        };
        // One that has said what it had to say has nothing more to do.
        let _ = signals::send(&helper.pidfd, libc::SIGKILL.cast_unsigned());
        match helper.waits {
            For::Call(call) => {
                self.mounts.finished(&helper.target, result.is_ok());
                self.parking.postpone();
                self.answer(call, result);
            }
            For::Shares => {
                self.shares_reported(result.err().map(|refused| refused.0.message).as_deref())
            }
        }
    }

    /// True when it was one of these.
    pub fn helper_ended(&mut self, pid: i32) -> bool {
        let found = self.helpers.iter().find(|(_, h)| h.pid == pid);
        let Some(number) = found.map(|(number, _)| *number) else {
            return false;
        };
        self.helper_reported(number);
        true
    }
}

/// Lets go of a container's namespaces. Whoever closes a mount namespace last takes its mounts off, and waits
/// for their share: a child does, which holds them until the agent has closed its own.
pub fn let_go(pinned: Pinned) {
    let forked = UnixStream::pair().and_then(|pair| Ok((pair, fork(0, None)?)));
    match forked {
        Ok(((ours, mut theirs), Fork::Child)) => {
            drop(ours);
            // Ends when the agent has closed the other end.
            let _ = theirs.read_exact(&mut [0]);
            // SAFETY: ends the child without running anything of the agent's.
            unsafe { libc::_exit(0) }
        }
        Ok((_pair, Fork::Parent { .. })) => drop(pinned),
        // A few descriptors less are better than an agent that waits for itself.
        Err(_) => std::mem::forget(pinned),
    }
}
