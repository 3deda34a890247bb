//! Connections: whether they have been made, and how they end.

use std::io;
use std::os::fd::AsRawFd;

use crate::check;

/// Whether a connection under way has been made; an error when it cannot be.
pub fn is_connected(socket: &impl AsRawFd) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd; never waits.
    if check(unsafe { libc::poll(&raw mut poll, 1, 0) })? == 0 {
        return Ok(false);
    }
    let mut error: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointers are to an int and its length.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut length,
        )
    })?;
    if error == 0 {
        Ok(true)
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// The close to come is a reset: the peer learns that its connection did not end as it should.
pub fn reset_on_close(socket: &impl AsRawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the pointer and the length describe `linger`. Where there is no such option nothing is lost.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_that_was_made_is_and_its_reset_is_no_end() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        assert!(is_connected(&client)?);
        let (server, _) = listener.accept()?;
        reset_on_close(&server);
        drop(server);
        let read = client.read(&mut [0; 1]);
        assert_eq!(
            read.map_err(|error| error.kind()),
            Err(io::ErrorKind::ConnectionReset)
        );
        Ok(())
    }
}
