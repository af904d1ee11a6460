//! Heartbeat datagrams.

use super::{DatagramPath, Valves, Way, named};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::UdpSocket;

/// The longest datagram.
const DATAGRAM_BYTES: usize = 65_536;

pub(super) async fn lay(path: DatagramPath, valves: &Valves) -> io::Result<()> {
    let [from_first, from_second] = valves.path(&path.name);
    let first = UdpSocket::bind(path.from[0]).await.map_err(named(&path.name, path.from[0]))?;
    let second = UdpSocket::bind(path.from[1]).await.map_err(named(&path.name, path.from[1]))?;
    tokio::task::spawn_local(carry(Rc::new(first), path.to[1], from_first));
    tokio::task::spawn_local(carry(Rc::new(second), path.to[0], from_second));
    Ok(())
}

/// Carries what arrives at `socket` to `to`. Its sender may be anyone: the node, or its guardian.
async fn carry(socket: Rc<UdpSocket>, to: SocketAddr, way: Way) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // An error here is an answer to an earlier datagram that met nobody.
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(delay) = way.fate() else { continue };
        if delay.is_zero() {
            let _ = socket.send_to(&buffer[..length], to).await;
            continue;
        }
        let (socket, datagram, way) = (Rc::clone(&socket), buffer[..length].to_vec(), way.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            if way.fate().is_some() {
                let _ = socket.send_to(&datagram, to).await;
            }
        });
    }
}
