//! One listening socket: prepared, listening, closed.

use crate::AddressError;
use crate::kernel::NetNamespace;
use crate::linux::LinuxError;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 1024;
/// A release accepts at most this many waiting connections, so that a flood cannot hold it up.
const DRAIN_LIMIT: usize = 8192;

fn failed(what: &'static str, at: SocketAddr) -> impl Fn(io::Error) -> AddressError {
    move |source| match source.kind() {
        ErrorKind::AddrInUse => AddressError::Busy { at },
        _ => AddressError::Socket { what, at, source },
    }
}

/// A socket that is bound but not listening: clients are refused, and taking over is one `listen` away.
pub(crate) fn prepare(at: SocketAddr) -> Result<Socket, AddressError> {
    bound(at, |_| Ok(()))
}

/// The same, in a network namespace and for an address that is not there yet (`IP_FREEBIND`).
pub(crate) fn prepare_anywhere(namespace: &NetNamespace, at: SocketAddr) -> Result<Socket, AddressError> {
    let freely = |socket: &Socket| match at {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    };
    namespace.inside(|| bound(at, freely)).map_err(LinuxError::from)?
}

fn bound(at: SocketAddr, with: impl FnOnce(&Socket) -> io::Result<()>) -> Result<Socket, AddressError> {
    let fail = failed("bind", at);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP)).map_err(&fail)?;
    // REUSEPORT lets two owners listen at once. REUSEADDR lets a restarted node bind although connections of
    // its dead predecessor are not quite gone (as orphans they belong to no user, which REUSEPORT minds).
    socket.set_reuse_address(true).map_err(&fail)?;
    socket.set_reuse_port(true).map_err(&fail)?;
    socket.set_nonblocking(true).map_err(&fail)?;
    with(&socket).map_err(&fail)?;
    socket.bind(&at.into()).map_err(&fail)?;
    Ok(socket)
}

/// A listening socket.
pub(crate) struct Listening {
    control: Socket,
    at: SocketAddr,
    pub(crate) listener: tokio::net::TcpListener,
}

impl Listening {
    pub(crate) fn open(prepared: Socket, at: SocketAddr) -> Result<Self, AddressError> {
        let fail = failed("listen at", at);
        let second = prepared.try_clone().map_err(&fail)?;
        prepared.listen(BACKLOG).map_err(&fail)?;
        let this = tokio::net::TcpListener::from_std(second.into());
        let listener = this.inspect_err(|_| drop(prepared.shutdown(Shutdown::Both))).map_err(&fail)?;
        Ok(Self { control: prepared, at, listener })
    }

    /// Whether the kernel has it listening.
    pub(crate) fn is_open(&self) -> io::Result<bool> {
        self.control.is_listener()
    }

    pub(crate) fn duplicate(&self) -> Result<std::net::TcpListener, AddressError> {
        self.control.try_clone().map(Into::into).map_err(failed("duplicate", self.at))
    }

    /// Says farewell to what waits, then ends the listening of this socket in all its duplicates.
    pub(crate) fn close(&self, farewell: &[u8]) -> Result<(), AddressError> {
        let mut waiting = 0;
        while waiting < DRAIN_LIMIT {
            match self.control.accept() {
                Ok((stream, _)) => dismiss(stream.into(), farewell),
                Err(e) if passes(&e) => {}
                Err(_) => break, // nothing waits, or no descriptor is left: closing resets the rest
            }
            waiting += 1;
        }
        tracing::debug!(at = %self.at, waiting, "stopped listening");
        match self.control.shutdown(Shutdown::Both) {
            Err(e) if e.kind() != ErrorKind::NotConnected => Err(failed("stop listening at", self.at)(e)),
            _ => Ok(()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // A duplicate that somebody still holds must not go on listening.
        if self.control.is_listener().unwrap_or(true) {
            drop(self.control.shutdown(Shutdown::Both));
        }
    }
}

/// Whether only this one connection failed, and the next may be asked for at once.
pub(crate) fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Ends a connection that nobody serves, in good order: what the client sent is read, as closing over unread
/// bytes would reset it and take the farewell away.
fn dismiss(mut stream: TcpStream, farewell: &[u8]) {
    if SockRef::from(&stream).set_nonblocking(true).is_ok() {
        let _best_effort = stream.write(farewell);
        let _best_effort = stream.shutdown(Shutdown::Write);
        let _best_effort = stream.read(&mut [0; 4096]);
    }
}
