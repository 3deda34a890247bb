//! The process's own root: the image, the file to write, and the host's programs, all but the file read-only.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use trine_linux::{c_string, check, check_long, during, invalid};

use crate::args::Args;

/// As mkfs.erofs sees them.
pub const IMAGE: &str = "/image";
pub const OUT: &str = "/out";
/// What a dynamically linked program needs: its libraries, and the loader's table of them.
const PROGRAMS: [&str; 4] = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache"];
/// mount(2) takes one page of options.
const MAX_OPTIONS: usize = 4000;
const QUIET: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV;

/// Moves into it.
pub fn enter(args: &Args) -> io::Result<()> {
    let namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(namespaces) }).map_err(during("make namespaces"))?;
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")
        .map_err(during("make mounts private"))?;
    let work = Path::new(&args.work);
    mount(
        "trine-rootfs",
        &args.work,
        "tmpfs",
        QUIET | libc::MS_NOEXEC,
        "mode=0755,size=1m",
    )
    .map_err(during(format!("mount a file system at {}", args.work)))?;
    for name in PROGRAMS {
        show(name, work).map_err(during(format!("show {name}")))?;
    }
    let out = inside(work, OUT);
    fs::write(&out, "")?;
    mount(&args.out, text(&out)?, "", libc::MS_BIND, "")
        .map_err(during(format!("show {}", args.out)))?;
    stack(&args.layers, work).map_err(during("mount the image"))?;
    change_root(work).map_err(during("change the root"))?;
    let flags = libc::MS_REMOUNT | libc::MS_RDONLY | QUIET | libc::MS_NOEXEC;
    mount("none", "/", "", flags, "").map_err(during("make the root read-only"))
}

fn inside(work: &Path, path: &str) -> PathBuf {
    work.join(path.trim_start_matches('/'))
}

/// A link stays one: /lib of most systems leads into /usr.
fn show(name: &str, work: &Path) -> io::Result<()> {
    let place = inside(work, name);
    let metadata = match fs::symlink_metadata(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    if metadata.is_symlink() {
        return symlink(fs::read_link(name)?, place);
    }
    if metadata.is_dir() {
        fs::create_dir(&place)?;
    } else {
        fs::write(&place, "")?;
    }
    mount(name, text(&place)?, "", libc::MS_BIND, "")?;
    mount(
        "none",
        text(&place)?,
        "",
        libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | QUIET,
        "",
    )
}

/// The layers over each other. An empty one lies below them: a single layer is then no special case, and what
/// overlayfs hides (deletions, its own attributes) it hides in the lowest one too.
fn stack(layers: &[String], work: &Path) -> io::Result<()> {
    let (image, empty) = (inside(work, IMAGE), inside(work, "/empty"));
    fs::create_dir(&image)?;
    fs::create_dir(&empty)?;
    let base = common_directory(layers);
    std::env::set_current_dir(&base)?;
    let mut lower = String::from("lowerdir=");
    for layer in layers {
        let relative = Path::new(layer)
            .strip_prefix(&base)
            .map_err(|_| invalid(layer))?;
        lower.push_str(&escaped(text(relative)?));
        lower.push(':');
    }
    lower.push_str(&escaped(text(&empty)?));
    if lower.len() > MAX_OPTIONS {
        return Err(invalid(format!(
            "{} layers do not fit into one mount",
            layers.len()
        )));
    }
    let flags = libc::MS_RDONLY | QUIET | libc::MS_NOEXEC;
    mount("trine-rootfs", text(&image)?, "overlay", flags, &lower)
}

/// The longest directory all of them lie in.
fn common_directory(layers: &[String]) -> PathBuf {
    let mut all = layers.iter().map(|layer| Path::new(layer).parent());
    let first = all.next().flatten().unwrap_or(Path::new("/"));
    let fits = |base: &&Path| {
        layers
            .iter()
            .all(|layer| Path::new(layer).starts_with(base) && Path::new(layer) != *base)
    };
    let found = first.ancestors().find(fits);
    found.unwrap_or(Path::new("/")).to_owned()
}

fn escaped(path: &str) -> String {
    path.replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace(',', "\\,")
}

fn change_root(work: &Path) -> io::Result<()> {
    std::env::set_current_dir(work)?;
    let here = c".".as_ptr();
    // SAFETY: C strings.
    unsafe {
        check_long(libc::syscall(libc::SYS_pivot_root, here, here))?;
        // The old root lies over the new one now; this takes it away.
        check(libc::umount2(here, libc::MNT_DETACH))?;
    }
    std::env::set_current_dir("/")
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| invalid(format!("{} is no text", path.display())))
}

fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let (source, target, kind, options) = (
        c_string(source)?,
        c_string(target)?,
        c_string(kind)?,
        c_string(options)?,
    );
    // SAFETY: C strings.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    })?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_from_the_longest_directory_they_share() {
        for (layers, base) in [
            (vec!["/s/1/fs", "/s/22/fs"], "/s"),
            (vec!["/s/1/fs"], "/s/1"),
            (vec!["/s/1/fs", "/s/1"], "/s"),
            (vec!["/a", "/b/c"], "/"),
        ] {
            let layers: Vec<String> = layers.into_iter().map(str::to_owned).collect();
            assert_eq!(common_directory(&layers), Path::new(base), "{layers:?}");
        }
    }

    #[test]
    fn what_separates_options_and_layers_is_escaped() {
        assert_eq!(escaped(r"a:b,c\d"), r"a\:b\,c\\d");
    }
}
