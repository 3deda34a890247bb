use super::*;
use crate::host::testing::eventually;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A child that joins `path` before it executes `sleep`.
fn sleeper(path: &str) -> Child {
    let path = path.to_owned();
    let mut command = Command::new("sleep");
    command.arg("60").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: single-threaded after the fork; the C library's allocator works there.
    unsafe { command.pre_exec(move || find(&path)?.join()) };
    command.spawn().unwrap()
}

/// Where the groups of `path` are on this machine.
fn directories(path: &str) -> Vec<PathBuf> {
    let names = parse_path(path).unwrap();
    let all = hierarchies(mountinfo::read().unwrap());
    let dirs = all.iter().map(|one| {
        names
            .iter()
            .fold(one.root.clone(), |dir, name| dir.join(name))
    });
    dirs.collect()
}

fn top(path: &str) -> Vec<PathBuf> {
    let first = format!("/{}", parse_path(path).unwrap()[0]);
    directories(&first)
}

fn lives_and_dies(path: &str) {
    let mut child = sleeper(path);
    let dirs = directories(path);
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    let below = parse_path(path).unwrap().join("/");
    for line in groups.lines() {
        assert!(line.ends_with(&format!(":/{below}")), "{line}");
    }
    assert_eq!(groups.lines().count(), dirs.len());
    for dir in &dirs {
        assert_eq!(processes(dir), [i32::try_from(child.id()).unwrap()]);
    }
    assert_eq!(oom_kills(&dirs), 0);
    assert_eq!(
        remove(&dirs).unwrap_err().kind(),
        io::ErrorKind::ResourceBusy
    );
    // The child stays in its groups as long as it is not waited for.
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    kill_all(&dirs).unwrap();
    assert!(!reaper.join().unwrap().success());
    kill_all(&dirs).unwrap();
    remove(&dirs).unwrap();
    remove(&dirs).unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
    for dir in top(path) {
        let _ = with_groups_below(&dir)
            .iter()
            .rev()
            .try_for_each(fs::remove_dir);
    }
}

#[test]
fn joins_kills_and_removes_the_cgroupfs_form() {
    lives_and_dies(&format!("/trine-test-{}/podx/abc", std::process::id()));
}

#[test]
fn joins_kills_and_removes_the_systemd_form() {
    lives_and_dies(&format!(
        "trinetest{}-pod_x.slice:cri-containerd:abc",
        std::process::id()
    ));
}

#[test]
fn groups_below_go_too() {
    let path = format!("/trine-test-below-{}", std::process::id());
    let mut outer = sleeper(&path);
    let mut inner = sleeper(&format!("{path}/inner/most"));
    let dirs = directories(&path);
    let reaper = std::thread::spawn(move || {
        inner.wait().unwrap();
        outer.wait().unwrap();
    });
    kill_all(&dirs).unwrap();
    reaper.join().unwrap();
    remove(&dirs).unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
}

#[test]
fn the_unified_hierarchy_beside_v1_is_left_as_it_was() {
    let path = format!("/trine-test-unified-{}/pod/abc", std::process::id());
    let mut child = sleeper(&path);
    child.kill().unwrap();
    child.wait().unwrap();
    remove(&directories(&path)).unwrap();
    let unified = |kind: Kind| kind == Kind::V2;
    let all = hierarchies(mountinfo::read().unwrap());
    let mixed = all.len() > 1;
    for (hierarchy, dir) in all.iter().zip(top(&path)) {
        assert_eq!(
            dir.exists(),
            !(mixed && unified(hierarchy.kind)),
            "{}",
            dir.display()
        );
        let _ = with_groups_below(&dir)
            .iter()
            .rev()
            .try_for_each(fs::remove_dir);
    }
}

#[test]
fn a_process_killed_for_memory_is_counted() {
    let path = format!("/trine-test-oom-{}", std::process::id());
    let dirs = directories(&path);
    let mut idle = sleeper(&path);
    for dir in &dirs {
        for file in ["memory.limit_in_bytes", "memory.max"] {
            if dir.join(file).exists() {
                fs::write(dir.join(file), "16777216").unwrap();
            }
        }
    }
    let inside = path.clone();
    let mut eater = Command::new("dd");
    eater.args(["if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    eater.stderr(Stdio::null());
    // SAFETY: as in `sleeper`.
    unsafe { eater.pre_exec(move || find(&inside)?.join()) };
    let status = eater.status().unwrap();
    assert!(!status.success());
    eventually("an oom kill counted", || oom_kills(&dirs) == 1);
    idle.kill().unwrap();
    idle.wait().unwrap();
    remove(&dirs).unwrap();
}

#[test]
fn the_caller_is_never_killed() {
    let path = format!("/trine-test-self-{}", std::process::id());
    let inside = path.clone();
    let mut command = Command::new("true");
    // SAFETY: as in `sleeper`.
    unsafe {
        command.pre_exec(move || {
            let groups = find(&inside)?;
            let dirs = groups.dirs();
            groups.join()?;
            kill_all(&dirs)
        });
    }
    assert!(command.status().unwrap().success());
    remove(&directories(&path)).unwrap();
}

#[test]
fn both_forms_of_a_path_are_parsed() {
    let parse = |path: &str| parse_path(path).unwrap().join("/");
    assert_eq!(
        parse("/kubepods/burstable/podA/ID"),
        "kubepods/burstable/podA/ID"
    );
    assert_eq!(parse("default/ID"), "default/ID");
    assert_eq!(
        parse("kubepods-burstable-podA_b.slice:cri-containerd:ID"),
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podA_b.slice/cri-containerd-ID.scope"
    );
    assert_eq!(parse(":docker:ID"), "system.slice/docker-ID.scope");
    assert_eq!(parse("-.slice::ID"), "ID.scope");
    assert_eq!(parse("/k8s.io/a:b"), "k8s.io/a:b");
}

#[test]
fn hostile_paths_are_refused() {
    let long = "a".repeat(256);
    let deep = "/a".repeat(65);
    for path in [
        "",
        "/",
        "/a/../b",
        "..",
        "/a/./b",
        "a:b",
        "a:b:c",
        "a.slice:b:",
        "a.slice:b:../c",
        "a--b.slice:x:y",
        "a.slice:b:c:d",
        "/a\n",
        "a.slice:../../x:y",
        "../a.slice:x:y",
        &long,
        &deep,
    ] {
        let error = find(path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
    }
}

#[test]
fn the_layouts_of_hosts_are_told_apart() {
    let line = |device: &str, point: &str, kind: &str, options: &str| {
        format!("1 2 {device} / {point} rw - {kind} {kind} {options}\n")
    };
    let v2 = line("0:20", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
    let found = hierarchies(mountinfo::parse(v2.as_bytes()));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::V2);

    let v1 = line(
        "0:21",
        "/sys/fs/cgroup/cpu,cpuacct",
        "cgroup",
        "rw,cpu,cpuacct",
    ) + &line("0:22", "/sys/fs/cgroup/cpuset", "cgroup", "rw,cpuset")
        + &line("0:22", "/run/elsewhere", "cgroup", "rw,cpuset")
        + &line("0:23", "/sys/fs/cgroup/unified", "cgroup2", "rw");
    let found = hierarchies(mountinfo::parse(v1.as_bytes()));
    let kinds: Vec<_> = found.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::V1, Kind::V1WithCpuset, Kind::V2]);
    assert!(hierarchies(Vec::new()).is_empty());
}

#[test]
fn controllers_are_enabled_on_the_way_down_and_kept_when_enabled() {
    // A picture of a v2 tree in plain files: what is written is what the kernel would be told last.
    let scratch = crate::host::testing::Scratch::new("cgroup-v2");
    let control = scratch.path().join("cgroup.subtree_control");
    fs::write(scratch.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
    fs::write(&control, "cpu\n").unwrap();
    enable_controllers(scratch.path());
    assert_eq!(fs::read_to_string(&control).unwrap(), "+memory");
}
