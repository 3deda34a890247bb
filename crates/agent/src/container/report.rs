//! The line between the agent and a child that is not yet its program: a socket of messages, closed by exec.
//! Child: `T` + the terminal's descriptor, `R` ready, `E` + what failed. Agent: one byte, start; before that, to a
//! child that does not know its container yet, the request for it and its standard input, output and error.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::sys::{above_stdio, check, is_not_now, read, write};

const MAX_TEXT: usize = 2048;
/// Bytes of a request; what is longer may not fit into the socket in one piece.
pub const MAX_ORDER: usize = 64 << 10;
const MAX_FDS: usize = 3;

/// The child's end.
pub struct Report(OwnedFd);

#[derive(Debug)]
pub enum Message {
    Ready,
    Terminal(OwnedFd),
    Failed(String),
    /// The program runs, or the child has died.
    Closed,
    NothingYet,
}

/// (agent's end, non-blocking; child's end)
pub fn pair() -> io::Result<(OwnedFd, Report)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the pointer is to two ints.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [ours, theirs] = ends;
    let (ours, theirs) = (crate::sys::owned(ours)?, crate::sys::owned(theirs)?);
    crate::sys::set_nonblocking(&ours)?;
    Ok((ours, Report(theirs)))
}

impl Report {
    pub fn above_stdio(self) -> io::Result<Report> {
        above_stdio(self.0).map(Report)
    }

    pub fn ready(&self) -> io::Result<()> {
        write(&self.0, b"R").map(|_| ())
    }

    /// Nobody is left to tell when this fails.
    pub fn failed(&self, error: &io::Error) {
        let mut text = format!("E{error}").into_bytes();
        text.truncate(MAX_TEXT);
        let _ = write(&self.0, &text);
    }

    pub fn terminal(&self, master: &OwnedFd) -> io::Result<()> {
        send_fds(&self.0, b"T", &[master.as_raw_fd()])
    }

    /// Waits for the request and the descriptors of a container. An agent that needs no container closes its end.
    pub fn wait_for_order(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut request = vec![0; MAX_ORDER];
        loop {
            match receive_fds(self.0.as_raw_fd(), &mut request) {
                Ok((0, _)) => return Err(io::Error::other("no container has come")),
                Ok((count, passed)) => {
                    request.truncate(count);
                    return Ok((request, passed));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// An agent that has forgotten the process closes its end.
    pub fn wait_for_start(&self) -> io::Result<()> {
        let mut byte = [0];
        loop {
            match read(&self.0, &mut byte) {
                Ok(0) => return Err(io::Error::other("given up before it was started")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for Report {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The next message at the agent's end.
pub fn receive(fd: &impl AsRawFd) -> io::Result<Message> {
    let mut text = [0_u8; MAX_TEXT];
    let (count, mut passed) = match receive_fds(fd.as_raw_fd(), &mut text) {
        Err(error) if is_not_now(&error) => return Ok(Message::NothingYet),
        // Some kernels tell of a peer that died with unread data in this way.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Message::Closed),
        other => other?,
    };
    let (kind, rest) = match text.get(..count).and_then(<[u8]>::split_first) {
        None => return Ok(Message::Closed),
        Some(split) => split,
    };
    match (kind, passed.pop()) {
        (b'R', _) => Ok(Message::Ready),
        (b'T', Some(fd)) => Ok(Message::Terminal(fd)),
        (b'E', _) => Ok(Message::Failed(String::from_utf8_lossy(rest).into_owned())),
        _ => Err(io::Error::other("a child's report makes no sense")),
    }
}

/// Room for the control message of three descriptors, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// At most three descriptors.
pub fn send_fds(socket: &impl AsRawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let length = size_of_val(fds) as u32;
    let mut control = Control([0; 32]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a valid msghdr; every pointer outlives the call; the control buffer has room for
    // the header and three descriptors.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            let to = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, fd) in fds.iter().enumerate() {
                to.add(index).write_unaligned(*fd);
            }
        }
        let flags = libc::MSG_NOSIGNAL;
        crate::sys::check_long(libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) as _)?;
    }
    Ok(())
}

fn receive_fds(socket: RawFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control([0; 32]);
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a valid msghdr; every pointer outlives the calls; the kernel gives each received
    // descriptor to nobody else.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let count = libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC);
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Ok((count, Vec::new()));
        }
        let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
        let from = libc::CMSG_DATA(header).cast::<RawFd>();
        let fds = (0..length / size_of::<RawFd>()).map(|index| from.add(index).read_unaligned());
        Ok((count, fds.map(|fd| OwnedFd::from_raw_fd(fd)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (ours, theirs) = pair().expect("pair");
        assert!(matches!(receive(&ours), Ok(Message::NothingYet)));
        let (reader, writer) = crate::sys::pipe().expect("pipe");
        theirs.terminal(&writer).expect("sent");
        theirs.ready().expect("sent");
        theirs.failed(&io::Error::other("x".repeat(5000)));
        drop((theirs, writer));
        let Ok(Message::Terminal(writer)) = receive(&ours) else {
            panic!("no descriptor")
        };
        write(&writer, b"!").expect("the same pipe");
        assert_eq!(read(&reader, &mut [0]).expect("read"), 1);
        assert!(matches!(receive(&ours), Ok(Message::Ready)));
        assert!(matches!(receive(&ours), Ok(Message::Failed(t)) if t.len() == MAX_TEXT - 1));
        assert!(matches!(receive(&ours), Ok(Message::Closed)));
    }
}
