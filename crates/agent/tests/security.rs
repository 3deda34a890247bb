//! What a container may not do, and what the specification's security settings look like from inside.
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

use harness::{Guest, shell, spec};
use serde_json::{Value, json};

const B: &str = "b=/bin/busybox;";

fn run(guest: &mut Guest, spec: &Value) -> String {
    let (out, err, _) = guest.run("c1", spec);
    format!("{out}{err}")
}

#[test]
fn the_view_from_inside_is_what_was_asked_for() {
    let mut guest = Guest::revived();
    let mut spec = shell(&format!(
        "{B} $b grep -E '^(Cap(Eff|Bnd)|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status; $b hostname; \
         ulimit -n; $b pwd; umask; echo $HOME; $b cat /proc/sys/kernel/msgmax; $b cat /proc/self/cgroup; $b id -u"
    ));
    spec["hostname"] = json!("inside");
    spec["process"]["cwd"] = json!("/made/here");
    spec["process"]["user"] =
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 63});
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]);
    spec["linux"]["sysctl"] = json!({"kernel.msgmax": "4242"});
    fs::write(
        guest.dir.join("rootfs/etc/passwd"),
        "u:x:1000:1001::/home/u:/bin/sh\n",
    )
    .unwrap();
    let text = run(&mut guest, &spec);
    for wanted in [
        "Uid:\t1000\t1000\t1000\t1000\n",
        "Gid:\t1001\t1001\t1001\t1001\n",
        "Groups:\t7 8 \n",
        "CapBnd:\t00000000a80425fb\n",
        "NoNewPrivs:\t1\n",
        "inside\n77\n/made/here\n0077\n/home/u\n4242\n",
        "0::/\n1000\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in {text}");
    }
}

#[test]
fn masked_and_read_only_paths_hold() {
    let mut guest = Guest::revived();
    let mut spec = shell(&format!(
        "{B} $b cat /proc/keys | $b wc -c; $b ls /sys/firmware | $b wc -l; echo x > /proc/sys/vm/swappiness; \
         echo x > /file; $b mount -o remount,rw /; $b touch /tmp/x && echo tmp"
    ));
    spec["root"]["readonly"] = json!(true);
    let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]});
    spec["mounts"].as_array_mut().unwrap().push(tmp);
    let text = run(&mut guest, &spec);
    assert!(text.starts_with("0\n0\ntmp\n"), "{text}");
    assert!(
        text.contains("can't create /proc/sys/vm/swappiness: Read-only file system"),
        "{text}"
    );
    assert!(
        text.contains("can't create /file: Read-only file system"),
        "{text}"
    );
    assert!(!guest.dir.join("rootfs/file").exists());
}

#[test]
fn devices_of_the_guest_are_out_of_reach() {
    let mut guest = Guest::revived();
    let text = run(
        &mut guest,
        &shell(&format!(
            "{B} $b mknod /tmp/mem c 1 1 && $b head -c 1 /tmp/mem; $b mknod /tmp/null c 1 3 && echo x > /tmp/null && echo ok; \
             $b ls /dev | $b tr '\\n' ' '"
        )),
    );
    assert!(text.contains("/tmp/mem: Operation not permitted"), "{text}");
    assert!(text.contains("ok\n"), "{text}");
    assert!(
        text.contains(
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        ),
        "{text}"
    );
}

#[test]
fn the_system_calls_of_the_profile_are_all_there_are() {
    let mut guest = Guest::revived();
    let mut spec = shell(&format!(
        "{B} $b mkdir /tmp/d; $b chmod 700 /tmp; echo $?; $b uname -s"
    ));
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 1, "value": 448, "op": "SCMP_CMP_EQ"}]}
        ]
    });
    for privileges in [true, false] {
        spec["process"]["noNewPrivileges"] = json!(privileges);
        let id = if privileges { "c1" } else { "c2" };
        let (out, err, _) = guest.run(id, &spec);
        assert!(
            err.contains("mkdir: can't create directory '/tmp/d': No space left on device"),
            "{err}"
        );
        assert_eq!(out, "1\nLinux\n", "{err}");
        // An exec is under the same rules.
        let _ = guest.exec(id, "e1", "true").expect_err("it has ended");
    }
}

#[test]
fn an_image_cannot_lead_a_mount_out_of_its_root() {
    let mut guest = Guest::revived();
    let root = guest.dir.join("rootfs");
    let outside = guest.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    symlink("/run/trine/outside", root.join("abs")).unwrap();
    symlink("../../outside", root.join("rel")).unwrap();
    let mut spec = shell("true");
    for at in ["/abs/x", "/rel/y"] {
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": []}));
    }
    // Either is fine: an error, or a directory inside.
    let _ = guest.create("c1", &spec);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    symlink("/proc/self/cwd", root.join("cwd")).unwrap();
    let mut spec = shell("echo in");
    spec["process"]["cwd"] = json!("/proc/self/fd/3");
    assert!(guest.create("c2", &spec).is_err());
    let mut spec = shell("true");
    spec["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/proc/self", "type": "tmpfs", "source": "tmpfs", "options": []}),
    );
    assert!(guest.create("c3", &spec).is_err());
}

#[test]
fn an_exec_is_not_fooled_by_what_the_container_mounts() {
    let mut guest = Guest::revived();
    let mut spec = shell(&format!(
        "{B} $b mount -t tmpfs none /dev/pts; $b mount -t tmpfs none /proc; $b mkfifo /dev/pts/ptmx; echo ready; $b sleep 60"
    ));
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set]
            .as_array_mut()
            .unwrap()
            .push(json!("CAP_SYS_ADMIN"));
    }
    guest.create("c1", &spec).expect("created");
    let out = guest.open("stdout/c1/");
    guest.start("c1", "").expect("started");
    guest.until("ready", |g| g.received.contains_key(&out).then_some(()));
    guest.exec("c1", "e1", "echo joined").expect("made");
    assert_eq!(guest.finish("c1", "e1").0, "joined\n");
    let request = trine_wire::agent::CreateProcessRequest {
        container: "c1".to_owned(),
        exec: "e2".to_owned(),
        process: harness::spec(&["/bin/true"])["process"]
            .to_string()
            .into_bytes(),
        terminal: true,
        ..Default::default()
    };
    let refused = guest
        .call::<()>("CreateProcess", &request)
        .expect_err("a FIFO");
    assert!(
        refused.message.contains("no terminal multiplexer"),
        "{}",
        refused.message
    );
}

#[test]
fn paths_and_ids_of_requests_are_checked() {
    let mut guest = Guest::revived();
    for id in ["", "..", "a/b"] {
        assert_eq!(guest.create(id, &shell("true")).expect_err("bad").code, 3);
    }
    let mut bad = spec(&["/bin/true"]);
    bad["root"]["path"] = json!("/run/trine/../../etc");
    assert!(guest.create("c1", &bad).is_err());
    bad["root"]["path"] = json!("relative");
    assert_eq!(guest.create("c1", &bad).expect_err("bad").code, 3);
    bad = spec(&["/bin/true"]);
    bad["linux"]["namespaces"][4]["path"] = json!("/proc/1/ns/net");
    assert_eq!(guest.create("c1", &bad).expect_err("bad").code, 3);
}
