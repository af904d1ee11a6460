//! What the arithmetic assumes where nothing is configured. Runs on real machines add what they measured.

use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A frame's way through kernel, network and the peer's control thread, beyond the time on a slow line.
pub const TRANSIT: Duration = ms(1);
/// A control thread is woken this much after the instant it asked for.
pub const WAKE: Duration = ms(5);
/// One record made durable.
pub const DURABLE: Duration = ms(25);
/// From a proof to the first answer: grant durable, data promoted, resources started, client retries.
pub const TAKEOVER: Duration = ms(200);
/// The same with the child's end noticed by its guardian, undone, verified and told.
pub const RELEASE_AND_TAKEOVER: Duration = ms(100);
/// A prepared handover: last stop, release, grant, first start.
pub const SWITCHOVER: Duration = ms(50);
/// An orphaned child's orderly handover before [`TAKEOVER`]: prepare, drain, stop.
pub const HANDOVER: Duration = ms(300);
/// A woken process drains its sockets, confirms its permission and goes on.
pub const RESUME: Duration = ms(100);
/// An address whose device ended only processes is waited for in whole seconds, and this beyond.
pub const ADDRESS_EXPIRY: Duration = ms(500);
/// The exchanged safety values are whole milliseconds: this much may be lost in two of them.
pub const ROUNDING: Duration = ms(2);
