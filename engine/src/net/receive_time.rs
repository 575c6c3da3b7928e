//! Receive timestamps of datagrams, from which clients estimate their bandwidth (transport-cc). On a busy machine the media thread
//! reads datagrams late and in bursts, so the time of reading would look like a congested network.

pub(crate) use system::{enable, receive};

#[cfg(target_os = "linux")]
mod system {
    use std::io::{self, IoSliceMut};
    use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, cmsg_space, recvmsg, setsockopt};
    use nix::sys::time::TimeSpec;
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    /// Buffer for one timestamp control message.
    #[repr(align(8))]
    struct Control([u8; cmsg_space::<TimeSpec>()]);

    /// Maximum age of a datagram when it is read. A larger age is cut to this, because it more likely means that the system clock
    /// was set.
    const MAX_AGE: Duration = Duration::from_secs(1);

    /// Enables receive timestamps (`SO_TIMESTAMPNS`).
    pub(crate) fn enable(socket: &UdpSocket) {
        // On failure, the time of reading is used.
        let _ = setsockopt(socket, ReceiveTimestampns, &true);
    }

    pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Instant)> {
        let (mut parts, mut control) = ([IoSliceMut::new(buffer)], Control([0; _]));
        socket.try_io(Interest::READABLE, || {
            let fd = socket.as_raw_fd();
            let received = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control.0), MsgFlags::empty())?;
            let source = received.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
            let time = received.cmsgs().into_iter().flatten().find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
            Ok((received.bytes, source, instant(time)))
        })
    }

    fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
        let ipv4 = address.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
        ipv4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddrV6::from(*address).into()))
    }

    /// Converts a timestamp, in system time since the Unix epoch, to monotonic time. Without a timestamp, now.
    fn instant(time: Option<Duration>) -> Instant {
        let now = Instant::now();
        let age = time.and_then(|time| SystemTime::now().duration_since(UNIX_EPOCH + time).ok()).unwrap_or_default();
        now.checked_sub(age.min(MAX_AGE)).unwrap_or(now)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Instant;

    use tokio::net::UdpSocket;

    pub(crate) fn enable(_: &UdpSocket) {}

    pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Instant)> {
        socket.try_recv_from(buffer).map(|(length, source)| (length, source, Instant::now()))
    }
}
