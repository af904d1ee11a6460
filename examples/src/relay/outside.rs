//! Each node's way to the outside world: an echo that the driver runs.

use super::{OutsidePath, Valves, Way, named};
use std::io;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

pub(super) async fn lay(path: &OutsidePath, valves: &Valves) -> io::Result<()> {
    let ways = valves.path("outside");
    for (at, way) in path.from.into_iter().zip(ways) {
        let socket = UdpSocket::bind(at).await.map_err(named("outside", at))?;
        tokio::task::spawn_local(carry(socket, path.echo, way));
    }
    Ok(())
}

async fn carry(socket: UdpSocket, echo: SocketAddr, way: Way) {
    let (mut buffer, mut asker) = ([0; 2048], None);
    loop {
        let Ok((length, sender)) = socket.recv_from(&mut buffer).await else { continue };
        if sender != echo {
            asker = Some(sender);
        }
        let to = if sender == echo { asker } else { Some(echo) };
        if let (Some(to), Some(_)) = (to, way.fate()) {
            let _ = socket.send_to(&buffer[..length], to).await;
        }
    }
}
