//! What is done for each number of a system call, as a binary search.

use super::seccomp::{AT_LEAST, JUMP, RETURN, op};

/// (first number, code) for every stretch of numbers that is treated alike, from 0 on.
pub fn ranges(
    leaves: Vec<(u32, Vec<libc::sock_filter>)>,
    default: u32,
) -> Vec<(u32, Vec<libc::sock_filter>)> {
    let otherwise = || vec![op(RETURN, default, 0, 0)];
    let mut ranges: Vec<(u32, Vec<libc::sock_filter>)> = Vec::new();
    let mut next = 0;
    let mut add = |first: u32, code: Vec<libc::sock_filter>| {
        if !ranges.last().is_some_and(|(_, last)| same(last, &code)) {
            ranges.push((first, code));
        }
    };
    for (number, code) in leaves {
        if number > next {
            add(next, otherwise());
        }
        add(number, code);
        next = number + 1;
    }
    add(next, otherwise());
    ranges
}

fn same(a: &[libc::sock_filter], b: &[libc::sock_filter]) -> bool {
    let parts = |i: &libc::sock_filter| (i.code, i.jt, i.jf, i.k);
    a.iter().map(parts).eq(b.iter().map(parts))
}

pub fn search(ranges: &[(u32, Vec<libc::sock_filter>)]) -> Vec<libc::sock_filter> {
    if let [(_, code)] = ranges {
        return code.clone();
    }
    let (before, after) = ranges.split_at(ranges.len() / 2);
    let Some((pivot, _)) = after.first() else {
        return Vec::new();
    };
    let (low, high) = (search(before), search(after));
    // The long jump: conditional ones reach 255 instructions only.
    let mut code = vec![op(AT_LEAST, *pivot, 0, 1), op(JUMP, low.len() as u32, 0, 0)];
    code.extend(low);
    code.extend(high);
    code
}
