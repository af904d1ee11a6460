//! Two datagram sockets of the kernel, used rightly and in every wrong way.

use super::*;
use crate::api::{FrameSender, LinkDescription};
use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::net::UnixDatagram;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    Cuts,
    Invents,
    Waits,
    HoldsItsPlace,
    TinyFrames,
}

const MTU_BYTES: usize = 200;

struct End {
    socket: UnixDatagram,
    to: PathBuf,
    flaw: Flaw,
    invented: Mutex<bool>,
}

struct Ends {
    from: PathBuf,
    to: PathBuf,
    flaw: Flaw,
    opened: Mutex<bool>,
}

#[async_trait]
impl HeartbeatTransport for End {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let frame = match self.flaw {
            Flaw::Cuts => &frame[..frame.len().min(MTU_BYTES)],
            _ if frame.len() > MTU_BYTES => return Err(io::ErrorKind::InvalidInput.into()),
            _ => frame,
        };
        match self.flaw {
            Flaw::Waits => self.socket.send_to(frame, &self.to).await.map(drop),
            _ => self.socket.try_send_to(frame, &self.to).map(drop),
        }
    }

    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.flaw == Flaw::Invents && !std::mem::replace(&mut *self.invented.lock().unwrap(), true) {
            buf[..3].copy_from_slice(b"odd");
            return Ok(3);
        }
        self.socket.recv(buf).await
    }

    fn describe(&self) -> LinkDescription {
        let mtu_bytes = if self.flaw == Flaw::TinyFrames { 20 } else { MTU_BYTES };
        LinkDescription { name: "unix".into(), kind: "unix", mtu_bytes, bits_per_second: None }
    }
}

#[async_trait]
impl LinkFactory for Ends {
    fn name(&self) -> &'static str {
        "unix"
    }

    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        if self.flaw == Flaw::HoldsItsPlace && std::mem::replace(&mut *self.opened.lock().unwrap(), true) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let _ = std::fs::remove_file(&self.from);
        let (socket, to) = (UnixDatagram::bind(&self.from)?, self.to.clone());
        Ok(Box::new(End { socket, to, flaw: self.flaw, invented: Mutex::new(false) }))
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let end =
        |from: &Path, to: &Path| Ends { from: from.into(), to: to.into(), flaw, opened: Mutex::default() };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (one, other) = (end(&a, &b), end(&b, &a));
    let test = TransportTest::new(&one, &other).within(Duration::from_millis(500), Duration::from_millis(3));
    match test.run().await {
        Ok(report) => {
            assert_eq!(report.passed.len(), 7, "{report}");
            Vec::new()
        }
        Err(failed) => failed.failures.iter().map(|f| f.check).collect(),
    }
}

#[tokio::test]
async fn a_path_that_keeps_its_contract_passes_every_check() {
    assert_eq!(found(Flaw::None).await, Vec::<&str>::new());
}

#[tokio::test]
async fn every_flaw_is_found_by_the_check_that_is_meant_for_it() {
    for (flaw, check) in [
        (Flaw::Cuts, "a frame that is too long is never cut"),
        (Flaw::Invents, "frames arrive whole, both ways"),
        (Flaw::Waits, "nobody waits for a deaf peer"),
        (Flaw::HoldsItsPlace, "it opens again"),
        (Flaw::TinyFrames, "it says what it is"),
    ] {
        let failures = found(flaw).await;
        assert!(failures.contains(&check), "{flaw:?} was found by {failures:?}, not by {check:?}");
    }
}
