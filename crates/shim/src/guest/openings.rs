//! When a link begins anew, and which one is open: agents come and go with what runs in their machines.

use super::Guest;
use crate::channels::Kind;
use crate::host::sys;
use crate::shim::Shim;

impl Shim {
    /// The machine has been reset, or another agent is there: what runs in it now knows nothing of the old streams.
    pub fn reset_guests_of(&mut self, key: &str, has_opened: bool) {
        self.renew_guests_of(key, has_opened, |guest| {
            guest.is_away = guest.is_away && !has_opened;
        });
    }

    /// An owner's guest has no agent any more.
    pub fn leave_guests_of(&mut self, key: &str) {
        self.renew_guests_of(key, true, |guest| guest.is_away = true);
    }

    fn renew_guests_of(&mut self, key: &str, only_free: bool, note: impl Fn(&mut Guest)) {
        for number in self.channels_of(key) {
            let nonce = match sys::random() {
                Ok(nonce) => nonce,
                Err(error) => return self.log.line(&format!("guest link: {error}")),
            };
            self.with_guest(number, |shim, guest| {
                if !only_free || guest.is_free {
                    shim.cut_streams(guest);
                    if guest.is_free {
                        shim.end_processes_over(guest.number, false);
                    }
                    note(guest);
                    guest.mux.reset(nonce);
                }
            });
        }
    }

    /// The newest link whose machine is there.
    pub fn guest_channel(&self) -> Option<u32> {
        self.newest_guest(|guest| guest.stream.is_some())
    }

    /// An agent answers now in a machine that is its owner's.
    pub fn has_free_guest(&self) -> bool {
        self.newest_guest(|guest| guest.is_free && guest.stream.is_some() && guest.mux.is_ready())
            .is_some()
    }

    pub fn newest_guest(&self, is_meant: impl Fn(&Guest) -> bool) -> Option<u32> {
        let links = self
            .channels
            .iter()
            .filter(|(_, channel)| matches!(&channel.kind, Kind::Guest(guest) if is_meant(guest)));
        links.map(|(number, _)| *number).next_back()
    }
}
