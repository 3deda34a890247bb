//! Finding the program of a process inside its container, with the words that container tools look for.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::spec::Process;
use crate::sys::{c_string, check, read};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_PASSWD: usize = 1 << 20;

/// Everything execve(2) needs.
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Runs inside the container, in the process's cwd. Errors read like those of Go's os/exec, since
    /// kubelet and others match on them.
    pub fn find(process: &Process) -> io::Result<Program> {
        let name = process.args.first().map_or("", String::as_str);
        let path = if name.contains('/') {
            is_executable(name).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => words(name, &format!("stat {name}: {}", plain(&e))),
                _ => words(name, &plain(&e)),
            })?;
            name.to_owned()
        } else {
            search(name, process.variable("PATH").unwrap_or(DEFAULT_PATH))?
        };
        let list = |texts: &[String]| -> io::Result<Vec<CString>> {
            texts.iter().map(|text| c_string(text.as_str())).collect()
        };
        let mut env = list(&process.env)?;
        if process.variable("HOME").is_none_or(str::is_empty) {
            env.push(c_string(format!("HOME={}", home_of(process.user.uid)))?);
        }
        Ok(Program {
            path: c_string(path)?,
            args: list(&process.args)?,
            env,
        })
    }

    /// Only returns when it could not be executed.
    pub fn execute(&self) -> io::Error {
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            let all = texts.iter().map(|text| text.as_ptr());
            all.chain([std::ptr::null()]).collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: C strings and two arrays of them that end with null; all outlive the call.
        unsafe { libc::execve(self.path.as_ptr(), args.as_ptr(), env.as_ptr()) };
        let error = io::Error::last_os_error();
        let path = self.path.to_string_lossy();
        io::Error::new(error.kind(), format!("exec {path}: {}", plain(&error)))
    }
}

fn search(name: &str, path: &str) -> io::Result<String> {
    let mut denied = false;
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let candidate = format!("{dir}/{name}");
        match is_executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => denied |= e.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let why = if denied {
        "permission denied"
    } else {
        "executable file not found in $PATH"
    };
    Err(words(name, why))
}

fn words(name: &str, why: &str) -> io::Error {
    io::Error::other(format!("exec: {name:?}: {why}"))
}

/// The system's words as other languages print them: lower case, no number.
fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        Some(libc::EISDIR) => "is a directory".to_owned(),
        Some(libc::ENOTDIR) => "not a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn is_executable(path: &str) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: all zeroes is a valid stat, which outlives the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: C strings and a stat.
    unsafe {
        check(libc::stat(path.as_ptr(), &raw mut stat))?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if stat.st_mode & 0o111 == 0 {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        check(libc::faccessat(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS,
        ))?;
    }
    Ok(())
}

/// The home directory the container's own /etc/passwd gives a user; the file is the workload's.
fn home_of(uid: u32) -> String {
    read_passwd(c"/etc/passwd")
        .ok()
        .and_then(|text| home_in(&text, uid))
        .unwrap_or_else(|| "/".to_owned())
}

fn read_passwd(path: &CStr) -> io::Result<String> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let fd: OwnedFd = crate::sys::owned(unsafe { libc::open(path.as_ptr(), flags) })?;
    // SAFETY: all zeroes is a valid stat, which outlives the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::other("not a file"));
    }
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while text.len() < MAX_PASSWD {
        match read(&fd, &mut buffer)? {
            0 => break,
            count => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn home_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let same = fields.get(2)?.parse::<u32>().ok()? == uid;
        let home = fields.get(5).filter(|home| home.starts_with('/'))?;
        same.then(|| (*home).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, path: &str) -> Process {
        Process {
            args: vec![name.to_owned()],
            env: vec![format!("PATH={path}")],
            ..Process::default()
        }
    }

    fn failure(name: &str, path: &str) -> String {
        match Program::find(&process(name, path)) {
            Ok(_) => panic!("{name} is there"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn failures_read_as_container_tools_expect() {
        assert_eq!(
            failure("foo", "/bin:/usr/bin"),
            "exec: \"foo\": executable file not found in $PATH"
        );
        assert_eq!(
            failure("/no/such", "/bin"),
            "exec: \"/no/such\": stat /no/such: no such file or directory"
        );
        assert_eq!(
            failure("/etc/passwd", ""),
            "exec: \"/etc/passwd\": permission denied"
        );
        assert_eq!(failure("/etc", ""), "exec: \"/etc\": is a directory");
    }

    #[test]
    fn a_program_is_found_along_the_path() {
        let found = Program::find(&process("sh", "/nowhere:/bin")).expect("sh");
        assert_eq!(found.path.as_c_str(), c"/bin/sh");
    }

    #[test]
    fn homes_come_from_whole_lines_only() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken:x:7\nx:x:8:8::relative:/\nu:x:9:9::/home/u:/\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 9).as_deref(), Some("/home/u"));
        for uid in [7, 8, 10] {
            assert_eq!(home_in(passwd, uid), None);
        }
    }
}
