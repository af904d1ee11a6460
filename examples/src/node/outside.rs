//! Whether the outside is reachable: an echo through the node's own gateway.

use super::OutsideProbe;
use ha_core::runtime::{Node, NodeError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

const INTERVAL: Duration = Duration::from_millis(25);
/// Unanswered questions in a row after which the outside is not reachable. Questions are counted, not time: a node that
/// was frozen itself asked none meanwhile.
const MISSED: u32 = 3;

/// Asks and listens.
pub(super) struct Outside {
    socket: UdpSocket,
    missed: u32,
    sequence: u64,
}

impl Outside {
    pub(super) async fn new(OutsideProbe { from, echo }: OutsideProbe) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).await?;
        socket.connect(echo).await?;
        Ok(Self { socket, missed: 0, sequence: 0 })
    }

    async fn ask(&mut self) {
        self.sequence += 1;
        // A gateway that refuses is one that does not answer.
        let _ = self.socket.send(&self.sequence.to_le_bytes()).await;
    }

    fn heard(&self) -> bool {
        let (mut buffer, mut heard) = ([0; 64], false);
        loop {
            match self.socket.try_recv(&mut buffer) {
                Ok(_) => heard = true,
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return heard,
            }
        }
    }

    /// The first measurement: how many targets answer.
    pub(super) async fn first(&mut self) -> u8 {
        for _ in 0..MISSED {
            self.ask().await;
            let answered = timeout(INTERVAL * 2, self.socket.readable()).await;
            if answered.is_ok() && self.heard() {
                return 1;
            }
        }
        self.missed = MISSED;
        0
    }

    /// Tells the node of every change, for as long as it lives.
    pub(super) async fn watch(mut self, node: Arc<Node>) {
        let mut reported = self.reachable();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.missed = if self.heard() { 0 } else { (self.missed + 1).min(MISSED) };
            let reachable = self.reachable();
            if reachable != reported {
                tracing::info!(reachable, "the outside");
                match node.report_outside(reachable) {
                    Ok(()) => reported = reachable,
                    Err(NodeError::Busy { .. }) => {}
                    Err(_) => return,
                }
            }
            self.ask().await;
        }
    }

    fn reachable(&self) -> u8 {
        u8::from(self.missed < MISSED)
    }
}
