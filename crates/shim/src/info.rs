//! `-info`: what containerd 2.x asks of every configured runtime.

use std::io::{self, Write};

use crate::args::Args;

/// A RuntimeInfo: 1 name, 2 version {1 version}; options and features are left out.
pub fn info(args: &Args) -> io::Result<()> {
    let mut out = Vec::new();
    put(&mut out, 1, args.runtime.as_bytes());
    let mut version = Vec::new();
    put(&mut version, 1, env!("CARGO_PKG_VERSION").as_bytes());
    put(&mut out, 2, &version);
    io::stdout().write_all(&out)
}

/// One length-delimited field: the message has two, which need no generated type.
fn put(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f | 0x80) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
