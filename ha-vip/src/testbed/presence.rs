//! Where an address was, and when, as a series of looks shows it.

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::time::Duration;

/// This machine's boot clock. All processes of all hosts read the same one.
#[must_use]
pub fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A time, from its first look to the first that did not find the same any more; on [`boot_time`].
pub type Span = (Duration, Duration);

/// Where an address was, and when.
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct Presence {
    /// For each host, by name, the times in which it had the address.
    pub held: BTreeMap<String, Vec<Span>>,
    /// Times in which two hosts had it.
    pub both: Vec<Span>,
    /// Looks taken.
    pub looks: u64,
    /// Times of 2 ms and more between two looks: what was shorter may have been missed.
    pub blind: Vec<Span>,
}

/// Shorter times between two looks are not listed.
const LISTED: Duration = Duration::from_millis(2);

impl Presence {
    /// How long two hosts had it, in all, from `since` on.
    #[must_use]
    pub fn on_both(&self, since: Duration) -> Duration {
        self.both.iter().map(|(from, to)| to.saturating_sub((*from).max(since))).sum()
    }

    /// The longest time between two looks from `since` on, of those that are listed.
    #[must_use]
    pub fn longest_blind(&self, since: Duration) -> Duration {
        self.blind.iter().map(|(from, to)| to.saturating_sub((*from).max(since))).max().unwrap_or_default()
    }
}

/// Makes a [`Presence`] of looks.
#[derive(Default)]
pub(super) struct Looks {
    presence: Presence,
    last: Option<(Duration, Vec<bool>, bool)>,
}

impl Looks {
    /// Adds a look: which of the hosts (the same ones in each look) have the address, and whether two have it at one instant.
    pub(super) fn add(&mut self, now: Duration, hosts: &[&str], has: Vec<bool>, both: bool) {
        let (before, had, were_both) = self.last.take().unwrap_or((now, vec![false; has.len()], false));
        for (host, (has, had)) in hosts.iter().zip(has.iter().zip(&had)) {
            if *has || *had {
                note(self.presence.held.entry((*host).to_owned()).or_default(), now, *had);
            }
        }
        if both || were_both {
            note(&mut self.presence.both, now, were_both);
        }
        self.presence.looks += 1;
        if now.saturating_sub(before) >= LISTED {
            self.presence.blind.push((before, now));
        }
        self.last = Some((now, has, both));
    }

    pub(super) fn end(self) -> Presence {
        self.presence
    }
}

/// Makes the last time longer, or begins a new one at this look.
fn note(times: &mut Vec<Span>, now: Duration, goes_on: bool) {
    match times.last_mut() {
        Some((_, to)) if goes_on => *to = now,
        Some(_) | None => times.push((now, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lasts_to_the_first_look_that_finds_nothing() {
        let at = Duration::from_millis;
        let mut looks = Looks::default();
        for (ms, n1, n2) in
            [(1, true, false), (2, true, true), (3, true, true), (9, false, true), (10, false, false)]
        {
            looks.add(at(ms), &["n1", "n2"], vec![n1, n2], n1 && n2);
        }
        let seen = looks.end();
        assert_eq!(seen.held["n1"], [(at(1), at(9))]);
        assert_eq!(seen.held["n2"], [(at(2), at(10))]);
        assert_eq!((seen.on_both(at(0)), seen.on_both(at(5))), (at(7), at(4)));
        assert_eq!((seen.looks, seen.blind.as_slice()), (5, &[(at(3), at(9))][..]));
        assert_eq!((seen.longest_blind(at(0)), seen.longest_blind(at(9))), (at(6), at(0)));
    }

    #[test]
    fn the_clock_goes_on() {
        assert!(boot_time() <= boot_time());
    }
}
