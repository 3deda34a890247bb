//! Who the shim is to containerd and to trined, and where.

use std::path::{Path, PathBuf};

/// Whose shim this is. Its working directory is `pod_dir`, whatever that is called.
pub struct Identity {
    pub namespace: String,
    pub sandbox_id: String,
    pub runtime: String,
    pub bundle: String,
    pub netns: String,
    pub pod_dir: PathBuf,
    pub cgroups: Vec<PathBuf>,
    /// The pod has a sandbox task of its own, as Kubernetes' pods have.
    pub has_sandbox_task: bool,
    pub pid: u32,
    /// Made for trined, which ends it; no containerd knows of it.
    pub podless: bool,
}

impl Identity {
    /// A path as it is kept for later: relative to the pod's directory where it is below it, so that it holds
    /// when that is renamed.
    pub fn held(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.pod_dir).unwrap_or(path).to_owned()
    }
}
