//! What goes over the shim's sockets: ttrpc frames and the messages in them, and the streams of the guest link.

pub mod answer;
pub mod frame;
pub mod mux;

/// Generated from packages/proto: one module per protobuf package.
#[allow(clippy::all, clippy::indexing_slicing, missing_docs)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

pub use messages::containerd::bootstrap;
pub use messages::containerd::events;
pub use messages::containerd::services::events::ttrpc::v1 as events_ttrpc;
pub use messages::containerd::task::v2 as task;
pub use messages::io::containerd::cgroups::v2 as metrics;
pub use messages::trine::agent::v1 as agent;
pub use messages::trine::shim::v1 as shim;
pub use messages::ttrpc;
pub use prost::Message;
pub use prost_types::{Any, Timestamp};
