//! A socket on a tap that sees a guest's frames of one kind, and answers so many of them in a second.
//! It sees frames before any ingress hook takes them away. They come from a hostile guest.

use super::sys::{Epoll, Timer, c_string, check, during, owned, read, set_option};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Frames answered in a second; then the socket is left alone until the second is over.
const MOST_PER_SECOND: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);
pub const MOST_FRAME: usize = 1518;

/// An instruction of classic BPF: code, where to when true, when false, operand.
pub type Instruction = (u16, u8, u8, u32);

pub struct Frames {
    socket: OwnedFd,
    timer: Timer,
    beat: Timer,
    next_beat: Option<Instant>,
    epoll: Epoll,
    window: Instant,
    taken: u32,
}

const SOCKET: u64 = 0;
const TIMER: u64 = 1;
const BEAT: u64 = 2;

impl Frames {
    /// Frames that `filter` takes, of the tap of the calling thread's network namespace.
    pub fn open(tap: &str, filter: &[Instruction]) -> io::Result<Self> {
        let socket = packet_socket(tap, filter).map_err(during(format!("listen on {tap}")))?;
        let (timer, beat, epoll) = (Timer::new()?, Timer::new()?, Epoll::new()?);
        epoll.add(beat.fd(), libc::EPOLLIN, BEAT)?;
        epoll.add(socket.as_raw_fd(), libc::EPOLLIN, SOCKET)?;
        epoll.add(timer.fd(), libc::EPOLLIN, TIMER)?;
        Ok(Self {
            socket,
            timer,
            beat,
            next_beat: None,
            epoll,
            window: Instant::now(),
            taken: 0,
        })
    }

    /// Readable when `on_readable` has something to do.
    pub fn fd(&self) -> RawFd {
        self.epoll.fd()
    }

    /// Becomes ready after that time even if nothing comes.
    pub fn wake_after(&mut self, after: Duration) -> io::Result<()> {
        self.next_beat = Some(Instant::now() + after);
        self.beat.start(after)
    }

    /// Whether that time is over; once.
    pub fn woke(&mut self) -> bool {
        let over = self.next_beat.is_some_and(|next| next <= Instant::now());
        if over {
            self.next_beat = None;
            self.beat.clear();
        }
        over
    }

    /// Answers what has arrived, within the limit; never waits.
    pub fn on_readable(&mut self, respond: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        if self.window.elapsed() >= SECOND {
            (self.window, self.taken) = (Instant::now(), 0);
            self.timer.clear();
            self.listen(libc::EPOLLIN);
        }
        let mut frame = [0u8; MOST_FRAME];
        while self.taken < MOST_PER_SECOND {
            // An error here is EAGAIN, or the tap is down or gone and there is no more to answer.
            let Ok(length) = read(self.socket.as_raw_fd(), &mut frame) else {
                return;
            };
            self.taken += 1;
            if let Some(answer) = frame.get(..length).and_then(&respond) {
                self.send(&answer);
            }
        }
        // What arrives meanwhile fills the socket's buffer and is then dropped by the kernel.
        self.listen(0);
        let rest = SECOND.saturating_sub(self.window.elapsed());
        let _ = self.timer.start(rest.max(Duration::from_millis(1)));
    }

    fn listen(&self, events: i32) {
        let _ = self.epoll.modify(self.socket.as_raw_fd(), events, SOCKET);
    }

    /// A frame that cannot be sent is lost as on any wire; the client asks again.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the pointer and the length describe `frame`.
        unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            );
        }
    }
}

/// For all protocols, because only such sockets see a frame before the ingress hooks that redirect it; bound to the
/// tap only once the filter is in place. Of multicast too where the tap is choosy (a macvlan).
fn packet_socket(tap: &str, filter: &[Instruction]) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
    let fd = socket.as_raw_fd();
    let filter: Vec<_> = filter
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &65_536i32)?;
    // SAFETY: all zeroes is a valid address; the pointer and the length below describe it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    let name = c_string(tap)?;
    // SAFETY: a C string; the result is checked.
    address.sll_ifindex = match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => return Err(io::Error::last_os_error()),
        index => index as i32,
    };
    // SAFETY: as above.
    check(unsafe {
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        libc::bind(fd, (&raw const address).cast(), length)
    })?;
    let member = libc::packet_mreq {
        mr_ifindex: address.sll_ifindex,
        mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &member)?;
    Ok(socket)
}

const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

pub const LDH_ABS: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
pub const LDB_ABS: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
pub const LDH_IND: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
pub const LDX_IHL: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
pub const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub const JSET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
pub const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
