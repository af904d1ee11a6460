//! A TCP relay between a client and one member, which can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Passes,
    /// Connections stay, nothing passes either way.
    Hangs,
    /// Connections are closed.
    Refuses,
    /// What the client says passes; what the member says passes so many times, and then no more.
    SwallowsAnswersAfter(i32),
}

pub struct Relay {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    answers_left: Arc<AtomicI32>,
    accepting: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    pub async fn to_each(endpoints: Vec<String>) -> Vec<Self> {
        let mut relays = Vec::new();
        for endpoint in endpoints {
            let to: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let way = Arc::new(watch::Sender::new(Way::Passes));
            let answers_left = Arc::new(AtomicI32::new(0));
            let (ways, left) = (Arc::clone(&way), Arc::clone(&answers_left));
            let accepting = tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, to, ways.subscribe(), Arc::clone(&left)));
                }
            });
            relays.push(Self { port, way, answers_left, accepting });
        }
        relays
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, way: Way) {
        if let Way::SwallowsAnswersAfter(answers) = way {
            self.answers_left.store(answers, Ordering::SeqCst);
        }
        self.way.send_replace(way);
    }
}

async fn serve(
    client: TcpStream,
    to: SocketAddr,
    mut way: watch::Receiver<Way>,
    answers_left: Arc<AtomicI32>,
) {
    if *way.borrow() == Way::Refuses {
        return;
    }
    let Ok(member) = TcpStream::connect(to).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_member, to_member) = member.into_split();
    let asks = |way| matches!(way, Way::Passes | Way::SwallowsAnswersAfter(_));
    let answers = |way| match way {
        Way::Passes => true,
        Way::SwallowsAnswersAfter(_) => answers_left.fetch_sub(1, Ordering::SeqCst) > 0,
        Way::Hangs | Way::Refuses => false,
    };
    tokio::select! {
        () = pump(from_client, to_member, way.clone(), asks) => {}
        () = pump(from_member, to_client, way.clone(), answers) => {}
        _ = way.wait_for(|way| *way == Way::Refuses) => {}
    }
}

/// Bytes that arrive while nothing passes are lost, and with them the connection once it is open again.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    passes: impl Fn(Way) -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        if !passes(*way.borrow()) {
            let _ = way.wait_for(|way| passes(*way)).await;
            return;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
