//! The mirror's stream. A cut holds data back, as a cut cable does: connections stay, and go on when it is mended.

use super::{StreamPath, Valves, Way, named};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn lay(path: StreamPath, valves: &Valves) -> io::Result<()> {
    let ways = valves.path(&path.name);
    let listener = TcpListener::bind(path.listen).await.map_err(named(&path.name, path.listen))?;
    tokio::task::spawn_local(async move {
        loop {
            for way in &ways {
                way.open().await;
            }
            let Ok((dialler, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(connect(dialler, path.answers, ways.clone()));
        }
    });
    Ok(())
}

async fn connect(dialler: TcpStream, answers: std::net::SocketAddr, [from_first, from_second]: [Way; 2]) {
    from_first.open().await;
    from_second.open().await;
    // Nobody there: the dialler's connection ends, as if it had been refused.
    let Ok(answerer) = TcpStream::connect(answers).await else { return };
    if dialler.set_nodelay(true).is_err() || answerer.set_nodelay(true).is_err() {
        return;
    }
    let (read_second, write_second) = dialler.into_split();
    let (read_first, write_first) = answerer.into_split();
    tokio::task::spawn_local(carry(read_second, write_first, from_second));
    tokio::task::spawn_local(carry(read_first, write_second, from_first));
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        way.open().await;
        let read = tokio::select! {
            () = way.cut() => continue,
            read = from.read(&mut chunk) => read,
        };
        let length = read.unwrap_or(0);
        tokio::time::sleep(way.delay()).await;
        // It may have been cut while the chunk was on its way.
        way.open().await;
        if length == 0 {
            // Its end is passed on; the other direction ends by itself.
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
