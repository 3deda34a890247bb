//! Modules of the guest's kernel: those of the boot list, and those the kernel asks for when a program needs one.
//! For these the agent is what the kernel knows as modprobe; which there are says a table of the guest image's.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use crate::sys::{check_long, during, open};

const AT_BOOT: &str = "/etc/trine/modules";
/// A line a module: `NAME NEEDED,NEEDED ALIAS…`, the needed ones in load order, `-` for none.
const ON_DEMAND: &str = "/etc/trine/modules.on-demand";
const DIRECTORY: &str = "/lib/modules";
/// Where the kernel finds its modprobe, and where the guest image has this program.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";
const SELF: &str = "/init";
/// Without these the old iptables finds nothing to ask the kernel of.
const FOR_NET_ADMIN: [&str; 2] = ["ip_tables", "ip6_tables"];

/// Loads the files named in the list, in order; one that is built in or loaded already is no error.
pub fn load_at_boot() -> io::Result<()> {
    let list = match fs::read_to_string(AT_BOOT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(during(AT_BOOT))?,
    };
    for path in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        load(path).map_err(during(format!("load module {path}")))?;
    }
    if fs::exists(ON_DEMAND)? {
        fs::write(MODPROBE, SELF).map_err(during(MODPROBE))?;
    }
    Ok(())
}

/// What the kernel asks for: it starts its modprobe with `-q -- NAME`.
pub fn asked_for(mut arguments: impl Iterator<Item = String>) -> Option<String> {
    (arguments.next()? == "-q" && arguments.next()? == "--")
        .then(|| arguments.next())
        .flatten()
}

/// Loads what a name stands for, with all that it needs.
pub fn load_on_demand(name: &str) -> ExitCode {
    match by_name(name) {
        Ok(true) => ExitCode::SUCCESS,
        // The kernel tells whoever asked for it.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("trine-agent: module {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes ready what a container with CAP_NET_ADMIN finds on a host that has used iptables before. Best effort:
/// kernels have it built in, or not at all.
pub fn prepare_net_admin() {
    for name in FOR_NET_ADMIN {
        let _ = by_name(name);
    }
}

/// False: the guest image has nothing of that name.
fn by_name(name: &str) -> io::Result<bool> {
    let table = match fs::read_to_string(ON_DEMAND) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(during(ON_DEMAND))?,
    };
    let files = files_for(&table, name);
    for file in &files {
        load(&format!("{DIRECTORY}/{file}.ko")).map_err(during(format!("load module {file}")))?;
    }
    Ok(!files.is_empty())
}

/// Of each module that the name stands for: what it needs, then itself.
fn files_for<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let wanted = name.replace('-', "_");
    let mut files = Vec::new();
    for line in table.lines() {
        let mut words = line.split(' ');
        let (Some(module), Some(needed)) = (words.next(), words.next()) else {
            continue;
        };
        if module != wanted && !words.any(|alias| alias.replace('-', "_") == wanted) {
            continue;
        }
        files.extend(needed.split(',').filter(|file| *file != "-"));
        files.push(module);
    }
    files
}

fn load(path: &str) -> io::Result<()> {
    let file = open(path, libc::O_RDONLY)?;
    // SAFETY: a C string.
    let loaded = check_long(unsafe {
        libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0)
    });
    match loaded {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "nfnetlink - net-pf-16-proto-12\n\
        nf_tables nfnetlink,libcrc32c nfnetlink-subsys-10\n\
        nft_chain_nat nfnetlink,nf_tables,nf_nat nft-chain-1-nat nft-chain-2-nat\n";

    #[test]
    fn a_name_or_an_alias_leads_to_a_module_and_what_it_needs() {
        assert_eq!(
            files_for(TABLE, "nft-chain-2-nat"),
            ["nfnetlink", "nf_tables", "nf_nat", "nft_chain_nat"]
        );
        assert_eq!(files_for(TABLE, "net-pf-16-proto-12"), ["nfnetlink"]);
        assert_eq!(
            files_for(TABLE, "nf-tables"),
            ["nfnetlink", "libcrc32c", "nf_tables"]
        );
        assert!(files_for(TABLE, "nf").is_empty());
        assert!(files_for(TABLE, "-").is_empty());
    }

    #[test]
    fn the_kernels_words_are_understood_and_no_others() {
        let asked = |words: &[&str]| asked_for(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(
            asked(&["-q", "--", "nf_tables"]),
            Some("nf_tables".to_owned())
        );
        assert_eq!(asked(&["--port", "x"]), None);
        assert_eq!(asked(&["-q", "--"]), None);
    }
}
