//! How long an address outlives the last renewal, in the kernel's arithmetic.
//!
//! The kernel ages lifetimes in whole seconds by a deferred work item. It looks again no sooner than one second after
//! its last look, and rounds that up by at most a quarter (`ADDRCONF_TIMER_FUZZ_MAX` and `ADDRCONF_TIMER_FUZZ` of
//! `net/ipv4/devinet.c` and `net/ipv6/addrconf.c`). Whoever adds or renews *another* address with a lifetime makes it
//! look at once, and so puts off its next look: an address of one second was seen to last 1.02 s to 1.26 s when it was
//! alone, and up to 1.98 s when another one was renewed shortly before its end. Hence [`lifetime_bound`].

use super::LinuxError;
use std::time::Duration;

/// Between two looks of the kernel at least, the rounding of the second, and as much again for its work queue.
const NEXT_LOOK: Duration = Duration::from_millis(1500);

/// When an address whose kernel lifetime of `seconds` was set now is gone at the latest.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(ha_vip::linux::lifetime_bound(1), Duration::from_millis(2500));
/// ```
#[must_use]
pub const fn lifetime_bound(seconds: u32) -> Duration {
    Duration::from_secs(seconds as u64).saturating_add(NEXT_LOOK)
}

/// The kernel lifetime for a group whose `address_lifetime` is `assumed`: the longest that is surely over when
/// [`address_expiry`](ha_core::timing::address_expiry) of it is over.
pub(crate) fn kernel_seconds(assumed: Duration) -> Result<u32, LinuxError> {
    let waited = ha_core::timing::address_expiry(assumed);
    let seconds = waited.checked_sub(NEXT_LOOK).map_or(0, |longest| longest.as_secs());
    match u32::try_from(seconds) {
        Ok(seconds @ 1..=LONGEST) => Ok(seconds),
        Ok(_) | Err(_) => Err(LinuxError::Lifetime { asked: assumed }),
    }
}

/// One hour: a longer one is no protection.
const LONGEST: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_gone_when_the_peer_has_waited_for_it() {
        let seconds = |ms| kernel_seconds(Duration::from_millis(ms)).ok();
        assert_eq!(seconds(2000), Some(1));
        assert_eq!(seconds(1001), Some(1));
        assert_eq!(seconds(2001), Some(2));
        assert_eq!(seconds(3600_000), Some(3599));
        for ms in [0, 1, 1000, u64::MAX] {
            assert_eq!(seconds(ms), None, "{ms}");
        }
        for ms in (1001..10_000).step_by(7) {
            let assumed = Duration::from_millis(ms);
            assert!(
                lifetime_bound(kernel_seconds(assumed).unwrap()) <= ha_core::timing::address_expiry(assumed)
            );
        }
    }
}
