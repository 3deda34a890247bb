use super::*;
use crate::host::testing::{Scratch, eventually, in_thread};
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

const BUSYBOX: &str = "/bin/busybox";

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn shell(script: &str) -> SpawnPlan {
    SpawnPlan {
        argv: strings(&[BUSYBOX, "sh", "-c", script]),
        env: strings(&["A=1", "PATH=/bin"]),
        ..SpawnPlan::default()
    }
}

fn bind(source: &str, target: &str) -> Bind {
    Bind {
        source: source.into(),
        target: target.into(),
        ..Bind::default()
    }
}

fn jailed(script: &str, binds: Vec<Bind>) -> SpawnPlan {
    let mut plan = shell(script);
    let binds = [vec![bind(BUSYBOX, BUSYBOX)], binds].concat();
    plan.jail = Some(Jail {
        binds,
        ..Jail::default()
    });
    (plan.uid, plan.gid) = (54_321, 54_322);
    plan
}

/// Runs a plan to its end: exit code (or 128 + signal) and what it wrote on both outputs.
fn finish(mut plan: SpawnPlan) -> (i32, String) {
    let (mut reader, writer) = pipe().unwrap();
    plan.log = Some(writer.into());
    let child = spawn(plan).unwrap();
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    (wait(&child), output)
}

fn wait(child: &Spawned) -> i32 {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let pid = unsafe { libc::waitpid(child.pid, &raw mut status, 0) };
    assert_eq!(pid, child.pid);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}

#[test]
fn a_plain_child_gets_its_arguments_and_only_its_environment() {
    let (code, output) = finish(shell(
        "echo $A-$HOME; busybox env | busybox wc -l; pwd; exit 7",
    ));
    // The shell adds PWD and such itself; the host's variables are not there.
    assert_eq!(code, 7);
    assert!(output.starts_with("1-\n"), "{output}");
    assert!(output.ends_with("\n/\n"), "{output}");
}

#[test]
fn a_bare_name_is_looked_up_in_the_system_directories() {
    let mut plan = shell("");
    plan.argv = strings(&["ip", "-V"]);
    let (code, output) = finish(plan);
    assert_eq!((code, output.contains("iproute2")), (0, true), "{output}");
}

#[test]
fn descriptors_arrive_under_their_numbers_and_no_others() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut first, first_end) = pipe().unwrap();
    let (mut second, second_end) = pipe().unwrap();
    let mut plan = shell("busybox ls /proc/self/fd; echo one >&7; echo two >&5; echo three >&9");
    // Crossed on purpose: each number may be the other one's source.
    plan.fds = vec![
        (7, first_end.into()),
        (5, second_end.into()),
        (9, theirs.into()),
    ];
    let (code, output) = finish(plan);
    assert_eq!(code, 0, "{output}");
    // `ls` has the directory itself open, under the first free number.
    assert_eq!(
        output.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3", "5", "7", "9"]
    );
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    second.read_to_string(&mut text).unwrap();
    (&ours).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
}

#[test]
fn numbers_that_cross_their_sources_do_not_clobber_each_other() {
    let (mut a, a_end) = pipe().unwrap();
    let (mut b, b_end) = pipe().unwrap();
    let (x, y) = (a_end.as_raw_fd() as u32, b_end.as_raw_fd() as u32);
    let mut plan = shell(&format!("echo a >&{y}; echo b >&{x}"));
    plan.fds = vec![(y, a_end.into()), (x, b_end.into())];
    assert_eq!(finish(plan), (0, String::new()));
    let (mut from_a, mut from_b) = (String::new(), String::new());
    a.read_to_string(&mut from_a).unwrap();
    b.read_to_string(&mut from_b).unwrap();
    assert_eq!((from_a.as_str(), from_b.as_str()), ("a\n", "b\n"));
}

#[test]
fn standard_streams_can_be_given() {
    let (mut output, end) = pipe().unwrap();
    let (input, mut feed) = pipe().unwrap();
    std::io::Write::write_all(&mut feed, b"hello").unwrap();
    drop(feed);
    let mut plan = shell("busybox cat");
    plan.fds = vec![(0, input.into()), (1, end.into())];
    let child = spawn(plan).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((wait(&child), text.as_str()), (0, "hello"));
}

#[test]
fn a_child_has_no_privileges_no_core_files_and_its_own_limits() {
    let mut plan = shell("busybox cat /proc/self/status; ulimit -c; ulimit -n; busybox id -G");
    (plan.uid, plan.gid, plan.groups) = (54_321, 54_322, vec![54_323]);
    plan.max_open_files = 321;
    let (code, output) = finish(plan);
    assert_eq!(code, 0, "{output}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            output.contains(&format!("{set}:\t0000000000000000")),
            "{set} in {output}"
        );
    }
    assert!(output.contains("NoNewPrivs:\t1"));
    assert!(output.contains("Uid:\t54321\t54321\t54321\t54321"));
    assert!(output.contains("Gid:\t54322\t54322\t54322\t54322"));
    assert!(output.contains("SigBlk:\t0000000000000000"));
    assert!(output.ends_with("0\n321\n54322 54323\n"), "{output}");
}

#[test]
fn root_without_a_jail_has_no_capabilities_either_unless_kept() {
    let (_, dropped) = finish(shell("busybox grep CapEff /proc/self/status"));
    assert_eq!(dropped, "CapEff:\t0000000000000000\n");
    let mut plan = shell("busybox grep CapEff /proc/self/status");
    plan.keep_privileges = true;
    let (_, kept) = finish(plan);
    assert_ne!(kept, dropped);
}

#[test]
fn the_out_of_memory_score_is_raised() {
    let mut plan = shell("busybox cat /proc/self/oom_score_adj");
    plan.oom_score_adj = 555;
    assert_eq!(finish(plan), (0, "555\n".to_owned()));
}

#[test]
fn the_limit_of_open_files_is_cut_to_what_may_be_had() {
    let mut plan = shell("ulimit -n");
    plan.max_open_files = 1 << 40;
    let (code, output) = finish(plan);
    assert_eq!(code, 0, "{output}");
}

#[test]
fn a_jail_holds_its_binds_and_nothing_else() {
    let scratch = Scratch::new("binds");
    fs::create_dir(scratch.path().join("rw")).unwrap();
    fs::create_dir(scratch.path().join("ro")).unwrap();
    fs::write(scratch.path().join("ro/file"), "content\n").unwrap();
    std::os::unix::fs::chown(scratch.path().join("rw"), Some(54_321), None).unwrap();
    let rw = scratch.path().join("rw");
    let binds = vec![
        Bind {
            writable: true,
            ..bind(rw.to_str().unwrap(), "/machine/work")
        },
        bind(scratch.path().join("ro").to_str().unwrap(), "/data"),
        bind(
            scratch.path().join("ro/file").to_str().unwrap(),
            "/data/file",
        ),
        bind("/proc", "/proc"),
        Bind {
            device: true,
            writable: true,
            ..bind("/dev/zero", "/dev/zero")
        },
    ];
    let script = "busybox ls /; busybox ls /dev; busybox cat /data/file; echo x >/machine/work/made
        (echo y >/data/new) 2>&1; (echo z >/new) 2>&1; busybox head -c 3 /dev/zero | busybox wc -c
        echo --; busybox cat /proc/self/mounts";
    let (code, output) = finish(jailed(script, binds));
    assert_eq!(code, 0, "{output}");
    let (seen, mounts) = output.split_once("--\n").unwrap();
    assert_eq!(
        seen,
        "bin\ndata\ndev\nmachine\nproc\nzero\ncontent\n\
         sh: can't create /data/new: Read-only file system\n\
         sh: can't create /new: Read-only file system\n3\n"
    );
    assert_eq!(fs::read_to_string(rw.join("made")).unwrap(), "x\n");
    assert_eq!(mounts.lines().count(), 7, "{mounts}");
    for line in mounts.lines() {
        let read_only = !["/machine/work", "/dev/zero"]
            .iter()
            .any(|path| line.contains(path));
        assert_eq!(line.contains(" ro,"), read_only, "{line}");
        assert!(line.contains("nosuid"), "{line}");
        assert_eq!(
            line.contains("nodev"),
            !line.contains("/dev/zero"),
            "{line}"
        );
    }
}

#[test]
fn a_jail_leaves_the_mounts_of_the_host_alone() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (code, _) = finish(jailed("exit 0", vec![bind("/tmp", "/tmp")]));
    assert_eq!(code, 0);
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |text: &str| text.lines().filter(|line| line.contains("jail")).count();
    assert_eq!((ours(&before), ours(&after)), (0, 0));
}

#[test]
fn symbolic_links_of_the_host_are_followed_and_no_link_leads_out_of_the_jail() {
    let scratch = Scratch::new("links");
    fs::create_dir(scratch.path().join("real")).unwrap();
    fs::write(scratch.path().join("real/file"), "yes\n").unwrap();
    std::os::unix::fs::symlink(scratch.path().join("real"), scratch.path().join("absolute"))
        .unwrap();
    std::os::unix::fs::symlink("/etc", scratch.path().join("real/out")).unwrap();
    let binds = vec![
        bind(scratch.path().join("absolute").to_str().unwrap(), "/data"),
        bind("/etc/passwd", "/etc/passwd"),
    ];
    let (code, output) = finish(jailed(
        "busybox cat /data/file; busybox ls /data/out",
        binds,
    ));
    assert_eq!((code, output.as_str()), (0, "yes\npasswd\n"));
}

#[test]
fn new_namespaces_are_empty() {
    let mut plan = jailed(
        "echo $$; busybox cat /proc/net/dev",
        vec![bind("/proc", "/proc")],
    );
    plan.jail.as_mut().unwrap().new_network = true;
    let (code, output) = finish(plan);
    assert_eq!((code, output.lines().count()), (0, 4), "{output}");
    let mut plan = jailed("echo $$", vec![]);
    plan.jail.as_mut().unwrap().new_pid = true;
    assert_eq!(finish(plan), (0, "1\n".to_owned()));
}

#[test]
fn the_pid_and_the_pidfd_are_those_of_the_host() {
    for new_pid in [false, true] {
        let mut plan = jailed("busybox sleep 1000", vec![]);
        plan.jail.as_mut().unwrap().new_pid = new_pid;
        let child = spawn(plan).unwrap();
        let command = fs::read_to_string(format!("/proc/{}/comm", child.pid)).unwrap();
        assert_eq!(command, "busybox\n");
        let fd = child.pidfd.as_fd().as_raw_fd();
        // SAFETY: no siginfo is given.
        let sent = unsafe {
            let none = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, none, 0)
        };
        assert_eq!((sent, wait(&child)), (0, 137));
    }
}

#[test]
fn children_die_with_the_thread_that_started_them() {
    for new_pid in [false, true] {
        let pid = in_thread(move || {
            let mut plan = jailed("busybox sleep 1000", vec![]);
            plan.jail.as_mut().unwrap().new_pid = new_pid;
            spawn(plan).unwrap()
        });
        assert_eq!(wait(&pid), 137);
    }
}

#[test]
fn a_failed_step_is_named_and_leaves_no_process() {
    let mut plan = shell("");
    plan.argv = strings(&["/nonexistent", "x"]);
    let error = spawn(plan).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error
            .to_string()
            .starts_with("start /nonexistent: execute: "),
        "{error}"
    );

    let error = spawn(jailed("", vec![bind("/tmp/none-such", "/x")])).unwrap_err();
    assert!(error.to_string().contains("/tmp/none-such"), "{error}");

    let binds = vec![bind("/etc/passwd", "/a"), bind("/tmp", "/a/b")];
    let error = spawn(jailed("", binds)).unwrap_err().to_string();
    assert!(
        error.contains("make the target of the bind /tmp on /a/b"),
        "{error}"
    );
    eventually("no child left", || {
        let children = format!(
            "/proc/self/task/{}/children",
            crate::host::testing::thread_id()
        );
        fs::read_to_string(children).unwrap().is_empty()
    });
}

#[test]
fn refuses_plans_that_make_no_sense() {
    let bad = |change: &dyn Fn(&mut SpawnPlan)| {
        let mut plan = jailed("", vec![]);
        change(&mut plan);
        assert_eq!(spawn(plan).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    };
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    bad(&|plan| plan.argv.clear());
    bad(&|plan| plan.argv = strings(&["busybox"]));
    bad(&|plan| plan.env = strings(&["A=\0"]));
    bad(&|plan| plan.fds = vec![(5, null()), (5, null())]);
    bad(&|plan| plan.fds = vec![(5000, null())]);
    for target in ["relative", "/", "/a/../b", ""] {
        bad(&|plan| plan.jail.as_mut().unwrap().binds = vec![bind("/tmp", target)]);
    }
}

#[test]
fn a_live_bind_shows_what_is_mounted_later_and_other_binds_do_not() {
    crate::host::testing::in_mount_namespace(|| {
        use crate::host::{bind as host_bind, mount};
        let scratch = Scratch::new("live");
        let root = scratch.path().canonicalize().unwrap();
        let volume = root.join("volume");
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(root.join("share/early")).unwrap();
        fs::write(volume.join("word"), "hello").unwrap();
        host_bind::share(&root, Path::new("share")).unwrap();
        host_bind::bind(
            &volume,
            &root,
            Path::new("share/early"),
            host_bind::How::default(),
        )
        .unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let share = root.join("share");
        let mut live = bind(share.to_str().unwrap(), "/live");
        live.live = true;
        let script = "cat /live/early/word; read go <&5; cat /live/late/word; echo x > /live/late/word || echo ro; for f in /dead/late/*; do echo $f; done";
        let mut plan = jailed(script, vec![live, bind(share.to_str().unwrap(), "/dead")]);
        plan.argv = strings(&[BUSYBOX, "sh", "-c", &script.replace("cat", "busybox cat")]);
        plan.env = strings(&["PATH=/bin"]);
        plan.fds.push((5, theirs.into()));
        let (mut reader, writer) = pipe().unwrap();
        plan.log = Some(writer.into());
        let child = spawn(plan).unwrap();
        let read_only = host_bind::How {
            read_only: true,
            read_only_below: false,
            follows: false,
        };
        host_bind::bind(&volume, &root, Path::new("share/late"), read_only).unwrap();
        (&ours).write_all(b"go\n").unwrap();
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        wait(&child);
        assert!(output.starts_with("hellohello"), "{output}");
        assert!(
            output.contains("Read-only") || output.contains("ro"),
            "{output}"
        );
        assert!(output.ends_with("/dead/late/*\n"), "{output}");
        // A mount that is taken off is gone there too: nothing stays in use.
        for place in ["share/late", "share/early", "share"] {
            mount::unmount_all(&root.join(place)).unwrap();
        }
        assert_eq!(fs::read_dir(root.join("share/late")).unwrap().count(), 0);
    });
}
