//! The private socket as zbus sees it.
//!
//! zbus has a transport for UNIX sockets, but that one looks up the names and groups of each peer
//! through NSS before it answers. Ours knows the peer already, and no directory server that does not
//! answer can stand between a launcher and the daemon.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::UnixStream;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;

use crate::sys::socket::{receive_now, send_now, shut_down};

/// A connection whose peer the kernel has vouched for.
#[derive(Debug)]
pub(super) struct Transport {
    /// The connection.
    pub(super) stream: UnixStream,
    /// The effective user ID of the process at the other end.
    pub(super) uid: u32,
}

impl Socket for Transport {
    type ReadHalf = Half;
    type WriteHalf = Half;

    fn split(self) -> Split<Half, Half> {
        let half = Half {
            stream: Arc::new(self.stream),
            uid: self.uid,
        };
        Split::new(half.clone(), half)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Half {
    stream: Arc<UnixStream>,
    uid: u32,
}

impl Half {
    fn credentials(&self) -> ConnectionCredentials {
        ConnectionCredentials::default().set_unix_user_id(self.uid)
    }
}

#[async_trait]
impl ReadHalf for Half {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let stream = &*self.stream;
        stream
            .async_io(Interest::READABLE, || receive_now(stream, buffer))
            .await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        Ok(self.credentials())
    }
}

#[async_trait]
impl WriteHalf for Half {
    async fn sendmsg(&mut self, buffer: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let stream = &*self.stream;
        stream
            .async_io(Interest::WRITABLE, || send_now(stream, buffer, fds))
            .await
    }

    async fn close(&mut self) -> io::Result<()> {
        shut_down(&*self.stream)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        Ok(self.credentials())
    }
}
