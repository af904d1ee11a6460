//! The fence device of a node: the peer's board controller.

use super::place::BmcPlace;
use async_trait::async_trait;
use ha_core::FenceScope;
use ha_core::api::FenceDevice;
use ha_core::engine::FenceAnswer;
use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// Asks and orders the board controller of the peer's chassis. Every call has a connection of its own, so that an answer
/// can never be taken for that of another call; the runtime bounds how long it may take.
#[derive(Clone, Debug)]
pub struct ChassisFence {
    bmc: BmcPlace,
}

impl ChassisFence {
    /// The device behind the board controller at `bmc`.
    #[must_use]
    pub fn new(bmc: impl Into<BmcPlace>) -> Self {
        Self { bmc: bmc.into() }
    }

    async fn ask(&self, line: String) -> io::Result<String> {
        match &self.bmc {
            BmcPlace::Tcp(at) => {
                let stream = TcpStream::connect(at).await?;
                stream.set_nodelay(true)?;
                converse(stream, &line).await
            }
            BmcPlace::Unix(path) => converse(UnixStream::connect(path).await?, &line).await,
        }
    }

    async fn order(&self, verb: &str, node: &str) -> FenceAnswer {
        match self.ask(format!("{verb} {node}\n")).await.as_deref() {
            Ok("off") => FenceAnswer::Off { scope: FenceScope::Incarnation },
            Ok("on") => FenceAnswer::On,
            Ok(answer) => {
                tracing::warn!(bmc = %self.bmc, verb, answer, "the board controller gave no verified answer");
                FenceAnswer::Failed
            }
            Err(error) => {
                tracing::warn!(bmc = %self.bmc, verb, %error, "the board controller is not reachable");
                FenceAnswer::Failed
            }
        }
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str) -> io::Result<String> {
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

#[async_trait]
impl FenceDevice for ChassisFence {
    fn name(&self) -> &str {
        "chassis"
    }

    async fn status(&self, node: &str) -> FenceAnswer {
        self.order("status", node).await
    }

    async fn fence(&self, node: &str) -> FenceAnswer {
        self.order("off", node).await
    }
}
