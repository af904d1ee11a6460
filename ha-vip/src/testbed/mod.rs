//! A small data centre out of network namespaces, for tests (feature `testbed`).
//!
//! Hosts with several interfaces on real bridges, a router, clients behind it; and what can happen to them: a cable is
//! pulled, a host loses its power, traffic passes in one direction only, a stranger has the same address. Programs run
//! in hosts, each host with processes, mounts and a host name of its own, so that a power loss kills *everything* of a
//! host at one instant, descendants too.
//!
//! Everything is anonymous. Nothing is left in `/run/netns`, and all of it ends when the [`DataCentre`] is dropped or the
//! process that owns it dies, by `kill -9` too. An ordinary user needs a kernel that permits user namespaces
//! ([`test()`], [`enter`]). The programs `ip`, `nft` and `tc` do the wiring; faults are single system calls where they
//! must strike at an instant.
//!
//! ```no_run
//! use ha_vip::testbed::{self, DataCentre};
//! use std::process::Command;
//!
//! // #[test] #[ignore = "needs network namespaces"]
//! fn a_client_reaches_the_node() {
//!     testbed::test(|| {
//!         let centre = DataCentre::pair().client("c1").build().unwrap();
//!         let (n1, c1) = (centre.host("n1").unwrap(), centre.host("c1").unwrap());
//!         let service = n1.spawn(Command::new("my-server")).unwrap();
//!         let seen = c1.run_in(|| std::net::TcpStream::connect("10.77.0.1:25").is_ok()).unwrap();
//!         assert!(seen);
//!         centre.power_off("n1").unwrap(); // links cut, then every process killed
//!         assert!(!service.wait().unwrap().success());
//!     });
//! }
//! ```
//!
//! The addresses are fixed and only exist in there: of [`DataCentre::pair`] host *i* is 10.77.0.*i* and fd00:77::*i* on
//! `lan0`, 10.78.0.*i* on `hb0` and 10.78.0.(64 + *i*) on `hb1`; the router is 10.77.0.254 and fd00:77::fe; client *i* is
//! 10.78.0.(128 + *i*) and fd00:77:0:0:1::*i*.

mod answers;
mod builder;
mod cable;
mod centre;
mod door;
mod error;
mod faults;
mod host;
mod lock;
mod netlink;
mod netns;
mod permission;
mod plan;
mod power;
mod presence;
mod process;
mod sys;
mod watch;
mod wiring;

pub use answers::AnswerWatch;
pub use builder::DataCentreBuilder;
pub use centre::DataCentre;
pub use error::TestbedError;
pub use host::Host;
pub use lock::NetworkLockWatch;
pub use permission::{enter, may_make_namespaces, test};
pub use plan::Interface;
pub use presence::{Presence, Span, boot_time};
pub use process::Process;
pub use watch::AddressWatch;
