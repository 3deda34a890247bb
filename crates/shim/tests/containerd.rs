//! The shim under a real containerd, driven by ctr, with a trined that starts a shell as the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::{Client, Pod, channel, eventually, script};
use trine_wire::shim::channel::Kind;
use trine_wire::{Message, shim, task};

const RUNTIME: &str = "io.containerd.trine-vm.v2";

/// containerd with directories and sockets of its own; killed at the end.
struct Containerd {
    dir: PathBuf,
    process: Child,
}

impl Containerd {
    /// `None`: not installed here.
    fn start(pod: &Pod) -> Option<Containerd> {
        let dir = pod.dir.clone();
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(dir.join("rootfs")).unwrap();
        let link = bin.join("containerd-shim-trine-vm-v2");
        symlink(env!("CARGO_BIN_EXE_containerd-shim-trine-v2"), link).unwrap();
        let text = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            text("root"),
            text("run"),
            text("c.sock"),
            text("c.ttrpc"),
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let process = launch(&dir)?;
        let containerd = Containerd { dir, process };
        containerd.wait_until_up();
        Some(containerd)
    }

    fn wait_until_up(&self) {
        eventually("containerd", || {
            self.ctr(&["version"]).status.success().then_some(())
        });
    }

    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = launch(&self.dir).unwrap();
        self.wait_until_up();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.dir.join("c.sock")).args(args);
        command
    }

    fn ctr(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn run(&self, id: &str, detached: bool) -> Child {
        let rootfs = self.dir.join("rootfs").display().to_string();
        let mut args = vec!["run", "--rootfs", "--runtime", RUNTIME];
        if detached {
            args.push("-d");
        }
        args.extend([rootfs.as_str(), id, "ignored"]);
        let mut command = self.command(&args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

fn launch(dir: &Path) -> Option<Child> {
    let path = format!(
        "{}:{}",
        dir.join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(dir.join("log"))
        .unwrap();
    Command::new("containerd")
        .arg("-c")
        .arg(dir.join("config.toml"))
        .env("PATH", path)
        .env("TRINE_STATE", dir.join("state"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .ok()
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The parent that containerd's namespace gave its groups; in use, it stays.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join("default"));
        }
    }
}

/// Answers what the shim relays until `done`; on Start the machine is a shell script.
fn act_as_trined(relay: &mut Client, program: &str, mut done: impl FnMut() -> bool) {
    while !done() {
        if !relay.is_ready(Duration::from_millis(20)) {
            continue;
        }
        // The shim goes before ctr does.
        let Some(relayed) = relay.next_request() else {
            return;
        };
        if relayed.request.method == "Start" {
            let start = task::StartRequest::decode(relayed.request.payload.as_slice()).unwrap();
            let address = Path::new(&relayed.metadata["trine-address"]).to_owned();
            let mut request = script("vmm", &start.id, program);
            let console = shim::Channel {
                name: "console".into(),
                kind: Kind::Console as i32,
                task_id: start.id,
                spool_path: address.with_file_name("console.log").display().to_string(),
                ..Default::default()
            };
            request.descriptors = vec![channel(1, console)];
            let mut client = Client::new(&address);
            client.shim::<shim::SpawnResponse>("Spawn", &request);
        }
        // The empty message is every answer: what matters is in the shim's table.
        relay.respond(relayed.stream, &shim::DescribeRequest {});
    }
}

/// containerd asks for the group `/NAMESPACE/ID`.
fn has_cgroup(id: &str) -> bool {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let mut dirs = hierarchies.map(|entry| entry.path().join("default").join(id));
    dirs.any(|dir| dir.exists())
}

fn left_over(pod: &Pod) -> usize {
    fs::read_dir(pod.state().join("pods")).map_or(0, Iterator::count)
}

#[test]
fn ctr_sees_output_and_exit_code_and_nothing_is_left() {
    let pod = Pod::new("ctr");
    let Some(containerd) = Containerd::start(&pod) else {
        println!("skipped: containerd is not installed");
        return;
    };
    let trined = pod.trined();
    let id = format!("trine-test-{}", std::process::id());
    let mut ctr = containerd.run(&id, false);
    let mut relay = trined.accept();
    act_as_trined(&mut relay, "seq 1 3000; exit 5", || {
        ctr.try_wait().unwrap().is_some()
    });
    let out = ctr.wait_with_output().unwrap();
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), expected);
    assert_eq!(
        out.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    eventually("the clean-up", || (left_over(&pod) == 0).then_some(()));
    assert!(!has_cgroup(&id));
}

#[test]
fn a_machine_outlives_containerd_and_trined() {
    let pod = Pod::new("restart");
    let Some(mut containerd) = Containerd::start(&pod) else {
        println!("skipped: containerd is not installed");
        return;
    };
    let trined = pod.trined();
    let id = format!("trine-live-{}", std::process::id());
    let mut ctr = containerd.run(&id, true);
    let mut relay = trined.accept();
    act_as_trined(&mut relay, "while :; do sleep 60; done", || {
        ctr.try_wait().unwrap().is_some()
    });
    assert!(ctr.wait().unwrap().success());
    assert!(has_cgroup(&id));
    drop(relay);
    drop(trined);
    containerd.restart();
    let list = String::from_utf8(containerd.ctr(&["t", "ls"]).stdout).unwrap();
    let line = list
        .lines()
        .find(|line| line.contains(&id))
        .expect("the task is listed");
    assert!(line.contains("RUNNING"), "{list}");
    let metrics = containerd.ctr(&["t", "metrics", &id]);
    assert!(
        metrics.status.success(),
        "{}",
        String::from_utf8_lossy(&metrics.stderr)
    );
    assert!(
        containerd
            .ctr(&["t", "kill", "-s", "KILL", &id])
            .status
            .success()
    );
    eventually("the end", || {
        let list = String::from_utf8(containerd.ctr(&["t", "ls"]).stdout).unwrap();
        list.contains("STOPPED").then_some(())
    });
    // Delete waits for trined's return.
    let trined = pod.trined();
    let mut delete = containerd.command(&["t", "delete", &id]);
    let mut delete = delete.stderr(Stdio::piped()).spawn().unwrap();
    let mut relay = trined.accept();
    act_as_trined(&mut relay, "", || delete.try_wait().unwrap().is_some());
    let said = String::from_utf8(delete.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("exit code 137"), "{said}");
    eventually("the clean-up", || (left_over(&pod) == 0).then_some(()));
    assert!(!has_cgroup(&id));
    assert!(containerd.ctr(&["c", "rm", &id]).status.success());
}
