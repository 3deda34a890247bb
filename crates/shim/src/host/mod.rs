//! System calls the shim needs from its host.
