//! File systems of a whole machine's guest that stand still. A child holds them: it thaws them when their time is over,
//! when it is told to, and when the agent ends, whose own work may not depend on them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use trine_wire::Message;
use trine_wire::agent::{FreezeRequest, FreezeResponse, ThawResponse};

use crate::agent::Agent;
use crate::answer::{Answer, Call, Code, Failure, failure};
use crate::container::report::{self, Message as Said, Report};
use crate::container::spawn::{Fork, fork};
use crate::file_systems::{freeze_all, open_all, thaw_all, thaw_everything, wait};
use crate::reactor::{READ, Reactor, Token, Watched};
use crate::sys::{close_all_but, pipe, write};

const LONGEST_MS: u32 = 24 * 60 * 60 * 1000;

/// The child and who waits for it.
pub struct Freezer {
    pid: i32,
    _pidfd: OwnedFd,
    report: Watched,
    /// Its time, four bytes each time it is set; closed: thaw.
    orders: Option<OwnedFd>,
    count: u32,
    stage: Stage,
    freezing: Vec<Call>,
    thawing: Vec<Call>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Freezing,
    /// It has said that everything stands still.
    Frozen,
    /// It was made for that alone: nobody holds what may stand still.
    Thawing,
    /// It has said so.
    Thawed,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Frozen,
    /// Nothing more will come; why a freeze is over or did not succeed.
    Over(String),
    /// It is gone without having thawed.
    Left,
}

impl Agent {
    pub fn is_frozen(&self) -> bool {
        self.freezer
            .as_ref()
            .is_some_and(|freezer| freezer.stage == Stage::Frozen)
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
            if freezer.stage == Stage::Frozen {
                return Ok(Some(freezer.response()));
            }
            freezer.freezing.push(call);
            return Ok(None);
        }
        self.freezer = Some(start(&self.reactor, call, ms)?);
        Ok(None)
    }

    /// None: answered later. What another has frozen is thawed as well.
    pub fn thaw(&mut self, call: Call) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(freezer) = &mut self.freezer {
            freezer.orders = None;
            freezer.thawing.push(call);
        } else {
            self.freezer = Some(start_thaw(&self.reactor, vec![call])?);
        }
        Ok(None)
    }

    pub fn freezer_reported(&mut self) {
        let Some(freezer) = &mut self.freezer else {
            return;
        };
        let heard = freezer.hear();
        let why = match heard {
            Heard::Nothing => return,
            Heard::Frozen => {
                let response = freezer.response();
                let calls = std::mem::take(&mut freezer.freezing);
                return self.answer_all(calls, &Ok(response));
            }
            Heard::Over(ref text) => text.clone(),
            Heard::Left => "who was to freeze and thaw has died".to_owned(),
        };
        let Some(freezer) = self.freezer.take() else {
            return;
        };
        let wrong = Err(failure(Code::FailedPrecondition, why));
        self.answer_all(freezer.freezing, &wrong);
        if heard != Heard::Left {
            let answer = Ok(thawed(freezer.stage).encode_to_vec());
            return self.answer_all(freezer.thawing, &answer);
        }
        self.answer_all(freezer.thawing, &wrong);
        // Where it was told to thaw whoever asked for that has heard of it, and asks again.
        if freezer.orders.is_some() {
            match start_thaw(&self.reactor, Vec::new()) {
                Ok(thawer) => self.freezer = Some(thawer),
                Err(error) => eprintln!("trine-agent: thaw: {error}"),
            }
        }
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
        while self.freezer.as_ref().is_some_and(|each| each.pid == pid) {
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
    /// With a child that does `work`, says that all is thawed, and ends. Of the agent's descriptors it keeps `needs`.
    fn begin(
        reactor: &Reactor,
        stage: Stage,
        mut needs: Vec<RawFd>,
        work: impl FnOnce(&Report) -> io::Result<()>,
    ) -> io::Result<Freezer> {
        let (ours, theirs) = report::pair()?;
        match fork(0, None)? {
            Fork::Child => {
                needs.push(theirs.as_raw_fd());
                close_all_but(needs);
                match work(&theirs) {
                    Ok(()) => drop(theirs.ready()),
                    Err(error) => theirs.failed(&error),
                }
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
                    orders: None,
                    count: 0,
                    stage,
                    freezing: Vec::new(),
                    thawing: Vec::new(),
                })
            }
        }
    }

    fn hear(&mut self) -> Heard {
        match (report::receive(&self.report), self.stage) {
            (Ok(Said::NothingYet), _) => Heard::Nothing,
            (Ok(Said::Ready), Stage::Freezing) => {
                self.stage = Stage::Frozen;
                Heard::Frozen
            }
            (Ok(Said::Ready), _) => {
                self.stage = Stage::Thawed;
                Heard::Nothing
            }
            (Ok(Said::Failed(text)), _) => Heard::Over(text),
            (_, Stage::Thawed) => Heard::Over("the guest was thawed meanwhile".to_owned()),
            _ => Heard::Left,
        }
    }

    fn response(&self) -> Vec<u8> {
        FreezeResponse {
            file_systems: self.count,
        }
        .encode_to_vec()
    }
}

fn start(reactor: &Reactor, call: Call, ms: u32) -> io::Result<Freezer> {
    // Opened before anything stands still.
    let all = open_all()?;
    let (their_orders, orders) = pipe()?;
    let mut needs = vec![their_orders.as_raw_fd()];
    needs.extend(all.iter().map(AsRawFd::as_raw_fd));
    let freezer = Freezer::begin(reactor, Stage::Freezing, needs, |report| {
        match freeze_all(&all).and_then(|()| report.ready()) {
            Ok(()) => wait(&their_orders, Duration::from_millis(ms.into())),
            Err(error) => report.failed(&error),
        }
        thaw_all(&all);
        Ok(())
    })?;
    Ok(Freezer {
        orders: Some(orders),
        count: u32::try_from(all.len()).unwrap_or(u32::MAX),
        freezing: vec![call],
        ..freezer
    })
}

/// What a child that has ended by itself has left.
fn thawed(stage: Stage) -> ThawResponse {
    ThawResponse {
        all: stage == Stage::Thawed,
        some: stage == Stage::Thawing,
    }
}

/// For what nobody holds any more. A child does it: what stands still must not stop the agent.
fn start_thaw(reactor: &Reactor, thawing: Vec<Call>) -> io::Result<Freezer> {
    let work = |_: &Report| thaw_everything();
    let freezer = Freezer::begin(reactor, Stage::Thawing, Vec::new(), work)?;
    Ok(Freezer { thawing, ..freezer })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a child: the other end of its report.
    fn freezer(stage: Stage) -> (Freezer, Report) {
        let (ours, theirs) = report::pair().expect("pair");
        let (pidfd, orders) = pipe().expect("pipe");
        let freezer = Freezer {
            pid: 0,
            _pidfd: pidfd,
            report: Watched::new(ours, Token::Freezer),
            orders: Some(orders),
            count: 1,
            stage,
            freezing: Vec::new(),
            thawing: Vec::new(),
        };
        (freezer, theirs)
    }

    #[test]
    fn a_child_that_ends_has_thawed_only_when_it_said_so() {
        let over = Heard::Over("the guest was thawed meanwhile".to_owned());
        let (mut good, theirs) = freezer(Stage::Freezing);
        assert_eq!(good.hear(), Heard::Nothing);
        theirs.ready().expect("said");
        assert_eq!(good.hear(), Heard::Frozen);
        theirs.ready().expect("said");
        assert_eq!((good.hear(), good.stage), (Heard::Nothing, Stage::Thawed));
        drop(theirs);
        assert_eq!(good.hear(), over);

        for stage in [Stage::Freezing, Stage::Frozen, Stage::Thawing] {
            let (mut killed, theirs) = freezer(stage);
            drop(theirs);
            assert_eq!(killed.hear(), Heard::Left);
        }
        let (mut blind, theirs) = freezer(Stage::Thawing);
        theirs.failed(&io::Error::other("hidden"));
        assert_eq!(blind.hear(), Heard::Over("hidden".to_owned()));
        let left = thawed(blind.stage);
        assert!(left.some && !left.all);
        let (mut thawer, theirs) = freezer(Stage::Thawing);
        theirs.ready().expect("said");
        drop(theirs);
        assert_eq!((thawer.hear(), thawer.hear()), (Heard::Nothing, over));
        let left = thawed(thawer.stage);
        assert!(left.all && !left.some);
    }
}
