//! I11: never both fenced by each other. I12: no healthy node is fenced while a link shows it alive.

use super::{Broken, Invariant, Verdict};

/// The last effective shot at each node.
#[derive(Clone, Debug, Default)]
pub struct Shots {
    last: [Option<(u64, u64)>; 2],
}

impl Shots {
    /// Takes note that a shot ordered at `ordered` ended the running `victim` at `effect` (true times).
    ///
    /// # Errors
    /// I11 if the victim's own shot at the shooter, in flight at that time, had effect too.
    pub fn effective(&mut self, victim: usize, ordered: u64, effect: u64) -> Verdict {
        self.last[victim] = Some((ordered, effect));
        match self.last[1 - victim] {
            Some((other_ordered, other_effect)) if ordered <= other_effect && other_ordered <= effect => {
                Err(Broken::new(
                    Invariant::I11,
                    format!(
                        "both nodes were fenced by each other: node {victim} within {} ms of its own shot's order",
                        effect.abs_diff(other_ordered) / 1_000_000
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Checks a fencing order against what the shooter heard: `heard_ago` is the age, in nanoseconds, of the
/// newest two-way evidence of a healthy peer, `window` how old it may be and still forbid the shot.
///
/// # Errors
/// I12 if the evidence is fresh.
pub fn not_heard(shooter: usize, heard_ago: Option<u64>, window: u64) -> Verdict {
    match heard_ago {
        Some(age) if age < window => Err(Broken::new(
            Invariant::I12,
            format!(
                "node {shooter} orders to fence its healthy peer, heard both ways {} ms ago",
                age / 1_000_000
            ),
        )),
        _ => Ok(()),
    }
}

/// Checks a fencing order against the truth: `reachable` if the healthy peer and a link to it were well for long.
///
/// # Errors
/// I12 if they were: the shooter mistakes its own silence for the peer's.
pub fn not_reachable(shooter: usize, reachable: bool) -> Verdict {
    if reachable {
        return Err(Broken::new(
            Invariant::I12,
            format!("node {shooter} orders to fence its healthy peer over an intact link"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_two_shots_cross_and_not_when_they_follow_each_other() {
        let mut shots = Shots::default();
        assert!(shots.effective(0, 100, 200).is_ok());
        assert!(shots.effective(1, 900, 1000).is_ok());
        assert_eq!(shots.effective(0, 950, 1050).unwrap_err().invariant, Invariant::I11);
    }

    #[test]
    fn fires_on_a_reachable_peer() {
        assert!(not_reachable(0, false).is_ok());
        assert_eq!(not_reachable(0, true).unwrap_err().invariant, Invariant::I12);
    }

    #[test]
    fn fires_on_fresh_evidence_only() {
        assert!(not_heard(0, None, 100).is_ok());
        assert!(not_heard(0, Some(100), 100).is_ok());
        assert_eq!(not_heard(0, Some(99), 100).unwrap_err().invariant, Invariant::I12);
    }
}
