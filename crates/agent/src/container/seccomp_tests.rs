use super::*;
use crate::container::spec::SyscallRule;

/// What the kernel would do with one call: the few instructions the compiler uses.
fn interpret(code: &[libc::sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let (mut a, mut pc) = (0_u32, 0_usize);
    loop {
        let i = code[pc];
        pc += 1;
        let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            LOAD => {
                a = match i.k {
                    OFFSET_NUMBER => number,
                    OFFSET_ARCH => arch,
                    at => {
                        let word = (at - OFFSET_ARGS) / 4;
                        let arg = args[(word / 2) as usize];
                        if word.is_multiple_of(2) {
                            arg as u32
                        } else {
                            (arg >> 32) as u32
                        }
                    }
                }
            }
            AND => a &= i.k,
            EQUAL => pc += jump(a == i.k),
            GREATER => pc += jump(a > i.k),
            AT_LEAST => pc += jump(a >= i.k),
            JUMP => pc += i.k as usize,
            RETURN => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(names: &[&str], action: &str, args: Vec<SyscallArg>) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(ToString::to_string).collect(),
        action: action.to_owned(),
        errno_ret: None,
        args: Some(args),
    }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> SyscallArg {
    SyscallArg {
        index,
        value,
        value_two,
        op: op.to_owned(),
    }
}

fn compile(default: &str, syscalls: Vec<SyscallRule>) -> Vec<libc::sock_filter> {
    let profile = Seccomp {
        default_action: default.to_owned(),
        default_errno_ret: None,
        architectures: vec!["SCMP_ARCH_X86_64".to_owned()],
        flags: Vec::new(),
        syscalls,
    };
    Filter::of(&profile).expect("valid").code
}

const DENY: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NO_SUCH: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

fn verdict(code: &[libc::sock_filter], name: &str, args: [u64; 6]) -> u32 {
    let number = syscalls::number(name).expect("known");
    interpret(code, AUDIT_ARCH_X86_64, number, args)
}

#[test]
fn every_number_gets_what_its_own_rule_says() {
    let allowed = ["read", "write", "execve", "exit_group", "clone3", "openat2"];
    let code = compile(
        "SCMP_ACT_ERRNO",
        vec![rule(&allowed, "SCMP_ACT_ALLOW", vec![])],
    );
    let numbers: Vec<u32> = allowed.iter().filter_map(|n| syscalls::number(n)).collect();
    for number in 0..600 {
        let wanted = if numbers.contains(&number) {
            ALLOW
        } else {
            DENY
        };
        assert_eq!(
            interpret(&code, AUDIT_ARCH_X86_64, number, [0; 6]),
            wanted,
            "{number}"
        );
    }
}

#[test]
fn other_conventions_find_no_calls() {
    let code = compile("SCMP_ACT_ALLOW", vec![]);
    assert_eq!(interpret(&code, 0x4000_0003, 1, [0; 6]), NO_SUCH);
    assert_eq!(
        interpret(&code, AUDIT_ARCH_X86_64, X32 | 1, [0; 6]),
        NO_SUCH
    );
    assert_eq!(interpret(&code, AUDIT_ARCH_X86_64, 1, [0; 6]), ALLOW);
}

#[test]
fn a_profile_for_32_bit_programs_has_its_rules_under_their_numbers() {
    let profile = Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        architectures: vec!["SCMP_ARCH_X86_64".to_owned(), "SCMP_ARCH_X86".to_owned()],
        syscalls: vec![
            rule(&["mkdir", "clone3", "socketcall"], "SCMP_ACT_ALLOW", vec![]),
            rule(
                &["personality"],
                "SCMP_ACT_ALLOW",
                vec![arg(0, "SCMP_CMP_EQ", 8, 0)],
            ),
        ],
        ..Seccomp::default()
    };
    let code = Filter::of(&profile).expect("valid").code;
    let ask = |arch, number, first| interpret(&code, arch, number, [first, 0, 0, 0, 0, 0]);
    for (number, wanted) in [(39, ALLOW), (435, ALLOW), (102, ALLOW), (83, DENY)] {
        assert_eq!(ask(AUDIT_ARCH_I386, number, 0), wanted, "{number}");
    }
    assert_eq!(ask(AUDIT_ARCH_I386, 136, 8), ALLOW, "personality");
    assert_eq!(ask(AUDIT_ARCH_I386, 136, 9), DENY, "personality");
    for (number, wanted) in [(83, ALLOW), (435, ALLOW), (39, DENY), (102, DENY)] {
        assert_eq!(ask(AUDIT_ARCH_X86_64, number, 0), wanted, "{number}");
    }
    assert_eq!(ask(0xc000_00b7, 39, 0), NO_SUCH, "an ARM");
    assert_eq!(ask(AUDIT_ARCH_X86_64, X32 | 83, 0), NO_SUCH);
}

#[test]
fn a_rule_holds_for_the_calls_that_32_bit_programs_make_through_another() {
    let refuse = |names: &[&str], args| rule(names, "SCMP_ACT_ERRNO", args);
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".to_owned(),
        architectures: vec!["SCMP_ARCH_X86".to_owned()],
        syscalls: vec![
            refuse(&["bind", "shmget"], vec![]),
            refuse(&["socket"], vec![arg(0, "SCMP_CMP_EQ", 40, 0)]),
            rule(&["socketcall", "ipc"], "SCMP_ACT_ALLOW", vec![]),
        ],
        ..Seccomp::default()
    };
    let code = Filter::of(&profile).expect("valid").code;
    let ask = |arch, number, first| interpret(&code, arch, number, [first, 0, 0, 0, 0, 0]);
    let (socketcall, ipc) = (102, 117);
    for (number, first, wanted) in [
        (socketcall, 1, DENY),
        (socketcall, 2, DENY),
        (socketcall, 3, ALLOW),
        (ipc, 23, DENY),
        (ipc, 24, ALLOW),
        (359, 40, DENY),
        (359, 2, ALLOW),
        (361, 0, DENY),
    ] {
        assert_eq!(
            ask(AUDIT_ARCH_I386, number, first),
            wanted,
            "{number} {first}"
        );
    }
    // The numbers are other calls' here.
    for number in [socketcall, ipc] {
        for first in [1, 2, 23] {
            assert_eq!(ask(AUDIT_ARCH_X86_64, number, first), ALLOW, "{number}");
        }
    }
}

#[test]
fn comparisons_see_all_64_bits() {
    let values = [
        0,
        1,
        5,
        6,
        7,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 6,
        (5 << 32) + 6,
        u64::MAX,
    ];
    type Holds = fn(u64, u64) -> bool;
    let all: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |a, b| a == b),
        ("SCMP_CMP_NE", |a, b| a != b),
        ("SCMP_CMP_GT", |a, b| a > b),
        ("SCMP_CMP_GE", |a, b| a >= b),
        ("SCMP_CMP_LT", |a, b| a < b),
        ("SCMP_CMP_LE", |a, b| a <= b),
    ];
    for (op, holds) in all {
        for wanted in values {
            let one = rule(&["socket"], "SCMP_ACT_ALLOW", vec![arg(1, op, wanted, 0)]);
            let code = compile("SCMP_ACT_ERRNO", vec![one]);
            for value in values {
                let expected = if holds(value, wanted) { ALLOW } else { DENY };
                let got = verdict(&code, "socket", [0, value, 0, 0, 0, 0]);
                assert_eq!(got, expected, "{value:#x} {op} {wanted:#x}");
            }
        }
    }
}

#[test]
fn conditions_join_and_alternatives_add_up() {
    // As in the default profile: clone without new namespaces.
    let mask = 0x7e02_0000;
    let clone = rule(
        &["clone"],
        "SCMP_ACT_ALLOW",
        vec![arg(0, "SCMP_CMP_MASKED_EQ", mask, 0)],
    );
    let both = rule(
        &["socket"],
        "SCMP_ACT_ALLOW",
        vec![arg(0, "SCMP_CMP_EQ", 1, 0), arg(1, "SCMP_CMP_EQ", 2, 0)],
    );
    let either = rule(
        &["personality"],
        "SCMP_ACT_ALLOW",
        vec![arg(0, "SCMP_CMP_EQ", 0, 0), arg(0, "SCMP_CMP_EQ", 8, 0)],
    );
    let code = compile("SCMP_ACT_ERRNO", vec![clone, both, either]);
    assert_eq!(verdict(&code, "clone", [0x11, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&code, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), DENY);
    assert_eq!(verdict(&code, "socket", [1, 2, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&code, "socket", [1, 3, 0, 0, 0, 0]), DENY);
    for (value, wanted) in [(0, ALLOW), (8, ALLOW), (1, DENY)] {
        assert_eq!(
            verdict(&code, "personality", [value, 0, 0, 0, 0, 0]),
            wanted
        );
    }
}

#[test]
fn unknown_words_are_refused() {
    let bad = |default: &str, op: &str| {
        let one = rule(&["socket"], "SCMP_ACT_ALLOW", vec![arg(0, op, 1, 0)]);
        let profile = Seccomp {
            default_action: default.to_owned(),
            syscalls: vec![one],
            ..Seccomp::default()
        };
        Filter::of(&profile).is_err()
    };
    assert!(bad("SCMP_ACT_NOTIFY", "SCMP_CMP_EQ"));
    assert!(bad("SCMP_ACT_ALLOW", "SCMP_CMP_SIDEWAYS"));
}
