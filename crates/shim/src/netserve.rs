//! Servers in the pod's network namespace that must outlive trined: DHCP answers and port-forward.

use crate::answer::{Answer, Code, failure};
use crate::shim::Shim;

#[derive(Default)]
pub struct NetServers;

impl NetServers {
    pub fn dhcp_ready(&mut self, _number: u32) {}

    pub fn forward_ready(&mut self) {}
}

impl Shim {
    pub fn serve_dhcp(&mut self, _payload: &[u8]) -> Answer {
        Err(failure(Code::Unimplemented, "DHCP"))
    }

    pub fn serve_forward(&mut self, _payload: &[u8]) -> Answer {
        Err(failure(Code::Unimplemented, "port-forward"))
    }
}
