//! Two datagram sockets of the kernel, used rightly and in every wrong way.

use super::*;
use crate::api::{FrameSender, LinkDescription};
use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UnixDatagram;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    Cuts,
    Invents,
    Waits,
    HoldsItsPlace,
    TinyFrames,
    /// It does not say what it is.
    Nameless,
    /// A frame of zeros looks empty to it.
    DropsZeros,
    /// A receipt that is given up keeps its place in a short queue.
    LeaksReceipts,
    /// An end that was never used is still bound when it is opened next.
    HoldsAnUnusedPlace,
    /// Its second sender says that it sent, and sends nothing.
    SecondSenderIsSilent,
    /// Its second sender does not open, and it does not say that there is none.
    SecondSenderFails,
}

const MTU_BYTES: usize = 200;

/// Receipts that may be under way, or given up, where those leak.
const RECEIPTS: usize = 8;

struct End {
    socket: UnixDatagram,
    to: PathBuf,
    flaw: Flaw,
    invented: Mutex<bool>,
    receiving: AtomicUsize,
    used: AtomicBool,
    unused_place: Arc<AtomicBool>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.unused_place.store(!self.used.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

struct LastWord {
    socket: std::os::unix::net::UnixDatagram,
    to: PathBuf,
    flaw: Flaw,
}

impl FrameSender for LastWord {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self.flaw {
            Flaw::SecondSenderIsSilent => Ok(()),
            _ => self.socket.send_to(frame, &self.to).map(drop),
        }
    }
}

struct Ends {
    from: PathBuf,
    to: PathBuf,
    flaw: Flaw,
    opened: Mutex<bool>,
    unused_place: Arc<AtomicBool>,
}

#[async_trait]
impl HeartbeatTransport for End {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let frame = match self.flaw {
            Flaw::Cuts => &frame[..frame.len().min(MTU_BYTES)],
            _ if frame.len() > MTU_BYTES => return Err(io::ErrorKind::InvalidInput.into()),
            _ => frame,
        };
        self.used.store(true, Ordering::SeqCst);
        if self.flaw == Flaw::DropsZeros && frame.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
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
        self.used.store(true, Ordering::SeqCst);
        if self.flaw == Flaw::LeaksReceipts && self.receiving.fetch_add(1, Ordering::SeqCst) >= RECEIPTS {
            return std::future::pending().await;
        }
        let received = self.socket.recv(buf).await;
        self.receiving.fetch_sub(1, Ordering::SeqCst);
        received
    }

    fn describe(&self) -> LinkDescription {
        self.used.store(true, Ordering::SeqCst);
        let mtu_bytes = if self.flaw == Flaw::TinyFrames { 20 } else { MTU_BYTES };
        let name = if self.flaw == Flaw::Nameless { "" } else { "unix" };
        LinkDescription { name: name.into(), kind: "unix", mtu_bytes, bits_per_second: None }
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
        let unused = self.unused_place.swap(false, Ordering::SeqCst);
        if self.flaw == Flaw::HoldsAnUnusedPlace && unused {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let _ = std::fs::remove_file(&self.from);
        Ok(Box::new(End {
            socket: UnixDatagram::bind(&self.from)?,
            to: self.to.clone(),
            flaw: self.flaw,
            invented: Mutex::new(false),
            receiving: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            unused_place: Arc::clone(&self.unused_place),
        }))
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        if self.flaw == Flaw::SecondSenderFails {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        Ok(Box::new(LastWord { socket, to: self.to.clone(), flaw: self.flaw }))
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let end = |from: &Path, to: &Path| Ends {
        from: from.into(),
        to: to.into(),
        flaw,
        opened: Mutex::default(),
        unused_place: Arc::default(),
    };
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

/// For each check a path that breaks only what that check is for.
#[tokio::test]
async fn every_check_finds_a_flaw_that_no_other_one_finds() {
    for (flaw, check) in [
        (Flaw::Nameless, "it says what it is"),
        (Flaw::DropsZeros, "frames arrive whole, both ways"),
        (Flaw::Cuts, "a frame that is too long is never cut"),
        (Flaw::LeaksReceipts, "a receipt that is given up loses nothing that comes later"),
        (Flaw::Waits, "nobody waits for a deaf peer"),
        (Flaw::HoldsAnUnusedPlace, "it opens again"),
        (Flaw::SecondSenderIsSilent, "a second sender speaks, or says that there is none"),
        (Flaw::SecondSenderFails, "a second sender speaks, or says that there is none"),
    ] {
        assert_eq!(found(flaw).await, [check], "{flaw:?}");
    }
}
