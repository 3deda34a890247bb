use super::*;

/// What the kernel would answer: 1 = allowed.
fn run(code: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> i32 {
    let context = [access << 16 | kind, major, minor];
    let mut r = [0_u32; 16];
    let mut pc = 0_usize;
    loop {
        let i = code[pc];
        pc += 1;
        let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        let k = i.constant.cast_unsigned();
        let skip = |yes: bool| if yes { i.offset as usize } else { 0 };
        match i.code {
            0x61 => r[to] = context[i.offset as usize / 4],
            0xbc => r[to] = r[from],
            0x54 => r[to] &= k,
            0x74 => r[to] >>= k,
            0xb4 => r[to] = k,
            0x56 => pc += skip(r[to] != k),
            0x16 => pc += skip(r[to] == k),
            0x95 => return r[0].cast_signed(),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> Rule {
    checked(&DeviceRule {
        allow,
        kind: kind.to_owned(),
        major,
        minor,
        access: access.to_owned(),
    })
    .expect("valid")
}

#[test]
fn a_default_container_has_the_default_devices_only() {
    let mut rules = vec![rule(false, "", None, None, "rwm")];
    rules.extend(always(&[]).expect("no devices"));
    let code = program(&rules);
    assert_eq!(run(&code, CHAR, READ | WRITE, 1, 3), 1);
    assert_eq!(run(&code, CHAR, READ | WRITE, 136, 7), 1);
    assert_eq!(run(&code, BLOCK, MKNOD, 254, 0), 1);
    assert_eq!(run(&code, BLOCK, READ, 254, 0), 0);
    assert_eq!(run(&code, CHAR, READ, 240, 1), 0);
    assert_eq!(run(&code, BLOCK, READ, 1, 3), 0);
}

#[test]
fn later_rules_go_before_earlier_ones() {
    let code = program(&[
        rule(true, "a", None, None, "rwm"),
        rule(false, "c", Some(10), None, "w"),
        rule(true, "c", Some(10), Some(229), "rwm"),
    ]);
    assert_eq!(run(&code, CHAR, READ | WRITE, 10, 229), 1);
    assert_eq!(run(&code, CHAR, READ | WRITE, 10, 1), 0);
    assert_eq!(run(&code, CHAR, READ, 10, 1), 1);
    assert_eq!(run(&code, BLOCK, READ | WRITE, 8, 0), 1);
}

#[test]
fn nothing_said_is_nothing_allowed() {
    assert_eq!(run(&program(&[]), CHAR, READ, 1, 3), 0);
    assert!(
        checked(&DeviceRule {
            kind: "x".to_owned(),
            ..DeviceRule::default()
        })
        .is_err()
    );
}
