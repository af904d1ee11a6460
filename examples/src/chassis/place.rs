//! Where a board controller is reached.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// Where a board controller is reached: over the network, or, where every network may be cut, past it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BmcPlace {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// A unix socket: no network is between.
    Unix(PathBuf),
}

/// It listens there.
pub(super) enum BmcListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl BmcPlace {
    pub(super) fn listen(&self) -> io::Result<BmcListener> {
        let listener = match self {
            Self::Tcp(at) => TcpListener::bind(at).map(BmcListener::Tcp),
            Self::Unix(path) => UnixListener::bind(path).map(BmcListener::Unix),
        };
        listener.map_err(|e| io::Error::new(e.kind(), format!("board controller at {self}: {e}")))
    }
}

impl From<SocketAddr> for BmcPlace {
    fn from(at: SocketAddr) -> Self {
        Self::Tcp(at)
    }
}

impl fmt::Display for BmcPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        let read = |text: &str| serde_json::from_str::<BmcPlace>(text).unwrap();
        assert_eq!(read("\"127.0.0.1:7\""), BmcPlace::Tcp(([127, 0, 0, 1], 7).into()));
        assert_eq!(read("\"/tmp/n1.bmc\""), BmcPlace::Unix("/tmp/n1.bmc".into()));
    }
}
