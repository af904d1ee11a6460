//! An instant as an operator types it.

use ha_core::Instant;
use std::str::FromStr;
use std::time::Duration;

/// What counts as near.
const NEAR: Duration = Duration::from_millis(500);

/// An instant of the boot clock, or of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Clock(Instant),
    Life(Duration),
}

impl Moment {
    /// Whether `at` is near it, in a life that began at `from`.
    pub(super) fn is_near(self, at: Instant, from: Instant) -> bool {
        let moment = match self {
            Self::Clock(moment) => moment,
            Self::Life(since) => from + since,
        };
        at.since(moment) <= NEAR && moment.since(at) <= NEAR
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, relative) = text.strip_prefix('+').map_or((text, false), |rest| (rest, true));
        let seconds: f64 = digits.parse().map_err(|_| refused(text))?;
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| refused(text))?;
        Ok(if relative { Self::Life(span) } else { Self::Clock(Instant::ZERO + span) })
    }
}

fn refused(text: &str) -> String {
    format!(
        "found \"{text}\", expected seconds of the boot clock such as 1234.567, or since the life began such as +12.5"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_of_the_clock_or_of_a_life() {
        let second = Duration::from_secs(1);
        let clock: Moment = "12.5".parse().unwrap();
        assert!(clock.is_near(Instant::ZERO + second * 12, Instant::ZERO));
        assert!(!clock.is_near(Instant::ZERO + second * 14, Instant::ZERO));
        let life: Moment = "+2".parse().unwrap();
        assert!(life.is_near(Instant::ZERO + second * 12, Instant::ZERO + second * 10));
        assert!("soon".parse::<Moment>().unwrap_err().contains("expected seconds"));
        assert!("-3".parse::<Moment>().is_err());
    }
}
