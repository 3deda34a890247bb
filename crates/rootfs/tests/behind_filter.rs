//! A program of somebody else's behind the filter.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trine-rootfs"))
        .arg("--behind-filter")
        .args(words)
        .output()
        .expect("it starts")
}

#[test]
fn a_program_runs_with_its_arguments_and_makes_no_process() {
    let seen = run(&["/bin/sh", "-c", "echo \"$1\"; exec /bin/true", "sh", "a b"]);
    assert!(seen.status.success());
    assert_eq!(seen.stdout, b"a b\n");
    let refused = run(&["/bin/sh", "-c", "(true); echo forked"]);
    assert!(!refused.status.success());
    assert_eq!(refused.stdout, b"");
}

#[test]
fn what_cannot_be_executed_is_named() {
    for (words, says) in [
        (&["/nowhere"][..], "execute /nowhere"),
        (&[], "a program is missing"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says));
    }
}
