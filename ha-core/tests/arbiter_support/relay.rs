//! A TCP relay between a client and one member, which can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
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
    /// What the client says passes so many times; then it waits, and passes when everything does.
    HoldsAsksAfter(i32),
}

pub struct Relay {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    left: Arc<AtomicI32>,
    /// Shared with whoever accepts, and with every open connection.
    held: Arc<AtomicBool>,
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
            let (left, held) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
            let (ways, counts) = (Arc::clone(&way), (Arc::clone(&left), Arc::clone(&held)));
            let accepting = tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, to, ways.subscribe(), counts.clone()));
                }
            });
            relays.push(Self { port, way, left, held, accepting });
        }
        relays
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, way: Way) {
        if let Way::SwallowsAnswersAfter(times) | Way::HoldsAsksAfter(times) = way {
            self.left.store(times, Ordering::SeqCst);
        }
        self.held.store(false, Ordering::SeqCst);
        self.way.send_replace(way);
    }

    /// Closes every connection: what waited in one is lost.
    pub async fn cut(&self) {
        self.set(Way::Refuses);
        while Arc::strong_count(&self.held) > 2 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether something that the client said waits.
    pub fn holds(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }
}

async fn serve(
    client: TcpStream,
    to: SocketAddr,
    mut way: watch::Receiver<Way>,
    (left, held): (Arc<AtomicI32>, Arc<AtomicBool>),
) {
    if *way.borrow() == Way::Refuses {
        return;
    }
    let Ok(member) = TcpStream::connect(to).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_member, to_member) = member.into_split();
    let asks = |way| match way {
        Way::Passes | Way::SwallowsAnswersAfter(_) => Fate::Passes,
        Way::HoldsAsksAfter(_) if left.fetch_sub(1, Ordering::SeqCst) > 0 => Fate::Passes,
        Way::HoldsAsksAfter(_) => {
            held.store(true, Ordering::SeqCst);
            Fate::Waits
        }
        Way::Hangs | Way::Refuses => Fate::IsLost,
    };
    let answers = |way| match way {
        Way::Passes | Way::HoldsAsksAfter(_) => Fate::Passes,
        Way::SwallowsAnswersAfter(_) if left.fetch_sub(1, Ordering::SeqCst) > 0 => Fate::Passes,
        Way::SwallowsAnswersAfter(_) | Way::Hangs | Way::Refuses => Fate::IsLost,
    };
    tokio::select! {
        () = pump(from_client, to_member, way.clone(), asks) => {}
        () = pump(from_member, to_client, way.clone(), answers) => {}
        _ = way.wait_for(|way| *way == Way::Refuses) => {}
    }
}

/// What becomes of bytes that arrived.
enum Fate {
    Passes,
    Waits,
    /// And with them the connection, once it is open again.
    IsLost,
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    fate: impl Fn(Way) -> Fate,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        let now = *way.borrow();
        match fate(now) {
            Fate::Passes => {}
            Fate::Waits => drop(way.wait_for(|way| *way == Way::Passes).await),
            Fate::IsLost => {
                let _ = way.wait_for(|way| matches!(fate(*way), Fate::Passes)).await;
                return;
            }
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
