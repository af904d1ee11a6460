//! Both kinds of path pass the checks that every path must pass.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]

use ha_core::testkit::transport::TransportTest;
use ha_heartbeat::{SerialLink, UdpLink};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_udp_path_passes_the_kit() {
    let (a, b) = (free_port(), free_port());
    let (one, other) = (UdpLink::new("udp", a, b), UdpLink::new("udp", b, a));
    let report = TransportTest::new(&one, &other).run().await.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!(report.passed.len(), 7, "{report}");
}

fn pty() -> (File, PathBuf) {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let path = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    (File::from(far), path.into())
}

/// A null-modem cable: what one end says the other hears. Ends with the process.
fn cable(from: &File, to: &File) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut octets = [0; 4096];
        loop {
            match from.read(&mut octets) {
                // Nobody has the tty open at this moment.
                Ok(0) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
                Ok(n) => drop(to.write_all(&octets[..n])),
            }
        }
    });
}

#[tokio::test]
async fn a_serial_path_passes_the_kit() {
    let ((far_a, a), (far_b, b)) = (pty(), pty());
    // Held open, so that the far ends never hang up.
    let _ends = [File::open(&a).unwrap(), File::open(&b).unwrap()];
    cable(&far_a, &far_b);
    cable(&far_b, &far_a);
    let (one, other) = (SerialLink::new("line", &a, 115_200), SerialLink::new("line", &b, 115_200));
    let report = TransportTest::new(&one, &other).run().await.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!(report.passed.len(), 7, "{report}");
}
