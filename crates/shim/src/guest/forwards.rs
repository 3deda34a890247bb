//! Port-forward over the guest link, and the end of all waiting for a stream.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::joins::{Join, MAX_JOINS, Origin};
use crate::channels::Kind;
use crate::host::sys;
use crate::shim::Shim;

/// An agent that runs answers for a stream at once, before it dials; one that only holds its port open never does.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

impl Shim {
    /// A connection to the pod's localhost, carried on to a stream of the guest.
    pub fn forward_to_guest(&mut self, client: TcpStream, name: &str) {
        let full = self.join_count(Origin::Forward) >= MAX_JOINS;
        let Some(channel) = self.guest_channel().filter(|_| !full) else {
            return sys::reset_on_close(&client);
        };
        let found = self.channels.get(&channel).map(|channel| &channel.kind);
        let is_free = matches!(found, Some(Kind::Guest(guest)) if guest.is_free);
        let until = is_free.then(|| Instant::now() + ANSWER_LIMIT);
        let number = self.number();
        let join = Join::forward(number, channel, client, name, until);
        self.joins.insert(number, join);
        self.join_ready(number);
    }

    /// Who does not say what he wants does not keep his place. Port-forward for which nobody answers in the guest goes
    /// where it would without an agent.
    pub fn expire_joins(&mut self, now: Instant) {
        let over = |join: &Join| join.until().is_some_and(|until| until <= now);
        let due: Vec<u32> = self
            .joins
            .iter()
            .filter(|(_, join)| over(join))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let Some(mut join) = self.joins.remove(&number) else {
                continue;
            };
            join.watch.set(&self.reactor, &join.stream, 0);
            if let Some(id) = join.id() {
                self.with_guest(join.channel, |_, guest| {
                    guest.ends.remove(&id);
                    guest.mux.abort(id, "not answered in time");
                });
            }
            if join.is_forward() {
                let client = TcpStream::from(OwnedFd::from(join.stream));
                self.keeper.net.forward_past_guest(client);
            }
        }
    }

    pub fn join_deadline(&self) -> Option<Instant> {
        self.joins.values().filter_map(Join::until).min()
    }
}
