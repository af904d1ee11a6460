//! An address that a provider's HTTP API moves, as in clouds without ARP: how to write a backend of one's own.
//!
//! `cargo run -p ha-vip --example address-over-http` starts a small API on 127.0.0.1 and lets two nodes take the address
//! from each other. The backend is [`HttpAddress`]; the API behind it is in `api.rs`.

mod api;

use async_trait::async_trait;
use ha_core::api::{Clock, Ctx, Resource};
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::{Epoch, GroupId, Instant, TokenCell, Undo};
use ha_vip::{AcceptSource, AddressBackend, AddressError, Holding, Loopback, VirtualIp};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The API's patience; count it into the resource's budgets.
const LIMIT: Duration = Duration::from_secs(2);

/// An address that belongs to the node to which an HTTP API assigned it last.
struct HttpAddress {
    api: SocketAddr,
    node: String,
    /// Sockets for the service: on a cloud's host they are bound to the private address that the provider maps to.
    sockets: Loopback,
}

impl HttpAddress {
    fn new(api: SocketAddr, node: &str) -> Self {
        Self { api, node: node.into(), sockets: Loopback::new() }
    }

    /// One request; the status and the body of its answer.
    fn ask(&self, method: &str, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.api, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.api
        )?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        status
            .map(|status| (status, body.to_owned()))
            .ok_or_else(|| io::Error::other(format!("no HTTP: {answer}")))
    }

    fn order(&self, method: &str, address: IpAddr) -> Result<(), AddressError> {
        let refused =
            |source| AddressError::Socket { what: "assign", at: SocketAddr::new(address, 0), source };
        let (status, body) =
            self.ask(method, &format!("/addresses/{address}?node={}", self.node)).map_err(refused)?;
        if status == 200 { Ok(()) } else { Err(refused(io::Error::other(format!("HTTP {status}: {body}")))) }
    }
}

#[async_trait]
impl AddressBackend for HttpAddress {
    fn name(&self) -> &str {
        "http"
    }

    fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        self.sockets.check(address)
    }

    /// The API takes the address from whoever has it, so a dead owner is no obstacle. In a service with other work on
    /// its runtime the calls belong on `tokio::task::spawn_blocking`, as the `exec` backend does it.
    async fn acquire(&self, addresses: &[IpAddr], token: &TokenCell) -> Result<(), AddressError> {
        addresses.iter().try_for_each(|address| self.order("PUT", *address))?;
        self.sockets.acquire(addresses, token).await
    }

    async fn release(&self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        self.sockets.release(addresses).await?;
        addresses.iter().try_for_each(|address| self.order("DELETE", *address))
    }

    /// What counts is what the API says, not what this process remembers.
    async fn holding(&self, addresses: &[IpAddr]) -> Holding {
        let mut mine = 0;
        for address in addresses {
            match self.ask("GET", &format!("/addresses/{address}")) {
                Ok((200, owner)) => mine += usize::from(owner == self.node),
                Ok((404, _)) => {}
                Ok((status, body)) => return Holding::Unknown { reason: format!("HTTP {status}: {body}") },
                Err(error) => return Holding::Unknown { reason: error.to_string() },
            }
        }
        match mine {
            0 => Holding::NotHeld,
            all if all == addresses.len() => Holding::Held,
            some => Holding::Broken {
                found: format!("{some} of {} addresses are assigned here", addresses.len()),
            },
        }
    }

    /// The next owner takes it away. A provider that refuses that needs an undo step here, as the `exec` backend has it.
    fn undo(&self, _: &[IpAddr]) -> Option<Undo> {
        None
    }

    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        self.sockets.accept_source(at)
    }
}

fn permitted() -> Ctx {
    let token = TokenCell::new(GroupId(0));
    token.set(Epoch(1), Instant::FAR);
    Ctx::new(Arc::new(Unguarded), Epoch(1), BootClock.now() + Duration::from_secs(10), token)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = api::start()?;
    let address: IpAddr = [127, 0, 0, 77].into();
    let node = |name| VirtualIp::new("address", address, Arc::new(HttpAddress::new(api, name)));
    let (one, two, ctx) = (node("one")?, node("two")?, permitted());
    one.start(&ctx).await?;
    println!("one: {:?}, two: {:?}", one.monitor(&ctx).await, two.monitor(&ctx).await);
    two.start(&ctx).await?; // as after a StopProof of one
    println!("one: {:?}, two: {:?}", one.monitor(&ctx).await, two.monitor(&ctx).await);
    // One releases late: it must not take the address from its new owner, and the API sees to that.
    one.stop(&ctx).await?;
    println!("one: {:?}, two: {:?}", one.monitor(&ctx).await, two.monitor(&ctx).await);
    two.stop(&ctx).await?;
    println!("one: {:?}, two: {:?}", one.monitor(&ctx).await, two.monitor(&ctx).await);
    Ok(())
}
