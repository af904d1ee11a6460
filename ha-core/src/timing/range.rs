//! What each configured duration may be while the rest stays as it is, and which outages it lengthens.

use super::outage::outages;
use super::rules::rules;
use super::terms::Terms;
use super::violation::{in_ms, some_ms};
use super::{FaultKind, inequality::as_ms};
use crate::config::{Config, problems};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Nothing is tried beyond.
const MOST_MS: u64 = 3_600_000;

/// One configured duration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Range {
    /// The field.
    pub field: String,
    /// Its value.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub value: Duration,
    /// The smallest whole millisecond with which the configuration still proves.
    #[serde(rename = "least_ms", serialize_with = "as_ms")]
    pub least: Duration,
    /// The largest one; absent: an hour and more.
    #[serde(rename = "most_ms", serialize_with = "some_ms")]
    pub most: Option<Duration>,
    /// The faults whose worst outage it lengthens.
    pub lengthens: Vec<FaultKind>,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34} {:<10} from {} ", self.field, in_ms(self.value), in_ms(self.least))?;
        match self.most {
            Some(most) => write!(f, "to {}", in_ms(most))?,
            None => write!(f, "up")?,
        }
        for (at, fault) in self.lengthens.iter().enumerate() {
            write!(f, "{} {fault}", if at == 0 { "; lengthens" } else { "," })?;
        }
        Ok(())
    }
}

/// The way to a duration: in the configuration, the first number's link, group or device, the second one's resource.
type Find = for<'a> fn(&'a mut Config, usize, usize) -> Option<&'a mut Duration>;

/// A duration of the configuration.
struct Place {
    field: String,
    at: (usize, usize),
    find: Find,
}

impl Place {
    fn in_<'a>(&self, config: &'a mut Config) -> Option<&'a mut Duration> {
        (self.find)(config, self.at.0, self.at.1)
    }
}

/// Sets the field called so.
#[cfg(test)]
pub(super) fn set(config: &mut Config, field: &str, value: Duration) {
    let places = places(config);
    let place =
        places.iter().find(|place| place.field == field).unwrap_or_else(|| panic!("no field {field}"));
    *place.in_(config).unwrap_or_else(|| panic!("{field} is not configured")) = value;
}

/// The range of every configured duration of a configuration that proves.
///
/// It is the range in which *every* rule holds around the present value, the others unchanged. Takes some tens of
/// milliseconds.
///
/// # Errors
/// The violations of a configuration that does not prove.
pub fn ranges(config: &Config) -> Result<Vec<Range>, super::Violations> {
    super::prove(config)?;
    let places = places(config);
    Ok(places.iter().filter_map(|place| range(config, place)).collect())
}

fn range(config: &Config, place: &Place) -> Option<Range> {
    let value = *place.in_(&mut config.clone())?;
    let with = |ms: u64| {
        let mut changed = config.clone();
        if let Some(field) = place.in_(&mut changed) {
            *field = Duration::from_millis(ms);
        }
        changed
    };
    let present = u64::try_from(value.as_millis()).unwrap_or(MOST_MS).min(MOST_MS);
    let least = edge(present, 0, |ms| is_proven(&with(ms)));
    let most = edge(present, MOST_MS, |ms| is_proven(&with(ms)));
    let (before, after) = (outages(&Terms::of(config)), outages(&Terms::of(&with(present + 1000))));
    let lengthens = before.iter().zip(&after).filter(|(before, after)| after.total > before.total);
    Some(Range {
        field: place.field.clone(),
        value,
        least: Duration::from_millis(least),
        most: (most < MOST_MS).then(|| Duration::from_millis(most)),
        lengthens: lengthens.map(|(before, _)| before.fault).collect(),
    })
}

/// The last number from `start` towards `end` up to which `holds`: steps that double, then halving.
fn edge(start: u64, end: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let at = |steps: u64| if end > start { start + steps } else { start - steps };
    let all = start.abs_diff(end);
    let (mut good, mut step) = (0, 1);
    while good < all {
        let next = (good + step).min(all);
        if !holds(at(next)) {
            let mut bad = next;
            while bad - good > 1 {
                let middle = good + (bad - good) / 2;
                if holds(at(middle)) { good = middle } else { bad = middle }
            }
            break;
        }
        good = next;
        step *= 2;
    }
    at(good)
}

fn is_proven(config: &Config) -> bool {
    problems(config).is_empty() && {
        let terms = Terms::of(config);
        rules().all(|rule| (rule.state)(&terms).iter().all(super::Inequality::holds))
    }
}

macro_rules! durations {
    ($all:ident, $at:expr, $path:expr, |$config:ident, $n:pat_param, $m:pat_param| $on:expr, [$($field:ident),+]) => {
        $($all.push(Place {
            field: format!("{}.{}", $path, stringify!($field)),
            at: $at,
            find: |$config, $n, $m| Some(&mut $on?.$field),
        });)+
    };
}

fn places(config: &Config) -> Vec<Place> {
    let mut all = Vec::new();
    for n in 0..config.links.len() {
        let path = format_args!("links[{n}]");
        durations!(all, (n, 0), path, |c, n, _| c.links.get_mut(n), [interval, suspect, dead]);
    }
    durations!(all, (0, 0), "fence", |c, _, _| c.fence.as_mut(), [timeout, effect]);
    let devices = config.fence.as_ref().map_or(0, |fence| fence.devices.len());
    for n in 0..devices {
        let path = format_args!("fence.devices[{n}]");
        durations!(all, (n, 0), path, |c, n, _| c.fence.as_mut()?.devices.get_mut(n), [timeout]);
    }
    durations!(all, (0, 0), "arbiter", |c, _, _| c.arbiter.as_mut(), [lease, renew_interval, answer_timeout]);
    all.push(Place {
        field: "arbiter.takeover_wait".into(),
        at: (0, 0),
        find: |c, _, _| c.arbiter.as_mut()?.takeover_wait.as_mut(),
    });
    durations!(all, (0, 0), "watchdog", |c, _, _| c.watchdog.as_mut(), [timeout]);
    for (g, group) in config.groups.iter().enumerate() {
        let path = format_args!("groups[{g}]");
        durations!(all, (g, 0), path, |c, g, _| c.groups.get_mut(g), [address_lifetime, announcement]);
        for r in 0..group.resources.len() {
            let path = format_args!("groups[{g}].resources[{r}]");
            durations!(
                all,
                (g, r),
                path,
                |c, g, r| c.groups.get_mut(g)?.resources.get_mut(r),
                [stop_timeout, monitor_interval, monitor_timeout]
            );
        }
    }
    durations!(
        all,
        (0, 0),
        "timing",
        |c, _, _| Some(&mut c.timing),
        [
            token_validity,
            boot_wait,
            ask_deadline,
            confirm_deadline,
            prepare_deadline,
            persist_deadline,
            takeover_deadline,
            feed_limit,
            kill_grace,
            mirror_stall
        ]
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FenceConfig, GroupConfig, LinkConfig, ResourceConfig};

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn reference() -> Config {
        Config::pair("mail", "a", "b")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .link(LinkConfig::serial("tty", ms(50), ms(250), 115_200))
            .group(GroupConfig::new("smtp").mirrored().then(ResourceConfig::new("server")))
            .fence(FenceConfig::new(ms(200)))
    }

    #[test]
    fn every_duration_has_the_range_in_which_the_rest_proves() {
        let config = reference();
        let ranges = ranges(&config).unwrap();
        let of = |field: &str| ranges.iter().find(|range| range.field == field).unwrap().clone();
        let feed = of("timing.feed_limit");
        assert_eq!((feed.least, feed.most), (ms(251), Some(ms(64_999))));
        assert_eq!(feed.lengthens, [FaultKind::FreezeChild]);
        assert_eq!(of("timing.token_validity").most, Some(ms(199)));
        let dead = of("links[1].dead");
        assert!(dead.lengthens.contains(&FaultKind::PowerLossActive), "{dead}");
        assert!(dead.least <= ms(250) && dead.most >= Some(ms(250)));
        assert!(of("fence.timeout").least > ms(150), "the slots hold by 1.9 ms only");
        for range in &ranges {
            assert!(
                range.least <= range.value && range.most.is_none_or(|most| most >= range.value),
                "{range}"
            );
            assert!(range.to_string().contains(&range.field));
        }
    }

    #[test]
    fn one_step_beyond_a_range_does_not_prove() {
        let config = reference();
        for range in ranges(&config).unwrap() {
            let places = places(&config);
            let place = places.iter().find(|place| place.field == range.field).unwrap();
            let proves = |span: Duration| {
                let mut changed = config.clone();
                *place.in_(&mut changed).unwrap() = span;
                super::super::prove(&changed).is_ok()
            };
            assert!(proves(range.least), "{range}");
            assert!(range.least.is_zero() || !proves(range.least - ms(1)), "{range}");
            if let Some(most) = range.most {
                assert!(proves(most) && !proves(most + ms(1)), "{range}");
            }
        }
    }
}
