//! Pauses between acknowledgements.

/// The longest gap between consecutive acknowledgements that overlaps the window, in nanoseconds. `times` ascend.
///
/// Before the first and after the last acknowledgement the window's own ends count.
pub(crate) fn longest_in(times: &[u64], from: u64, to: u64) -> u64 {
    let first = times.partition_point(|t| *t <= from).saturating_sub(1);
    let mut previous = times.get(first).copied().filter(|t| *t <= from).unwrap_or(from);
    let mut longest = 0;
    for time in times.iter().copied().filter(|t| *t > from) {
        longest = longest.max(time - previous);
        previous = time;
        if time >= to {
            return longest;
        }
    }
    longest.max(to.saturating_sub(previous))
}

/// The longest gap that overlaps none of the windows, which ascend, between the first and the last acknowledgement.
pub(crate) fn longest_outside(times: &[u64], windows: &[(u64, u64)]) -> u64 {
    let touched = |a: u64, b: u64| windows.iter().any(|(from, to)| b > *from && a < *to);
    times
        .windows(2)
        .filter(|pair| !touched(pair[0], pair[1]))
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [u64; 6] = [10, 20, 30, 90, 100, 130];

    #[test]
    fn the_gap_that_overlaps_counts_whole() {
        assert_eq!(longest_in(&TIMES, 40, 50), 60);
        assert_eq!(longest_in(&TIMES, 30, 95), 60);
        assert_eq!(longest_in(&TIMES, 11, 19), 10);
        assert_eq!(longest_in(&TIMES, 95, 110), 30);
    }

    #[test]
    fn silence_until_the_end_counts() {
        assert_eq!(longest_in(&TIMES, 120, 200), 70);
        assert_eq!(longest_in(&[], 5, 25), 20);
        assert_eq!(longest_in(&TIMES, 0, 10), 10);
    }

    #[test]
    fn fault_free_gaps_leave_the_windows_out() {
        assert_eq!(longest_outside(&TIMES, &[]), 60);
        assert_eq!(longest_outside(&TIMES, &[(40, 50)]), 30);
        assert_eq!(longest_outside(&TIMES, &[(40, 50), (101, 102)]), 10);
    }
}
