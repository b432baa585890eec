//! Receiving and sending, with the answers of the kernel sorted.

use crate::resp::OutQueue;
use crate::sys::bulk::BulkBuf;
use crate::sys::socket;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

/// Pieces given to one `sendmsg`.
const SEND_PIECES: usize = 16;

/// What a receive found.
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// No byte now.
    Nothing,
    /// No byte ever again.
    End,
    /// The connection is broken.
    Failed,
}

/// The peer is gone; what was not sent never will be.
#[derive(Debug)]
pub(super) struct Gone;

pub(super) fn receive(fd: &OwnedFd, buf: &mut [u8]) -> Received {
    sort(socket::recv(fd.as_fd(), buf))
}

pub(super) fn receive_bulk(fd: &OwnedFd, bulk: &mut BulkBuf, most: usize) -> Received {
    sort(bulk.recv_from(fd.as_fd(), most))
}

fn sort(got: std::io::Result<usize>) -> Received {
    match got {
        Ok(0) => Received::End,
        Ok(len) => Received::Bytes(len),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
        Err(_) => Received::Failed,
    }
}

/// Sends what `released` lets go. True when the socket is full and says when it is not.
pub(super) fn send_all(fd: &OwnedFd, out: &mut OutQueue, released: u64) -> Result<bool, Gone> {
    loop {
        let sent = match out.plain() {
            Some([]) => return Ok(false),
            Some(bytes) => socket::send(fd.as_fd(), bytes),
            None => {
                let (pieces, count) = out.pieces::<SEND_PIECES>(released);
                match count {
                    0 => return Ok(false),
                    1 => socket::send(fd.as_fd(), pieces[0]),
                    _ => socket::sendv(fd.as_fd(), &pieces[..count]),
                }
            }
        };
        match sent {
            Ok(bytes) => out.consume(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Err(Gone),
        }
    }
}
