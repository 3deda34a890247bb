//! Generates the message types from the one set of .proto files in packages/proto.

use std::error::Error;
use std::path::{Path, PathBuf};

const ROOT: &str = "../../packages/proto/proto";
/// What the shim speaks; the other packages under ROOT are not its business.
const PARTS: [&str; 2] = ["containerd", "trine"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let mut files = Vec::new();
    for part in PARTS {
        collect(&Path::new(ROOT).join(part), &mut files)?;
    }
    files.sort();

    let descriptors = protox::compile(&files, [ROOT])?;
    prost_build::Config::new()
        .include_file("messages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
