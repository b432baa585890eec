//! Sockets: listeners, accepting, receiving and sending, all non-blocking and close-on-exec.
//!
//! Deliberately absent: buffering, and names (an address is an address).

use super::failure::{failed, os_code};
use crate::limits::SENDV_PIECES;
use nix::errno::Errno;
use nix::sys::socket::{
    self as os, AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, SockaddrLike,
    SockaddrStorage, UnixAddr, sockopt,
};
use std::fmt;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Unanswered keepalive probes after which the peer is taken for dead.
const KEEPALIVE_PROBES: u32 = 3;

const NONBLOCKING: SockFlag = SockFlag::SOCK_NONBLOCK.union(SockFlag::SOCK_CLOEXEC);

/// Where a socket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP end.
    Tcp(SocketAddr),
    /// A unix socket; the path is empty for an end without a name.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// `ip:port`, `[ip]:port` for version 6, `path:0` for a unix socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "{}:0", path.display()),
        }
    }
}

/// How a TCP listener is opened.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: i32,
    /// A version 6 address does not take version 4 peers too.
    pub v6_only: bool,
    /// Several sockets share the port, and the kernel deals out the arrivals.
    pub reuse_port: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 511, v6_only: true, reuse_port: false }
    }
}

/// Opens a listener on `address`; port 0 takes any free one (see [`local_name`]).
pub fn listen_tcp(address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
    let open = || -> nix::Result<OwnedFd> {
        let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = os::socket(family, SockType::Stream, NONBLOCKING, None)?;
        os::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if options.reuse_port {
            os::setsockopt(&fd, sockopt::ReusePort, &true)?;
        }
        if address.is_ipv6() {
            os::setsockopt(&fd, sockopt::Ipv6V6Only, &options.v6_only)?;
        }
        os::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        os::listen(&fd, backlog(options.backlog))?;
        Ok(fd)
    };
    open().map_err(|cause| failed(format!("listen on {address}"), cause))
}

/// Opens a listener on a unix socket. A socket that lies there already is replaced (nobody can
/// tell a live one from a dead one without connecting); anything else there is an error. `mode`
/// are the permission bits of the new one, if not what the umask leaves.
pub fn listen_unix(path: &Path, mode: Option<u32>, backlog_len: i32) -> io::Result<OwnedFd> {
    let what = || format!("listen on unix socket {}", path.display());
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path).map_err(|cause| failed(what(), cause))?;
    }
    let open = || -> nix::Result<OwnedFd> {
        let fd = os::socket(AddressFamily::Unix, SockType::Stream, NONBLOCKING, None)?;
        os::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(fd)
    };
    let fd = open().map_err(|cause| failed(what(), cause))?;
    // The mode before the listening: nobody gets in whom it keeps out.
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|cause| failed(what(), cause))?;
    }
    os::listen(&fd, backlog(backlog_len)).map_err(|cause| failed(what(), cause))?;
    Ok(fd)
}

fn backlog(wanted: i32) -> Backlog {
    Backlog::new(wanted.max(1)).unwrap_or(Backlog::MAXCONN)
}

/// Begins to connect to `address`. The socket is writable when that has come to an end; whether it
/// was a good one, [`take_error`] tells.
pub fn connect_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let open = || -> nix::Result<OwnedFd> {
        let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = os::socket(family, SockType::Stream, NONBLOCKING, None)?;
        match os::connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
            Err(cause) => Err(cause),
        }
    };
    open().map_err(|cause| failed(format!("connect to {address}"), cause))
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its descriptor.
    pub fd: OwnedFd,
    /// Who is at the other end.
    pub peer: Address,
}

/// Takes one waiting connection. `WouldBlock` when none waits; see [`is_fd_exhaustion`] and
/// [`is_transient_accept_error`] for the others.
pub fn accept(listener: impl AsFd) -> io::Result<Accepted> {
    let mut peer = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: [sys-012] I-SYSCALL: `peer` has room for `len` bytes, and both outlive the call.
    let fd = Errno::result(unsafe {
        libc::accept4(
            listener.as_fd().as_raw_fd(),
            peer.as_mut_ptr().cast(),
            &mut len,
            NONBLOCKING.bits(),
        )
    })?;
    // SAFETY: [sys-013] I-FD: the call has just made this descriptor, for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: [sys-014] I-SYSCALL: the kernel has written `len` bytes of it, the rest is zero.
    let peer = unsafe { SockaddrStorage::from_raw(peer.as_ptr().cast(), Some(len)) };
    Ok(Accepted { fd, peer: peer.as_ref().map_or(Address::Unix(PathBuf::new()), address_of) })
}

/// Receives into `buf`; 0 at the end of the stream, `WouldBlock` when there is nothing.
#[inline]
pub fn recv(fd: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match os::recv(fd.as_fd().as_raw_fd(), buf, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Receives at most `room` bytes to `start` on; as [`recv`], but the memory need not be
/// initialised. Exactly the bytes returned are, afterwards.
///
/// # Safety
///
/// `room` bytes from `start` on may be written, and nobody else uses them meanwhile.
pub(super) unsafe fn recv_raw(fd: impl AsFd, start: *mut u8, room: usize) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    loop {
        // SAFETY: [sys-015] I-SYSCALL: the caller owns `room` bytes from `start` on.
        match Errno::result(unsafe { libc::recv(fd, start.cast(), room, 0) }) {
            Err(Errno::EINTR) => {}
            result => return Ok(result? as usize),
        }
    }
}

/// Sends from `bytes` and returns how many were taken. No signal if the peer is gone.
#[inline]
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match os::send(fd.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Sends the pieces one after the other in one call and returns how many bytes were taken. Of
/// more than [`SENDV_PIECES`] pieces the first ones.
pub fn sendv(fd: impl AsFd, pieces: &[&[u8]]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SENDV_PIECES];
    let count = pieces.len().min(SENDV_PIECES);
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    let fd = fd.as_fd().as_raw_fd();
    loop {
        match os::sendmsg::<()>(fd, &slices[..count], &[], MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Small packets leave at once instead of waiting for more. Does nothing for a unix socket.
pub fn set_nodelay(fd: impl AsFd) -> io::Result<()> {
    match os::setsockopt(&fd, sockopt::TcpNoDelay, &true) {
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(cause) => Err(failed("set TCP_NODELAY", cause)),
    }
}

/// Probes a silent peer after `seconds`, thrice at most, a third of that time apart, and then
/// gives it up. 0 turns the probes off. Does nothing for a unix socket.
pub fn set_keepalive(fd: impl AsFd, seconds: u32) -> io::Result<()> {
    let set = || -> nix::Result<()> {
        os::setsockopt(&fd, sockopt::KeepAlive, &(seconds > 0))?;
        if seconds > 0 {
            os::setsockopt(&fd, sockopt::TcpKeepIdle, &seconds)?;
            os::setsockopt(&fd, sockopt::TcpKeepInterval, &(seconds / KEEPALIVE_PROBES).max(1))?;
            os::setsockopt(&fd, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
        }
        Ok(())
    };
    match set() {
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(cause) => Err(failed("set TCP keepalive", cause)),
    }
}

/// Tells the peer that nothing more comes. A peer that is gone already is no error.
pub fn shutdown_write(fd: impl AsFd) -> io::Result<()> {
    shut(fd, Shutdown::Write)
}

/// Ends both directions at once: whoever holds the descriptor sees a hang-up. A peer that is gone
/// already is no error.
pub fn shutdown_both(fd: impl AsFd) -> io::Result<()> {
    shut(fd, Shutdown::Both)
}

fn shut(fd: impl AsFd, how: Shutdown) -> io::Result<()> {
    match os::shutdown(fd.as_fd().as_raw_fd(), how) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(cause) => Err(failed("shut a socket down", cause)),
    }
}

/// The error that the kernel holds for the socket (`SO_ERROR`), which is cleared by asking.
pub fn take_error(fd: impl AsFd) -> io::Result<Option<io::Error>> {
    let code = os::getsockopt(&fd, sockopt::SocketError)
        .map_err(|cause| failed("ask for a socket's error", cause))?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Address of the other end.
pub fn peer_name(fd: impl AsFd) -> io::Result<Address> {
    let name = os::getpeername::<SockaddrStorage>(fd.as_fd().as_raw_fd());
    name.map(|name| address_of(&name)).map_err(|cause| failed("ask for a peer's address", cause))
}

/// Address of this end.
pub fn local_name(fd: impl AsFd) -> io::Result<Address> {
    let name = os::getsockname::<SockaddrStorage>(fd.as_fd().as_raw_fd());
    name.map(|name| address_of(&name)).map_err(|cause| failed("ask for a local address", cause))
}

fn address_of(name: &SockaddrStorage) -> Address {
    if let Some(v4) = name.as_sockaddr_in() {
        Address::Tcp(SocketAddr::V4((*v4).into()))
    } else if let Some(v6) = name.as_sockaddr_in6() {
        Address::Tcp(SocketAddr::V6((*v6).into()))
    } else {
        let path = name.as_unix_addr().and_then(UnixAddr::path);
        Address::Unix(path.map(Path::to_path_buf).unwrap_or_default())
    }
}

/// The process or the system is out of descriptors: accepting pauses until some are closed.
pub fn is_fd_exhaustion(error: &io::Error) -> bool {
    matches!(os_code(error), Some(libc::EMFILE | libc::ENFILE))
}

/// An error of one arrival that is no error of the listener: go on with the next. (Linux passes
/// errors that lie on the new socket on to `accept`.)
pub fn is_transient_accept_error(error: &io::Error) -> bool {
    matches!(
        os_code(error),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::ETIMEDOUT
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    fn tcp_address(listener: &OwnedFd) -> SocketAddr {
        match local_name(listener).expect("a listener has a name") {
            Address::Tcp(address) => address,
            Address::Unix(path) => panic!("a TCP listener at {}", path.display()),
        }
    }

    /// The handshake is over when `connect` returns, so there is no waiting.
    fn tcp_pair() -> (TcpStream, Accepted) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen_tcp(any, ListenOptions::default()).expect("a free port");
        let far = TcpStream::connect(tcp_address(&listener)).expect("the listener is open");
        (far, accept(&listener).expect("one waits"))
    }

    #[test]
    fn accepting_gives_a_non_blocking_socket_and_its_peer() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen_tcp(any, ListenOptions::default()).expect("a free port");
        let none = accept(&listener).expect_err("nobody waits");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        assert!(!is_transient_accept_error(&none) && !is_fd_exhaustion(&none));

        let address = tcp_address(&listener);
        let far = TcpStream::connect(address).expect("the listener is open");
        let near = accept(&listener).expect("one waits");
        let far_name = far.local_addr().expect("a connected socket");
        assert_eq!(near.peer, Address::Tcp(far_name));
        assert_eq!(near.peer.to_string(), far_name.to_string());
        assert_eq!(peer_name(&near.fd).ok(), Some(near.peer));
        assert_eq!(local_name(&near.fd).ok(), Some(Address::Tcp(address)));
        set_nodelay(&near.fd).expect("a TCP socket");
        set_keepalive(&near.fd, 300).expect("a TCP socket");
        set_keepalive(&near.fd, 1).expect("a TCP socket");
        set_keepalive(&near.fd, 0).expect("a TCP socket");
        let empty = recv(&near.fd, &mut [0; 8]).expect_err("nothing was sent");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);

        let taken = listen_tcp(address, ListenOptions::default()).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(&address.to_string()), "{taken}");
    }

    #[test]
    fn a_descriptor_is_closed_with_its_owner() {
        let (mut far, near) = tcp_pair();
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).ok(), Some(0), "the end");
    }

    #[test]
    fn version_6_shows_its_address_in_brackets() {
        let any = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
        let Ok(listener) = listen_tcp(any, ListenOptions::default()) else {
            // A machine without version 6.
            return;
        };
        let _far = TcpStream::connect(tcp_address(&listener)).expect("the listener is open");
        let near = accept(&listener).expect("one waits");
        assert!(near.peer.to_string().starts_with("[::1]:"), "{}", near.peer);
    }

    #[test]
    fn a_shared_port_can_be_opened_twice() {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let first = listen_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), options);
        let first = first.expect("a free port");
        listen_tcp(tcp_address(&first), options).expect("the port is shared");
    }

    #[test]
    fn bytes_go_both_ways_and_the_end_is_seen() {
        let (mut far, near) = tcp_pair();
        assert_eq!(send(&near.fd, b"one").ok(), Some(3));
        let pieces: [&[u8]; 4] = [b" two", b"", b" three", b"!"];
        assert_eq!(sendv(&near.fd, &pieces).ok(), Some(11));
        assert_eq!(sendv(&near.fd, &[]).ok(), Some(0));
        let mut got = [0; 14];
        far.read_exact(&mut got).expect("it was sent");
        assert_eq!(&got, b"one two three!");

        far.write_all(b"question").expect("the peer is there");
        far.shutdown(std::net::Shutdown::Write).expect("the peer is there");
        let mut buf = [0; 64];
        let mut len = 0;
        // Loopback: what was written is there at once, but the end may come after it.
        while len < 8 {
            len += recv(&near.fd, &mut buf[len..]).expect("it was sent");
        }
        assert_eq!(&buf[..len], b"question");
        assert_eq!(recv(&near.fd, &mut buf).ok(), Some(0), "the end");
        assert_eq!(send(&near.fd, b"answer").ok(), Some(6), "half-closed is not closed");
        shutdown_write(&near.fd).expect("the peer is there");
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).expect("it was sent");
        assert_eq!(answer, b"answer");
    }

    #[test]
    fn more_pieces_than_one_call_takes_are_left() {
        let (mut far, near) = tcp_pair();
        let pieces = vec![b"x".as_slice(); SENDV_PIECES + 10];
        assert_eq!(sendv(&near.fd, &pieces).ok(), Some(SENDV_PIECES));
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).expect("it was sent");
        assert_eq!(got.len(), SENDV_PIECES);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_of_send() {
        let (far, near) = UnixStream::pair().expect("a socket pair");
        drop(far);
        let error = send(&near, b"x").expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let error = sendv(&near, &[b"x"]).expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        shutdown_both(&near).expect("a peer that is gone is no error here");
        assert!(take_error(&near).expect("a socket").is_none());
    }

    #[test]
    fn a_full_socket_would_block() {
        let (_far, near) = UnixStream::pair().expect("a socket pair");
        near.set_nonblocking(true).expect("a socket option");
        let chunk = [0; 64 * 1024];
        let error = loop {
            if let Err(error) = send(&near, &chunk) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_unix_listener_replaces_a_socket_but_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("socket");
        drop(listen_unix(&path, None, 16).expect("a free path"));
        assert!(path.exists(), "what is left of a listener that died");
        let listener = listen_unix(&path, Some(0o600), 16).expect("a dead socket is replaced");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut far = UnixStream::connect(&path).expect("the listener is open");
        let near = accept(&listener).expect("one waits");
        assert_eq!(near.peer, Address::Unix(PathBuf::new()));
        assert_eq!(near.peer.to_string(), ":0");
        assert_eq!(local_name(&near.fd).ok(), Some(Address::Unix(path.clone())));
        assert_eq!(peer_name(&near.fd).ok(), Some(near.peer));
        set_nodelay(&near.fd).expect("nothing to do");
        set_keepalive(&near.fd, 60).expect("nothing to do");
        far.write_all(b"hi").expect("the peer is there");
        assert_eq!(recv(&near.fd, &mut [0; 8]).ok(), Some(2));

        let file = dir.path().join("file");
        fs::write(&file, "precious").expect("the test's own directory");
        let error = listen_unix(&file, None, 16).expect_err("that is no socket");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&file).expect("it is still there"), b"precious");
        let long = dir.path().join("x".repeat(200));
        assert!(listen_unix(&long, None, 16).is_err(), "longer than the kernel takes");
    }

    #[test]
    fn errors_of_accept_are_told_apart() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = io::Error::from_raw_os_error(code);
            assert!(is_fd_exhaustion(&error) && !is_transient_accept_error(&error));
        }
        for code in [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN] {
            let error = io::Error::from_raw_os_error(code);
            assert!(is_transient_accept_error(&error) && !is_fd_exhaustion(&error));
        }
        for code in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            let error = io::Error::from_raw_os_error(code);
            assert!(!is_transient_accept_error(&error) && !is_fd_exhaustion(&error));
        }
    }
}
