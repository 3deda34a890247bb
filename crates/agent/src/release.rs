//! Takes a container's disks out of use. The host may put something else in their place only when nothing in the
//! guest holds them any more, and their file systems end where the container's mount namespace does.

use std::io::Read;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use trine_wire::Message;
use trine_wire::agent::RemoveContainerResponse;

use crate::agent::Agent;
use crate::answer::{Answer, Call};
use crate::container::Container;
use crate::container::namespaces::Pinned;
use crate::container::report::{self, Message as Report};
use crate::container::spawn::{Fork, fork};
use crate::disks::wait_until_free;
use crate::reactor::{READ, Token, Watched};
use crate::sys::close_all_but;

/// Less than who waits for a container's end does.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child that waits until they are free, and says so.
pub struct Release {
    container: String,
    serials: Vec<String>,
    /// Who waits, and what each is told unless a disk is busy.
    calls: Vec<(Call, Answer)>,
    pid: i32,
    _pidfd: OwnedFd,
    report: Watched,
}

impl Agent {
    /// A container's own disks: no other container's are among them.
    pub fn own_disks(&self, container: &Container) -> Vec<String> {
        let others: Vec<&String> = self.containers.values().flat_map(|c| &c.disks).collect();
        let own = container.disks.iter().filter(|d| !others.contains(d));
        own.cloned().collect()
    }

    /// Lets go of the container's namespaces and answers `calls` when its disks are free, or are not in time.
    pub fn release(
        &mut self,
        container: &str,
        pinned: Option<Pinned>,
        serials: Vec<String>,
        calls: Vec<(Call, Answer)>,
    ) {
        match self.start_release(pinned, &serials) {
            Ok((pid, pidfd, report)) => {
                let number = self.number();
                let mut report = Watched::new(report, Token::Release(number));
                report.set(&self.reactor, READ);
                let release = Release {
                    container: container.to_owned(),
                    serials,
                    calls,
                    pid,
                    _pidfd: pidfd,
                    report,
                };
                self.releases.insert(number, release);
            }
            // Not known to be free: the host leaves them as they are.
            Err(_) => self.released(calls, serials),
        }
    }

    fn start_release(
        &mut self,
        pinned: Option<Pinned>,
        serials: &[String],
    ) -> std::io::Result<(i32, OwnedFd, OwnedFd)> {
        // Whoever closes a mount namespace last may wait for a share, and the agent carries those: only once a
        // child holds it as well is it let go.
        let pinned = ManuallyDrop::new(pinned);
        let (ours, theirs) = report::pair()?;
        let (hold, mut held) = UnixStream::pair()?;
        match fork(0, None)? {
            Fork::Child => {
                drop(hold);
                // Ends when the agent has closed its own: the last to let go is this child, which may wait.
                let _ = held.read_exact(&mut [0]);
                close_all_but(vec![theirs.as_raw_fd()]);
                let done = wait_until_free(serials, PATIENCE).and_then(|()| theirs.ready());
                if let Err(error) = &done {
                    theirs.failed(error);
                }
                // SAFETY: ends the child without running anything of the agent's.
                unsafe { libc::_exit(done.is_err().into()) }
            }
            Fork::Parent { pid, pidfd } => {
                drop(ManuallyDrop::into_inner(pinned));
                drop(hold);
                Ok((pid, pidfd, ours))
            }
        }
    }

    pub fn release_reported(&mut self, number: u32) {
        let Some(release) = self.releases.get(&number) else {
            return;
        };
        let free = match report::receive(&release.report) {
            Ok(Report::NothingYet) => return,
            Ok(Report::Ready) => true,
            Ok(Report::Failed(text)) => {
                eprintln!("trine-agent: container {}: {text}", release.container);
                false
            }
            Ok(Report::Closed | Report::Terminal(_)) | Err(_) => false,
        };
        if let Some(release) = self.releases.remove(&number) {
            let busy = if free { Vec::new() } else { release.serials };
            self.released(release.calls, busy);
        }
    }

    /// True when it was one of these.
    pub fn release_ended(&mut self, pid: i32) -> bool {
        let found = self.releases.iter().find(|(_, r)| r.pid == pid);
        let Some(number) = found.map(|(number, _)| *number) else {
            return false;
        };
        self.release_reported(number);
        true
    }

    /// True when the container is on its way out, and `call` will be answered.
    pub fn joins_release(&mut self, container: &str, call: Call) -> bool {
        let mut all = self.releases.values_mut();
        let Some(release) = all.find(|r| r.container == container) else {
            return false;
        };
        release.calls.push((call, Ok(Vec::new())));
        true
    }

    /// Nobody waits for this answer any more.
    pub fn forget_release_call(&mut self, call: Call) {
        for release in self.releases.values_mut() {
            release.calls.retain(|(waiting, _)| *waiting != call);
        }
    }

    fn released(&mut self, calls: Vec<(Call, Answer)>, busy: Vec<String>) {
        self.stuck_disks.extend(busy.iter().cloned());
        let response = RemoveContainerResponse { busy };
        for (call, answer) in calls {
            self.answer(call, answer.map(|_| response.encode_to_vec()));
        }
    }
}
