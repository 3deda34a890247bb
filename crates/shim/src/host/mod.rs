//! System calls the shim needs from its host. Each module stands alone; all of them return
//! `io::Error`s that name the step and the object, keep the kind of the system's error, and never
//! panic. Nothing here waits on a peer: `Server` and `Forwarder` own an epoll descriptor each, the
//! outer loop registers `fd()` for reading (level-triggered) and calls the handler when it is ready.
//!
//! ```text
//! spawn    pub struct SpawnPlan { argv: Vec<String>, env: Vec<String>, fds: Vec<(u32, OwnedFd)>, uid: u32, gid: u32,
//!            groups: Vec<u32>, jail: Option<Jail>, log: Option<OwnedFd>, oom_score_adj: i32, max_open_files: u64,
//!            keep_privileges: bool }                                             // Default gives a harmless plan
//!          pub struct Jail { binds: Vec<Bind>, new_network: bool, new_pid: bool }
//!          pub struct Bind { source: PathBuf, target: PathBuf, writable: bool, device: bool }
//!          pub struct Spawned { pid: i32, pidfd: OwnedFd }
//!          pub fn spawn(plan: SpawnPlan) -> io::Result<Spawned>
//! cgroup   pub fn join(cgroups_path: &str) -> io::Result<Vec<PathBuf>>
//!          pub fn oom_kills(dirs: &[PathBuf]) -> u64
//!          pub fn kill_all(dirs: &[PathBuf]) -> io::Result<()>
//!          pub fn remove(dirs: &[PathBuf]) -> io::Result<()>
//! mount    pub struct Layer { kind: String, source: String, options: Vec<String>, target: String }
//!          pub fn mount_layers(target: &Path, layers: &[Layer]) -> io::Result<()>
//!          pub fn unmount_all(target: &Path) -> io::Result<()>
//!          pub fn is_mounted(target: &Path) -> io::Result<bool>
//! net      pub fn enter(path: &Path) -> io::Result<()>
//!          pub fn create_own() -> io::Result<()>                                 // lo is up
//!          pub fn open_tap(name: &str, mtu: u32) -> io::Result<OwnedFd>          // mtu 0 = the kernel's
//! dhcp     pub struct Request { tap, client_mac, address, prefix, server, … }   // ServeDhcpRequest, field for field
//!          impl Config { pub fn parse(request: &Request) -> io::Result<Config> }
//!          pub fn respond(config: &Config, frame: &[u8]) -> Option<Vec<u8>>
//!          impl Server { pub fn open(config: Config) -> io::Result<Server>; pub fn fd(&self) -> RawFd;
//!            pub fn set_config(&mut self, config: Config) -> io::Result<()>; pub fn on_readable(&mut self) }
//! forward  impl Forwarder { pub fn new(target: IpAddr, source: Option<IpAddr>) -> io::Result<Forwarder>;
//!            pub fn port(&self) -> u16; pub fn fd(&self) -> RawFd; pub fn on_ready(&mut self) }
//! ```

pub mod cgroup;
pub mod dhcp;
pub mod forward;
pub mod mount;
mod mountinfo;
pub mod net;
pub mod spawn;
mod sys;
#[cfg(test)]
mod testing;
