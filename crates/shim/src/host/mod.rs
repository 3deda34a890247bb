//! System calls the shim needs from its host. Each module stands alone; all of them return
//! `io::Error`s that name the step and the object, keep the kind of the system's error, and never
//! panic. Nothing here waits on a peer: `dhcp::Server` and `forward::Forwarder` own an epoll
//! descriptor each, the outer loop registers `fd()` for reading (level-triggered) and calls the
//! handler when it is ready.

pub mod bind;
pub mod cgroup;
pub mod device;
pub mod dhcp;
pub mod dhcp6;
pub mod forward;
mod frames;
pub mod macvtap;
pub mod mount;
mod mountinfo;
pub mod move_link;
pub mod net;
pub mod pin;
pub mod spawn;
pub mod sys;
#[cfg(test)]
pub mod testing;
