//! The agent as a service of a whole machine: no pod, no containers, programs in the guest itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use harness::{Guest, process, revive, shell, spec};
use serde_json::json;
use trine_wire::agent::{
    CreateProcessRequest, DescribeResponse, FreezeRequest, GuestInfoResponse, ProcessRequest,
    ResizeRequest, SignalRequest,
};

const MACHINE: &str = "machine";

/// A shell's process with input.
fn order(exec: &str, script: &str) -> CreateProcessRequest {
    let mut process = spec(&[])["process"].clone();
    process["args"] = json!(["/bin/sh", "-c", script]);
    CreateProcessRequest {
        container: MACHINE.to_owned(),
        exec: exec.to_owned(),
        process: process.to_string().into_bytes(),
        stdin: true,
        ..Default::default()
    }
}

#[test]
fn programs_run_in_the_guest_itself() {
    let mut guest = Guest::with("--machine");
    let described: DescribeResponse = guest.call("Describe", &()).expect("always");
    assert_eq!(described.containers, [MACHINE]);
    // What only the agent's own mounts have, and the only interface of its own network.
    let script = "ls -d /run/trine/rootfs; sed -n 's/:.*//p' /proc/net/dev; cat >&2; exit 5";
    guest
        .call::<()>("CreateProcess", &order("e1", script))
        .expect("made");
    let stdin = guest.open("stdin/machine/e1");
    guest.mux.send(stdin, b"typed\n");
    guest.mux.fin(stdin);
    let (out, err, status) = guest.finish(MACHINE, "e1");
    assert_eq!(
        (out.as_str(), err.as_str(), status),
        ("/run/trine/rootfs\n    lo\n", "typed\n", 5)
    );
    guest
        .call::<()>("RemoveProcess", &process(MACHINE, "e1"))
        .expect("removed");
}

#[test]
fn a_process_that_says_nothing_of_capabilities_has_the_services_own() {
    let mut guest = Guest::with("--machine");
    let mut request = order("e1", "");
    let process =
        json!({"args": ["/bin/sh", "-c", "sed -n 's/^CapEff:.//p' /proc/self/status"], "cwd": "/"});
    request.process = process.to_string().into_bytes();
    guest.call::<()>("CreateProcess", &request).expect("made");
    let (out, ..) = guest.finish(MACHINE, "e1");
    let own = std::fs::read_to_string("/proc/self/status").expect("there");
    let own = own
        .lines()
        .find_map(|l| l.strip_prefix("CapPrm:\t"))
        .unwrap();
    assert_eq!(out.trim(), own);
}

#[test]
fn a_terminal_and_signals_to_one_process() {
    let mut guest = Guest::with("--machine");
    let request = CreateProcessRequest {
        terminal: true,
        width: 91,
        height: 17,
        ..order(
            "t",
            "trap 'exit 3' TERM; stty size; while :; do sleep 1; done",
        )
    };
    guest.call::<()>("CreateProcess", &request).expect("made");
    let out = guest.open("stdout/machine/t");
    guest.start(MACHINE, "t").expect("started");
    guest.exec(MACHINE, "other", "sleep 1000").expect("made");
    guest.start(MACHINE, "other").expect("started");
    guest.until("the size", |g| {
        let said = g.received.get(&out)?;
        String::from_utf8_lossy(said)
            .contains("17 91")
            .then_some(())
    });
    let resize = ResizeRequest {
        container: MACHINE.to_owned(),
        exec: "t".to_owned(),
        width: 80,
        height: 24,
    };
    guest.call::<()>("Resize", &resize).expect("resized");
    let term = SignalRequest {
        container: MACHINE.to_owned(),
        exec: "t".to_owned(),
        signal: 15,
        all: true,
    };
    guest.call::<()>("Signal", &term).expect("sent");
    assert_eq!(guest.exit(MACHINE, "t").status, 3);
    // Of all processes only the one that was named.
    let kill = SignalRequest {
        exec: "other".to_owned(),
        signal: 9,
        ..term
    };
    guest.call::<()>("Signal", &kill).expect("it still runs");
    assert_eq!(guest.exit(MACHINE, "other").status, 137);
}

#[test]
fn ended_processes_that_nobody_removes_make_room() {
    let mut guest = Guest::with("--machine");
    for number in 0..1030 {
        let mut request = order(&format!("e{number}"), "");
        request.process = json!({"args": ["/bin/true"], "cwd": "/"})
            .to_string()
            .into_bytes();
        guest.call::<()>("CreateProcess", &request).expect("made");
        guest
            .start(MACHINE, &format!("e{number}"))
            .expect("started");
        assert_eq!(guest.exit(MACHINE, &format!("e{number}")).status, 0);
    }
}

#[test]
fn the_guest_says_who_it_is_and_other_programs_file_systems_are_let_alone() {
    let mut guest = Guest::with("--machine");
    let info: GuestInfoResponse = guest.call("GuestInfo", &()).expect("always");
    let names: Vec<_> = info.interfaces.iter().map(|each| &each.name).collect();
    assert_eq!(names, ["lo"]);
    assert!(!info.hostname.is_empty() && !info.kernel_release.is_empty() && !info.frozen);
    let request = FreezeRequest { timeout_ms: 1000 };
    let refused = guest.call::<()>("Freeze", &request).expect_err("not here");
    assert!(
        refused.message.contains("no whole machine"),
        "{}",
        refused.message
    );
    guest.call::<()>("Thaw", &()).expect("nothing is frozen");
}

#[test]
fn what_is_the_owners_is_refused() {
    let mut guest = Guest::with("--machine");
    for method in ["Revive", "Mount", "SetNetwork", "Pause", "RemoveContainer"] {
        let refused = guest.call::<()>(method, &revive()).expect_err(method);
        assert!(
            refused.message.contains("whole machine"),
            "{method}: {}",
            refused.message
        );
    }
    let refused = guest
        .create("c1", &shell("true"))
        .expect_err("no container");
    assert!(refused.message.contains("whole machine"));
    let nothing = ProcessRequest {
        container: "c1".to_owned(),
        exec: "e".to_owned(),
    };
    assert_eq!(
        guest
            .call::<()>("StartProcess", &nothing)
            .expect_err("none")
            .code,
        5
    );
}
