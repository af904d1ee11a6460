//! What a configuration must satisfy by itself; whether its durations are safe together is
//! [`timing::prove`](crate::timing::prove)'s business.

use super::{ACCEPT_SPLIT_BRAIN, Config, GroupConfig, LinkConfig, Problem, Problems, ResourceConfig};
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Heartbeat paths of a pair, at most.
pub const MAX_LINKS: usize = 8;
/// Groups of a pair, at most.
pub const MAX_GROUPS: usize = 10_000;
const MAX_RESOURCES: usize = 64;
const MAX_NAME_BYTES: usize = 64;
/// A frame around its statements: header, echo and truncated MAC.
const FRAME_OVERHEAD_BYTES: usize = 36;
/// What a UDP datagram carries over Ethernet without fragments, less the frame's own overhead.
const MAX_PAYLOAD_BYTES: usize = 1472 - FRAME_OVERHEAD_BYTES;
/// One start bit, eight data bits, one stop bit.
const BITS_PER_BYTE: usize = 10;
/// What travels as `u16` milliseconds, with room for rounding up.
const MAX_TRAVELLING: Duration = Duration::from_secs(65);
/// What stays at home.
const MAX_BUDGET: Duration = Duration::from_hours(1);
/// One per cent: more than any clock that is not broken.
const MAX_DRIFT_PPM: u32 = 10_000;

/// A configuration that passed [`Config::check`]. Its durations may still be unsafe together: see
/// [`timing::prove`](crate::timing::prove).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked(Arc<Config>);

impl Checked {
    /// The configuration, shared.
    #[must_use]
    pub fn arc(&self) -> Arc<Config> {
        Arc::clone(&self.0)
    }
}

impl From<Checked> for Arc<Config> {
    fn from(checked: Checked) -> Self {
        checked.0
    }
}

impl Deref for Checked {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.0
    }
}

impl Config {
    /// Checks every field, and reports everything at once.
    ///
    /// ```
    /// use ha_core::config::{Config, GroupConfig, LinkConfig};
    /// use std::time::Duration;
    /// let problems = Config::pair("mail", "a", "a")
    ///     .link(LinkConfig::datagram("lan", Duration::from_millis(20), Duration::from_millis(200)))
    ///     .group(GroupConfig::new("smtp"))
    ///     .check()
    ///     .unwrap_err();
    /// assert_eq!(problems.as_slice()[0].field, "nodes[1].name");
    /// ```
    ///
    /// # Errors
    /// [`Problems`]: each with the field, what was found, what was expected, why, and how to mend it.
    pub fn check(self) -> Result<Checked, Problems> {
        let problems = problems(&self);
        if problems.is_empty() { Ok(Checked(Arc::new(self))) } else { Err(Problems(problems)) }
    }
}

/// The bits of one full frame on a line.
pub(crate) fn bits_on_line(link: &LinkConfig) -> u64 {
    let bytes = link.payload_bytes.min(MAX_PAYLOAD_BYTES) + FRAME_OVERHEAD_BYTES;
    u64::try_from(bytes * BITS_PER_BYTE).unwrap_or(u64::MAX)
}

/// Everything that is wrong with `config` by itself.
pub(crate) fn problems(config: &Config) -> Vec<Problem> {
    let mut findings = Findings::default();
    findings.cluster(config);
    findings.links(&config.links);
    findings.groups(config);
    findings.fence(config);
    findings.arbiter(config);
    findings.shared(config);
    findings.outliving(config);
    findings.budget(config);
    findings.timing(config);
    findings.unguarded(config);
    findings.0.extend(super::policy::problems(config));
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn add(
        &mut self,
        field: impl Into<String>,
        found: impl Display,
        expected: impl Display,
        why: &'static str,
        mend: impl Display,
    ) {
        self.0.push(Problem {
            field: field.into(),
            found: found.to_string(),
            expected: expected.to_string(),
            why,
            mend: mend.to_string(),
        });
    }

    fn cluster(&mut self, config: &Config) {
        self.name("cluster", &config.cluster);
        if config.nodes.len() != 2 {
            self.add(
                "nodes",
                counted(config.nodes.len(), "node"),
                "2 nodes",
                "a pair is two nodes; a node's number is its place here",
                "name exactly two nodes",
            );
        }
        self.names("nodes", config.nodes.iter().map(|node| node.name.as_str()));
    }

    fn names<'a>(&mut self, list: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeMap::new();
        for (place, name) in names.enumerate() {
            let field = format!("{list}[{place}].name");
            if let Some(first) = seen.insert(name, place).filter(|_| !name.is_empty()) {
                self.add(
                    &field,
                    format_args!("\"{name}\", which {list}[{first}] has too"),
                    "a name of its own",
                    "logs, transports and operators tell them apart by name",
                    format_args!("rename {list}[{place}] or {list}[{first}]"),
                );
            }
            self.name(&field, name);
        }
    }

    fn name(&mut self, field: &str, name: &str) {
        let printable = !name.chars().any(|c| c.is_control() || c.is_whitespace());
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !printable {
            self.add(
                field,
                format_args!("{name:?} ({} bytes)", name.len()),
                format_args!("1 to {MAX_NAME_BYTES} bytes without blanks and control characters"),
                "names stand in logs, tables and frames",
                "choose a short name",
            );
        }
    }

    fn links(&mut self, links: &[LinkConfig]) {
        self.count("links", links.len(), MAX_LINKS, "without a link every peer looks dead");
        self.names("links", links.iter().map(|link| link.name.as_str()));
        for (place, link) in links.iter().enumerate() {
            self.link(&format!("links[{place}]"), link);
        }
        if !links.is_empty() && links.iter().all(|link| link.evidence_only) {
            self.add(
                "links",
                "only links with evidence_only = true",
                "at least one link without it",
                "evidence vetoes a death and never causes one, so no death would ever be noticed",
                "add a datagram or serial link",
            );
        }
    }

    fn count(&mut self, field: &str, found: usize, most: usize, why: &'static str) {
        if found == 0 || found > most {
            let mend = if found == 0 { "add one" } else { "remove some" };
            self.add(field, found, format_args!("1 to {most}"), why, mend);
        }
    }

    fn link(&mut self, at: &str, link: &LinkConfig) {
        let before = self.0.len();
        self.span(&format!("{at}.interval"), link.interval, MAX_TRAVELLING);
        self.span(&format!("{at}.suspect"), link.suspect, MAX_TRAVELLING);
        self.span(&format!("{at}.dead"), link.dead, MAX_TRAVELLING);
        if self.0.len() == before {
            self.link_order(at, link);
        }
        if !(LinkConfig::SERIAL_PAYLOAD_BYTES..=MAX_PAYLOAD_BYTES).contains(&link.payload_bytes) {
            self.add(
                format!("{at}.payload_bytes"),
                link.payload_bytes,
                format_args!("{} to {MAX_PAYLOAD_BYTES}", LinkConfig::SERIAL_PAYLOAD_BYTES),
                "the longest statement must fit into a beat, and a beat into an unfragmented datagram",
                "leave it out, or use the constructor of the link's kind",
            );
        } else {
            self.line(at, link);
        }
    }

    fn link_order(&mut self, at: &str, link: &LinkConfig) {
        let two = link.interval * 2;
        if link.suspect < two {
            self.add(
                format!("{at}.suspect"),
                text(link.suspect),
                format_args!("at least {} (twice the interval of {})", text(two), text(link.interval)),
                "one lost beat is no suspicion",
                format_args!("raise {at}.suspect to {}", text(two)),
            );
        }
        if link.dead <= link.suspect {
            let more = link.suspect + link.interval;
            self.add(
                format!("{at}.dead"),
                text(link.dead),
                format_args!("more than {at}.suspect, which is {}", text(link.suspect)),
                "suspicion is the time to prepare; it must come before the verdict",
                format_args!("raise {at}.dead to {}, or lower {at}.suspect", text(more)),
            );
        }
    }

    fn line(&mut self, at: &str, link: &LinkConfig) {
        match link.bits_per_second {
            None => {}
            Some(0) => self.add(
                format!("{at}.bits_per_second"),
                "0",
                "the line's rate, for example 115200",
                "a line without a rate carries nothing",
                "set the rate, or leave it out for a link that is not limited by one",
            ),
            Some(rate) => {
                let bits = bits_on_line(link);
                let least = Duration::from_millis((bits * 1000).div_ceil(u64::from(rate)));
                if link.interval < least {
                    self.add(
                        format!("{at}.interval"),
                        text(link.interval),
                        format_args!("at least {}", text(least)),
                        "a frame at 10 bits a byte (8N1) takes that long on this line",
                        format_args!(
                            "raise {at}.interval to {} ({bits} bits at {rate}/s), or the rate",
                            text(least)
                        ),
                    );
                }
            }
        }
    }

    fn span(&mut self, field: &str, found: Duration, limit: Duration) {
        if found.is_zero() || found >= limit {
            let why = if limit == MAX_TRAVELLING {
                "it is counted in milliseconds that travel as 16 bits; zero would never or always be over"
            } else {
                "every wait ends, and no wait is over before it began"
            };
            self.add(
                field,
                text(found),
                format_args!("more than 0 and less than {}", text(limit)),
                why,
                format_args!("set {field} to a value in that range"),
            );
        }
    }

    fn groups(&mut self, config: &Config) {
        self.count("groups", config.groups.len(), MAX_GROUPS, "a pair without groups has nothing to do");
        self.names("groups", config.groups.iter().map(|group| group.name.as_str()));
        for (place, group) in config.groups.iter().enumerate() {
            self.group(&format!("groups[{place}]"), group);
        }
        let weights: u32 = config.groups.iter().map(|group| u32::from(group.weight)).sum();
        if weights > u32::from(u16::MAX) {
            self.add(
                "groups[..].weight",
                format_args!("a sum of {weights}"),
                format_args!("at most {}", u16::MAX),
                "the sum of active weights travels as 16 bits",
                "use small weights such as 1 and 2",
            );
        }
    }

    fn group(&mut self, at: &str, group: &GroupConfig) {
        if group.preferred.0 > 1 {
            self.add(
                format!("{at}.preferred"),
                group.preferred,
                "0 or 1",
                "a node's number is its place in nodes",
                format_args!("set {at}.preferred to 0 (first node) or 1 (second)"),
            );
        }
        self.span(&format!("{at}.promote_timeout"), group.promote_timeout, MAX_BUDGET);
        self.span(&format!("{at}.demote_timeout"), group.demote_timeout, MAX_BUDGET);
        self.at_most(&format!("{at}.address_lifetime"), group.address_lifetime, MAX_BUDGET);
        self.at_most(&format!("{at}.announcement"), group.announcement, MAX_BUDGET);
        if group.resources.len() > MAX_RESOURCES {
            self.add(
                format!("{at}.resources"),
                group.resources.len(),
                format_args!("at most {MAX_RESOURCES}"),
                "a takeover starts them one after the other",
                "split the group",
            );
        }
        self.names(&format!("{at}.resources"), group.resources.iter().map(|r| r.name.as_str()));
        for (place, resource) in group.resources.iter().enumerate() {
            self.resource(&format!("{at}.resources[{place}]"), resource);
        }
    }

    fn resource(&mut self, at: &str, resource: &ResourceConfig) {
        self.span(&format!("{at}.start_timeout"), resource.start_timeout, MAX_BUDGET);
        self.span(&format!("{at}.stop_timeout"), resource.stop_timeout, MAX_BUDGET);
        self.span(&format!("{at}.monitor_interval"), resource.monitor_interval, MAX_BUDGET);
        self.span(&format!("{at}.monitor_timeout"), resource.monitor_timeout, MAX_BUDGET);
    }

    fn at_most(&mut self, field: &str, found: Duration, limit: Duration) {
        if found >= limit {
            self.add(
                field,
                text(found),
                format_args!("less than {}", text(limit)),
                "every wait ends",
                format_args!("lower {field}"),
            );
        }
    }

    fn fence(&mut self, config: &Config) {
        let Some(fence) = &config.fence else { return };
        let before = self.0.len();
        self.span("fence.timeout", fence.timeout, MAX_TRAVELLING);
        self.at_most("fence.effect", fence.effect, MAX_TRAVELLING);
        self.devices(config, &fence.devices);
        if self.0.len() == before && config.links.iter().all(|link| link.interval < MAX_TRAVELLING) {
            let slot = config.slot();
            if slot >= MAX_TRAVELLING {
                self.add(
                    "fence.timeout",
                    format_args!("{}, which makes a slot of {}", text(fence.timeout), text(slot)),
                    format_args!("a slot of less than {}", text(MAX_TRAVELLING)),
                    "the slot, 1.2 × (timeout + effect) + slowest interval, travels as 16 bits of milliseconds",
                    "lower fence.timeout or fence.effect, or use a faster device",
                );
            }
        }
    }

    fn timing(&mut self, config: &Config) {
        let t = &config.timing;
        for (name, span) in [
            ("token_validity", t.token_validity),
            ("boot_wait", t.boot_wait),
            ("ask_deadline", t.ask_deadline),
            ("confirm_deadline", t.confirm_deadline),
            ("prepare_deadline", t.prepare_deadline),
            ("persist_deadline", t.persist_deadline),
            ("takeover_deadline", t.takeover_deadline),
            ("query_interval", t.query_interval),
            ("question_interval", t.question_interval),
            ("kill_grace", t.kill_grace),
            ("mirror_stall", t.mirror_stall),
            ("application_stall", t.application_stall),
        ] {
            self.span(&format!("timing.{name}"), span, MAX_BUDGET);
        }
        if !t.detached_limit.is_zero() {
            self.span("timing.detached_limit", t.detached_limit, MAX_BUDGET * 24);
        }
        self.span("timing.feed_limit", t.feed_limit, MAX_TRAVELLING);
        if t.drift_ppm > MAX_DRIFT_PPM {
            self.add(
                "timing.drift_ppm",
                t.drift_ppm,
                format_args!("at most {MAX_DRIFT_PPM}"),
                "a clock that is more than one per cent off is broken",
                "leave it at 500",
            );
        }
        let voting = config.links.iter().filter(|link| !link.evidence_only);
        let fastest = voting.map(|link| link.interval).min().unwrap_or_default();
        if fastest < MAX_TRAVELLING && t.token_validity < fastest * 2 {
            let least = text(fastest * 2);
            self.add(
                "timing.token_validity",
                text(t.token_validity),
                format_args!("at least {least} (twice the fastest link's interval)"),
                "the permission is renewed with the beats; one late beat must not suspend the service",
                format_args!("raise timing.token_validity to {least}"),
            );
        }
    }

    fn unguarded(&mut self, config: &Config) {
        let Some(found) = &config.unguarded else { return };
        if !config.is_unguarded() {
            self.add(
                "unguarded",
                quoted(found),
                format_args!("{} or nothing at all", quoted(&ACCEPT_SPLIT_BRAIN)),
                "taking over without proof must be asked for by its name",
                "leave it out, and give the pair a fence device",
            );
        }
        for (place, group) in config.groups.iter().enumerate().filter(|(_, group)| group.mirrored) {
            self.add(
                "unguarded",
                format_args!("{} with the mirrored groups[{place}] \"{}\"", quoted(found), group.name),
                "no mirrored group",
                "a mirror never acknowledges on an assumption: acknowledged mail could be lost",
                "leave unguarded out, and give the pair a fence device",
            );
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn quoted(value: &impl Debug) -> String {
    format!("{value:?}")
}

fn text(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

mod arbiter;
mod detach;

#[cfg(test)]
mod tests;
