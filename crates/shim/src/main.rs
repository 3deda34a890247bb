//! containerd-shim-trine-v2: one small process a pod.

mod host;

fn main() {}
