//! A heartbeat path.

use async_trait::async_trait;
use std::io;

/// One open heartbeat path. Carries whole, opaque, already authenticated frames; may lose, repeat or reorder
/// them. Used by one task only, on the runtime where it was opened.
#[async_trait]
pub trait HeartbeatTransport: Send + Sync {
    /// Sends one frame. A frame that cannot be sent at once may be dropped; a beat is never worth a queue.
    ///
    /// # Errors
    /// The path's own error; the caller goes on beating.
    async fn send(&self, frame: &[u8]) -> io::Result<()>;
    /// Receives one frame into `buf`, returns its length. Safe to drop before it resolves.
    ///
    /// # Errors
    /// The path's own error; the caller receives again after the link's interval.
    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// What it is.
    fn describe(&self) -> LinkDescription;
}

/// What a heartbeat path is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkDescription {
    /// For example `udp 127.0.0.1:5000 -> 127.0.0.1:5001`.
    pub name: String,
    /// `udp`, `serial`, `evidence`, ….
    pub kind: &'static str,
    /// The longest frame in bytes.
    pub mtu_bytes: usize,
    /// Bits per second, where the line limits them.
    pub bits_per_second: Option<u32>,
}

/// Opens a heartbeat path. The control thread opens its own; the guardian opens a sender of its own.
#[async_trait]
pub trait LinkFactory: Send + Sync {
    /// Its name, as in the configuration.
    fn name(&self) -> &str;
    /// Opens the path on the current tokio runtime.
    ///
    /// # Errors
    /// What the operating system said, naming the address or device.
    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>>;
    /// Opens a blocking sender from an own socket, for a guardian's last word.
    ///
    /// # Errors
    /// What the operating system said; `Unsupported` if the path has no second sender.
    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>>;
}

/// A blocking sender of frames.
pub trait FrameSender: Send {
    /// Sends one frame.
    ///
    /// # Errors
    /// What the operating system said.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
}
