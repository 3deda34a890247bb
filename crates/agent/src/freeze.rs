//! File systems of a whole machine's guest that stand still. A child holds them: it thaws them when their time is over,
//! when it is told to, and when the agent ends, whose own work may not depend on them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use trine_wire::Message;
use trine_wire::agent::{FreezeRequest, FreezeResponse};

use crate::agent::Agent;
use crate::answer::{Answer, Call, Code, Failure, failure};
use crate::container::report::{self, Message as Said};
use crate::container::spawn::{Fork, fork};
use crate::disk_mounts::{self, DiskMount};
use crate::reactor::{READ, Token, Watched};
use crate::sys::{check, close_all_but, pipe, read, write};

/// `_IOWR('X', 119 and 120, int)` of linux/fs.h.
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;
const LONGEST_MS: u32 = 24 * 60 * 60 * 1000;

/// The child and who waits for it.
pub struct Freezer {
    pid: i32,
    _pidfd: OwnedFd,
    report: Watched,
    /// Its time, four bytes each time it is set; closed: thaw.
    orders: Option<OwnedFd>,
    count: u32,
    /// It has said that everything stands still.
    frozen: bool,
    freezing: Vec<Call>,
    thawing: Vec<Call>,
}

impl Agent {
    pub fn is_frozen(&self) -> bool {
        self.freezer.as_ref().is_some_and(|freezer| freezer.frozen)
    }

    /// None: answered later.
    pub fn freeze(
        &mut self,
        call: Call,
        request: &FreezeRequest,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let ms = request.timeout_ms;
        if ms == 0 || ms > LONGEST_MS {
            let text = format!("{ms} ms: 1 to {LONGEST_MS}");
            return Err(failure(Code::InvalidArgument, text));
        }
        if let Some(freezer) = &mut self.freezer {
            let Some(orders) = &freezer.orders else {
                let text = "the guest is being thawed";
                return Err(failure(Code::FailedPrecondition, text));
            };
            write(orders, &ms.to_ne_bytes())?;
            if freezer.frozen {
                return Ok(Some(freezer.response()));
            }
            freezer.freezing.push(call);
            return Ok(None);
        }
        self.freezer = Some(start(&self.reactor, call, ms)?);
        Ok(None)
    }

    /// None: answered later.
    pub fn thaw(&mut self, call: Call) -> Option<Vec<u8>> {
        let Some(freezer) = &mut self.freezer else {
            return Some(Vec::new());
        };
        freezer.orders = None;
        freezer.thawing.push(call);
        None
    }

    pub fn freezer_reported(&mut self) {
        let Some(freezer) = &mut self.freezer else {
            return;
        };
        let why = match report::receive(&freezer.report) {
            Ok(Said::NothingYet) => return,
            Ok(Said::Ready) => {
                freezer.frozen = true;
                let response = freezer.response();
                let calls = std::mem::take(&mut freezer.freezing);
                return self.answer_all(calls, &Ok(response));
            }
            Ok(Said::Failed(text)) => text,
            Ok(Said::Closed | Said::Terminal(_)) | Err(_) => {
                "the guest was thawed meanwhile".to_owned()
            }
        };
        let Some(freezer) = self.freezer.take() else {
            return;
        };
        self.answer_all(
            freezer.freezing,
            &Err(failure(Code::FailedPrecondition, why)),
        );
        self.answer_all(freezer.thawing, &Ok(Vec::new()));
    }

    /// True when it was this child.
    pub fn freezer_ended(&mut self, pid: i32) -> bool {
        if self
            .freezer
            .as_ref()
            .is_none_or(|freezer| freezer.pid != pid)
        {
            return false;
        }
        // What it has said, and then that it is gone.
        while self.freezer.is_some() {
            self.freezer_reported();
        }
        true
    }

    fn answer_all(&mut self, calls: Vec<Call>, answer: &Answer) {
        for call in calls {
            self.answer(call, answer.clone());
        }
    }
}

impl Freezer {
    fn response(&self) -> Vec<u8> {
        FreezeResponse {
            file_systems: self.count,
        }
        .encode_to_vec()
    }
}

fn start(reactor: &crate::reactor::Reactor, call: Call, ms: u32) -> io::Result<Freezer> {
    // Opened before anything stands still.
    let all: Vec<File> = disk_mounts::all().iter().filter_map(opened).collect();
    let (ours, theirs) = report::pair()?;
    let (their_orders, orders) = pipe()?;
    match fork(0, None)? {
        Fork::Child => {
            let mut needs = vec![theirs.as_raw_fd(), their_orders.as_raw_fd()];
            needs.extend(all.iter().map(AsRawFd::as_raw_fd));
            close_all_but(needs);
            match freeze_all(&all).and_then(|()| theirs.ready()) {
                Ok(()) => wait(&their_orders, Duration::from_millis(ms.into())),
                Err(error) => theirs.failed(&error),
            }
            thaw_all(&all);
            // SAFETY: ends the child without running anything of the agent's.
            unsafe { libc::_exit(0) }
        }
        Fork::Parent { pid, pidfd } => {
            let mut report = Watched::new(ours, Token::Freezer);
            report.set(reactor, READ);
            Ok(Freezer {
                pid,
                _pidfd: pidfd,
                report,
                orders: Some(orders),
                count: u32::try_from(all.len()).unwrap_or(u32::MAX),
                frozen: false,
                freezing: vec![call],
                thawing: Vec::new(),
            })
        }
    }
}

/// None: something else lies over it, or it cannot be opened; it goes on.
fn opened(mount: &DiskMount) -> Option<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&mount.point)
        .ok()?;
    let device = file.metadata().ok()?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    // Each of btrfs' subvolumes has a number of its own.
    (number == mount.number || mount.kind == "btrfs").then_some(file)
}

/// The last that was mounted first: a file system may be in a file of one that was mounted before.
fn freeze_all(all: &[File]) -> io::Result<()> {
    for file in all.iter().rev() {
        match order(file, FIFREEZE) {
            Err(error) if !is_no_matter(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One that cannot stand still goes on, one that does so already is no failure.
fn is_no_matter(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EBUSY)
    )
}

/// What was not frozen says so, and nobody is to be told.
fn thaw_all(all: &[File]) {
    for file in all {
        let _ = order(file, FITHAW);
    }
}

fn order(file: &impl AsFd, what: libc::c_ulong) -> io::Result<()> {
    // SAFETY: neither order takes or gives anything.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), what as _, 0) }).map(|_| ())
}

/// Until the time is over, which may be set anew, or the other end is closed.
fn wait(orders: &OwnedFd, patience: Duration) {
    let mut end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut waits = libc::pollfd {
            fd: orders.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // At least a millisecond while anything is left.
        let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: the pointer is to one entry and outlives the call.
        let count = unsafe { libc::poll(&raw mut waits, 1, ms) };
        if count == 0 && end <= Instant::now() {
            return;
        }
        if count <= 0 {
            continue;
        }
        let mut ms = [0; 4];
        match read(orders, &mut ms) {
            Ok(4) => end = Instant::now() + Duration::from_millis(u32::from_ne_bytes(ms).into()),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_with_its_time_its_other_end_or_not_before() {
        let (theirs, ours) = pipe().expect("pipe");
        wait(&theirs, Duration::from_millis(1));
        write(&ours, &1_u32.to_ne_bytes()).expect("written");
        // The hour is taken back.
        wait(&theirs, Duration::from_secs(3600));
        drop(ours);
        wait(&theirs, Duration::from_secs(3600));
    }

    #[test]
    fn what_cannot_stand_still_is_no_matter() {
        let file = File::open("/proc/self/stat").expect("there");
        let error = order(&file, FITHAW).expect_err("nothing stands still there");
        assert!(freeze_all(&[]).is_ok());
        assert!(error.raw_os_error().is_some());
    }
}
