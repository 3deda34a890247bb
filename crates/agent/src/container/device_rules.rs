//! Which devices a container may use, as a BPF program on its control group (version 2 has no files for it).
//! Without it a container with CAP_MKNOD, which is in everybody's default, could open the guest's disks and the
//! agent's own port.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::cgroup::{Group, Groups};
use super::devices::DEFAULTS;
use super::spec::{Device, DeviceRule, Linux};
use crate::sys::{check_long, during, invalid, owned_long};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const MAX_RULES: usize = 500;

const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// `struct bpf_insn`: code, destination in the low and source in the high half, offset, constant.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    constant: i32,
}

/// One rule, checked; `None` = any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<u32>,
    access: u32,
    major: Option<u32>,
    minor: Option<u32>,
}

/// Programs that are kept loaded. Most containers have the same rules, and what the kernel does with a program that is
/// new to it is dear under emulation.
const KEPT: usize = 4;

#[derive(Default)]
pub struct Programs {
    /// By their instructions, the oldest first.
    kept: RefCell<Vec<(Vec<Instruction>, OwnedFd)>>,
    always_on: Cell<bool>,
}

/// Without processes. No container's id has a colon.
const ALWAYS_ON: &str = "rules:on";

/// Attaches the rules of the specification, its devices and the default devices to the group.
pub fn guard(groups: &Groups, group: &Group, linux: &Linux) -> io::Result<()> {
    let mut rules = Vec::new();
    for rule in &linux.resources.devices {
        rules.push(checked(rule)?);
    }
    rules.extend(always(&linux.devices)?);
    if rules.len() > MAX_RULES {
        return Err(invalid(format!("more than {MAX_RULES} device rules")));
    }
    attach(groups, group, program(&rules)).map_err(during("limit the container's devices"))
}

fn checked(rule: &DeviceRule) -> io::Result<Rule> {
    let kind = match rule.kind.as_str() {
        "" | "a" => None,
        "b" => Some(BLOCK),
        "c" | "u" => Some(CHAR),
        other => return Err(invalid(format!("{other:?} is no type of device"))),
    };
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    Ok(Rule {
        allow: rule.allow,
        kind,
        access: access(&rule.access)?,
        major: number(rule.major),
        minor: number(rule.minor),
    })
}

/// No letter = all of them.
fn access(letters: &str) -> io::Result<u32> {
    let mut access = 0;
    for letter in letters.chars() {
        access |= match letter {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            other => return Err(invalid(format!("{other:?} is no access to a device"))),
        };
    }
    Ok(match access {
        0 => MKNOD | READ | WRITE,
        some => some,
    })
}

/// The default devices, terminals and those the specification makes. Nodes of any number may be made: using them is
/// another matter (as runc does).
fn always(devices: &[Device]) -> io::Result<Vec<Rule>> {
    let allow = |kind, access, major, minor| Rule {
        allow: true,
        kind: Some(kind),
        access,
        major,
        minor,
    };
    let all = MKNOD | READ | WRITE;
    let mut rules = vec![
        allow(BLOCK, MKNOD, None, None),
        allow(CHAR, MKNOD, None, None),
        // /dev/console, /dev/ptmx and the terminals behind it.
        allow(CHAR, all, Some(5), Some(1)),
        allow(CHAR, all, Some(5), Some(2)),
        allow(CHAR, all, Some(136), None),
    ];
    rules.extend(DEFAULTS.map(|(_, major, minor)| allow(CHAR, all, Some(major), Some(minor))));
    for device in devices {
        let kind = if device.kind == "b" { BLOCK } else { CHAR };
        if device.kind != "p" {
            let access = access(&device.access)?;
            rules.push(allow(kind, access, Some(device.major), Some(device.minor)));
        }
    }
    Ok(rules)
}

/// The last rule that covers a whole access decides, so the program asks them from the back. What no rule speaks of
/// is refused.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let op = |code: u8, registers: u8, offset: i16, constant: u32| Instruction {
        code,
        registers,
        offset,
        constant: constant.cast_signed(),
    };
    // r1 = context {access << 16 | kind, major, minor} -> r2 kind, r3 access, r4 major, r5 minor
    let mut code = vec![
        op(0x61, 0x12, 0, 0),      // r2 = [r1 + 0]
        op(0xbc, 0x23, 0, 0),      // w3 = w2
        op(0x54, 0x02, 0, 0xffff), // w2 &= 0xffff
        op(0x74, 0x03, 0, 16),     // w3 >>= 16
        op(0x61, 0x14, 4, 0),      // r4 = [r1 + 4]
        op(0x61, 0x15, 8, 0),      // r5 = [r1 + 8]
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push((2, kind));
        }
        if let Some(major) = rule.major {
            tests.push((4, major));
        }
        if let Some(minor) = rule.minor {
            tests.push((5, minor));
        }
        let end = [op(0xb4, 0x00, 0, u32::from(rule.allow)), op(0x95, 0, 0, 0)];
        // Every test is one instruction, the one for the access three.
        let mut left = (tests.len() + 3 + end.len()) as i16;
        for (register, wanted) in tests {
            left -= 1;
            code.push(op(0x56, register, left, wanted)); // if wR != wanted goto next rule
        }
        code.push(op(0xbc, 0x31, 0, 0)); // w1 = w3
        if rule.allow {
            // Allowed only when all that is asked for is in the rule.
            code.push(op(0x54, 0x01, 0, !rule.access)); // w1 &= ~access
            code.push(op(0x56, 0x01, 2, 0)); // if w1 != 0 goto next rule
        } else {
            // Refused when anything asked for is in the rule.
            code.push(op(0x54, 0x01, 0, rule.access)); // w1 &= access
            code.push(op(0x16, 0x01, 2, 0)); // if w1 == 0 goto next rule
        }
        code.extend(end);
    }
    code.extend([op(0xb4, 0x00, 0, 0), op(0x95, 0, 0, 0)]);
    code
}

/// The head of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn attach(groups: &Groups, group: &Group, code: Vec<Instruction>) -> io::Result<()> {
    let mut kept = groups.device_programs.kept.borrow_mut();
    if let Some((_, program)) = kept.iter().find(|(known, _)| *known == code) {
        return put_on(group, program);
    }
    let program = load(&code)?;
    keep_on(groups, &program);
    put_on(group, &program)?;
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push((code, program));
    Ok(())
}

/// The kernel asks device rules since the first group that has any, until the last is gone, and patches itself for either:
/// under emulation it loses what was translated of its code. So one group has some for ever; without, starts take longer.
fn keep_on(groups: &Groups, program: &OwnedFd) {
    if !groups.device_programs.always_on.replace(true)
        && let Ok(group) = groups.make(ALWAYS_ON)
    {
        let _ = put_on(&group, program);
    }
}

fn load(code: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the structure is the head of bpf_attr; what it points to outlives the call.
    owned_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const load,
            size_of::<Load>(),
        )
    })
}

fn put_on(group: &Group, program: &OwnedFd) -> io::Result<()> {
    let attach = Attach {
        target: group.fd().as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the structure is the head of bpf_attr.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "device_rules_tests.rs"]
mod tests;
