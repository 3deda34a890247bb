//! A specification's system call rules as a BPF program: a binary search for the call's number, then the rules of
//! that call in order.

use std::collections::BTreeMap;
use std::io;

use super::seccomp_tree::{ranges, search};
use super::spec::{Seccomp, SyscallArg};
use super::{syscalls, syscalls_i386};
use crate::sys::{check_long, during, invalid};

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// What a profile calls 32-bit programs.
const I386: &str = "SCMP_ARCH_X86";
/// Numbers of the x32 convention have this bit; no libc here uses it.
const X32: u32 = 0x4000_0000;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;
const MAX_INSTRUCTIONS: usize = 4096;
/// As the kernel refuses calls it does not know.
const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// A program for the kernel and the flags to install it with.
pub struct Filter {
    code: Vec<libc::sock_filter>,
    flags: libc::c_ulong,
}

/// Conditions that must all hold, and what follows then.
type Rule = (Vec<SyscallArg>, u32);

impl Filter {
    /// Calls the agent has no number for cannot be made on this kernel's ABI either and are left out.
    pub fn of(profile: &Seccomp) -> io::Result<Filter> {
        let own = tree(profile, syscalls::number, |_| None)?;
        let mut code = prologue(own.len());
        code.extend(own);
        code.extend(
            match profile.architectures.iter().any(|name| name == I386) {
                true => of_32_bits(tree(profile, syscalls_i386::number, multiplexed)?),
                false => vec![op(RETURN, MISSING, 0, 0)],
            },
        );
        if code.len() > MAX_INSTRUCTIONS {
            return Err(invalid(format!(
                "the seccomp profile makes {} instructions, the kernel takes {MAX_INSTRUCTIONS}",
                code.len()
            )));
        }
        let flags = flags(&profile.flags)?;
        Ok(Filter { code, flags })
    }

    /// For this process and all it executes, for good.
    pub fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.code.len() as libc::c_ushort,
            filter: self.code.as_ptr().cast_mut(),
        };
        // SAFETY: the pointer is to a sock_fprog whose code outlives the call; the kernel copies it.
        check_long(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                self.flags,
                &raw const program,
            )
        })
        .map_err(during("install the seccomp filter"))?;
        Ok(())
    }
}

fn flags(words: &[String]) -> io::Result<libc::c_ulong> {
    let mut flags = 0;
    for word in words {
        flags |= match word.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => libc::SECCOMP_FILTER_FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            other => {
                return Err(invalid(format!(
                    "the seccomp flag {other:?} is not supported"
                )));
            }
        };
    }
    Ok(flags)
}

fn action(word: &str, errno: Option<u32>) -> io::Result<u32> {
    let errno = errno.unwrap_or(libc::EPERM as u32) & libc::SECCOMP_RET_DATA;
    Ok(match word {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | errno,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | errno,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        other => {
            return Err(invalid(format!(
                "the seccomp action {other:?} is not supported"
            )));
        }
    })
}

/// Conditions on one argument given twice are alternatives, on different arguments they hold together
/// (what the OCI runtimes make of libseccomp).
fn alternatives(args: &[SyscallArg], verdict: u32) -> Vec<Rule> {
    let twice = (1..args.len()).any(|n| {
        let (before, rest) = args.split_at(n);
        rest.first()
            .is_some_and(|arg| before.iter().any(|b| b.index == arg.index))
    });
    if twice {
        args.iter()
            .map(|arg| (vec![arg.clone()], verdict))
            .collect()
    } else {
        vec![(args.to_vec(), verdict)]
    }
}

pub fn op(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// How 32-bit programs may make this call through another: that one's number, and the argument that says so. Its
/// own arguments are in memory, where no condition sees them: its rules hold there without them, as libseccomp has it.
fn multiplexed(name: &str) -> Option<(u32, SyscallArg)> {
    let (number, value) = syscalls_i386::multiplexed(name)?;
    let way = SyscallArg {
        index: 0,
        value: u64::from(value),
        value_two: 0,
        op: "SCMP_CMP_EQ".to_owned(),
    };
    Some((number, way))
}

/// The rules of the calls that have a number, and of those that another one makes.
fn tree(
    profile: &Seccomp,
    number_of: impl Fn(&str) -> Option<u32>,
    multiplexed: impl Fn(&str) -> Option<(u32, SyscallArg)>,
) -> io::Result<Vec<libc::sock_filter>> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut calls: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for rule in &profile.syscalls {
        let verdict = action(&rule.action, rule.errno_ret)?;
        for (number, way) in rule.names.iter().filter_map(|name| multiplexed(name)) {
            calls.entry(number).or_default().push((vec![way], verdict));
        }
        for number in rule.names.iter().filter_map(|name| number_of(name)) {
            let rules = calls.entry(number).or_default();
            rules.extend(alternatives(
                rule.args.as_deref().unwrap_or_default(),
                verdict,
            ));
        }
    }
    let leaves: Vec<(u32, Vec<libc::sock_filter>)> = calls
        .into_iter()
        .map(|(number, rules)| leaf(&rules, default).map(|code| (number, code)))
        .collect::<io::Result<_>>()?;
    Ok(search(&ranges(leaves, default)))
}

/// Another architecture's numbers mean other calls: what of them is for the profile follows `own` instructions.
fn prologue(own: usize) -> Vec<libc::sock_filter> {
    vec![
        op(LOAD, OFFSET_ARCH, 0, 0),
        op(EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        op(JUMP, own as u32 + 3, 0, 0),
        op(LOAD, OFFSET_NUMBER, 0, 0),
        op(AT_LEAST, X32, 0, 1),
        op(RETURN, MISSING, 0, 0),
    ]
}

fn of_32_bits(tree: Vec<libc::sock_filter>) -> Vec<libc::sock_filter> {
    let mut code = vec![
        op(EQUAL, AUDIT_ARCH_I386, 1, 0),
        op(RETURN, MISSING, 0, 0),
        op(LOAD, OFFSET_NUMBER, 0, 0),
    ];
    code.extend(tree);
    code
}

/// All rules of one call; ends in a return on every way.
fn leaf(rules: &[Rule], default: u32) -> io::Result<Vec<libc::sock_filter>> {
    let mut code = Vec::new();
    for (args, verdict) in rules.iter().filter(|(args, _)| !args.is_empty()) {
        code.extend(conditional(args, *verdict)?);
    }
    let plain = rules.iter().find(|(args, _)| args.is_empty());
    code.push(op(
        RETURN,
        plain.map_or(default, |(_, verdict)| *verdict),
        0,
        0,
    ));
    Ok(code)
}

fn conditional(args: &[SyscallArg], verdict: u32) -> io::Result<Vec<libc::sock_filter>> {
    // From the back: each condition jumps over all that follows when it does not hold.
    let mut code = vec![op(RETURN, verdict, 0, 0)];
    for arg in args.iter().rev() {
        let skip = u8::try_from(code.len())
            .map_err(|_| invalid("a seccomp rule has too many conditions"))?;
        let mut with = condition(arg, skip)?;
        with.append(&mut code);
        code = with;
    }
    Ok(code)
}

/// Falls through when the condition holds, else jumps `skip` instructions further than its own end.
fn condition(arg: &SyscallArg, skip: u8) -> io::Result<Vec<libc::sock_filter>> {
    if arg.index > 5 {
        return Err(invalid(format!(
            "a system call has no argument {}",
            arg.index
        )));
    }
    let at = OFFSET_ARGS + arg.index * 8;
    let (low, high) = (op(LOAD, at, 0, 0), op(LOAD, at + 4, 0, 0));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let (v_low, v_high) = halves(arg.value);
    let out = |after: u8| {
        skip.checked_add(after)
            .ok_or_else(|| invalid("a seccomp rule is too long"))
    };
    let order = |code: u16, wanted: bool| -> io::Result<Vec<libc::sock_filter>> {
        // Upper halves decide unless they are equal.
        let (yes, no) = (
            if wanted { 3 } else { out(3)? },
            if wanted { out(2)? } else { 2 },
        );
        let last = if wanted { (0, out(0)?) } else { (out(0)?, 0) };
        Ok(vec![
            high,
            op(GREATER, v_high, yes, 0),
            op(EQUAL, v_high, 0, no),
            low,
            op(code, v_low, last.0, last.1),
        ])
    };
    Ok(match arg.op.as_str() {
        "SCMP_CMP_EQ" => vec![
            low,
            op(EQUAL, v_low, 0, out(2)?),
            high,
            op(EQUAL, v_high, 0, out(0)?),
        ],
        "SCMP_CMP_NE" => vec![
            low,
            op(EQUAL, v_low, 0, 2),
            high,
            op(EQUAL, v_high, out(0)?, 0),
        ],
        "SCMP_CMP_MASKED_EQ" => {
            let (w_low, w_high) = halves(arg.value_two);
            vec![
                low,
                op(AND, v_low, 0, 0),
                op(EQUAL, w_low, 0, out(3)?),
                high,
                op(AND, v_high, 0, 0),
                op(EQUAL, w_high, 0, out(0)?),
            ]
        }
        "SCMP_CMP_GT" => order(GREATER, true)?,
        "SCMP_CMP_GE" => order(AT_LEAST, true)?,
        "SCMP_CMP_LE" => order(GREATER, false)?,
        "SCMP_CMP_LT" => order(AT_LEAST, false)?,
        other => {
            return Err(invalid(format!(
                "the seccomp comparison {other:?} is not supported"
            )));
        }
    })
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
