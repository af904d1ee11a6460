//! Medians and worst cases, and the ratio to keepalived.

use super::event::Event;
use super::trial::Trial;
use std::fmt::Write as _;

/// A markdown table: one row for each event and software, in the order of the events.
pub(super) fn markdown(trials: &[Trial], events: &[Event]) -> String {
    let mut text = String::from(
        "| event | software | trials | outage median ms | worst ms | stall, network lock then ms | of keepalived's median | on both: configured, median ms | worst ms | answered, worst ms | not measured |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for event in events.iter().map(Event::to_string) {
        let of_event: Vec<&Trial> = trials.iter().filter(|trial| trial.event == event).collect();
        let mut softwares: Vec<&str> = of_event.iter().map(|trial| trial.software.as_str()).collect();
        softwares.sort_unstable();
        softwares.dedup();
        let baseline = softwares
            .iter()
            .find(|name| name.starts_with("keepalived"))
            .and_then(|name| Row::of(&of_event, name));
        for name in softwares {
            let failed: Vec<&str> =
                of_event.iter().filter(|t| t.software == name).filter_map(|t| t.error.as_deref()).collect();
            let _ = match Row::of(&of_event, name) {
                Some(row) => {
                    writeln!(text, "| {event} | {name} | {} |", row.cells(baseline.as_ref(), &failed))
                }
                None => writeln!(
                    text,
                    "| {event} | {name} | 0 | – | – | – | – | – | – | – | {} |",
                    failed.join("; ")
                ),
            };
        }
    }
    text
}

/// What all trials of one event with one software say.
struct Row {
    trials: usize,
    outage: (f64, f64),
    /// Of the machine, in the worst trial: longest stall of a timer, longest wait for the kernel's network lock.
    stall_of_worst: (f64, f64),
    both: (f64, f64),
    both_answered: f64,
}

impl Row {
    fn of(trials: &[&Trial], software: &str) -> Option<Self> {
        let measured: Vec<&&Trial> =
            trials.iter().filter(|t| t.software == software && t.error.is_none()).collect();
        let worst = measured.iter().max_by(|a, b| a.outage_ms.total_cmp(&b.outage_ms))?;
        Some(Self {
            trials: measured.len(),
            outage: (median(measured.iter().map(|t| t.outage_ms)), worst.outage_ms),
            stall_of_worst: (worst.stall_ms, worst.lock_ms),
            both_answered: measured.iter().map(|t| t.both_answered_ms).fold(0.0, f64::max),
            both: (
                median(measured.iter().map(|t| t.both_ms)),
                measured.iter().map(|t| t.both_ms).fold(0.0, f64::max),
            ),
        })
    }

    fn cells(&self, baseline: Option<&Self>, failed: &[&str]) -> String {
        let ratio =
            baseline.map_or_else(|| "–".to_owned(), |its| format!("{:.2}", self.outage.0 / its.outage.0));
        format!(
            "{} | {:.1} | {:.1} | {:.1}, {:.1} | {ratio} | {:.1} | {:.1} | {:.1} | {}",
            self.trials,
            self.outage.0,
            self.outage.1,
            self.stall_of_worst.0,
            self.stall_of_worst.1,
            self.both.0,
            self.both.1,
            self.both_answered,
            failed.join("; ")
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few_is_exact() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0].into_iter()) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_row_has_its_ratio_and_what_failed() {
        let trial = |software: &str, outage_ms| Trial {
            outage_ms,
            error: None,
            ..Trial::failed(software.into(), Event::PowerLoss, &"".into())
        };
        let failed = Trial::failed("pair-node".into(), Event::PowerLoss, &"refused".into());
        let trials = [trial("keepalived", 200.0), trial("pair-node", 100.0), failed];
        let text = markdown(&trials, &[Event::PowerLoss]);
        assert!(
            text.contains(
                "| power-loss | pair-node | 1 | 100.0 | 100.0 | 0.0, 0.0 | 0.50 | 0.0 | 0.0 | 0.0 | refused |"
            ),
            "{text}"
        );
    }
}
