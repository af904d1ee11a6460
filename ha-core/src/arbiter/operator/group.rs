//! What a desk was told of one group.

use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::{Epoch, Incarnation, Instant};
use std::time::Duration;

/// Facts that a question shows: the newest ones.
const MOST_NOTES: usize = 16;

/// The truth about a group, as far as this desk knows it.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub told: Option<Told>,
    notes: Vec<String>,
}

/// What a person said, and what followed from it here.
#[derive(Debug)]
pub(super) struct Told {
    pub record: Option<OwnerRecord>,
    pub revision: u64,
    tenure: Tenure,
}

/// What the desk can know of the owner's lease.
#[derive(Debug)]
enum Tenure {
    /// Given up, or there is no owner.
    Free,
    /// Granted here: its renewals come to this desk.
    Here { renewed: Instant, renewal: u64 },
    /// Granted elsewhere: whether that owner lives, this desk never hears.
    Elsewhere { looked: u64 },
}

impl Group {
    pub(super) fn note(&mut self, text: String) {
        if self.notes.len() == MOST_NOTES {
            self.notes.remove(0);
        }
        self.notes.push(text);
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A person said what stands.
    pub(super) fn tell(&mut self, record: Option<OwnerRecord>) {
        let owned = record.is_some_and(|r| r.owner.is_some());
        let tenure = if owned { Tenure::Elsewhere { looked: 0 } } else { Tenure::Free };
        self.told = Some(Told { record, revision: u64::from(record.is_some()), tenure });
    }
}

impl Told {
    /// The record becomes `record`.
    pub(super) fn swap(&mut self, record: OwnerRecord, now: Instant) {
        self.revision = self.revision.saturating_add(1);
        let renewal = match self.tenure {
            Tenure::Here { renewal, .. } => renewal + 1,
            _ => 0,
        };
        self.record = Some(record);
        self.tenure = match record.owner {
            Some(_) => Tenure::Here { renewed: now, renewal },
            None => Tenure::Free,
        };
    }

    /// One reading at `now`.
    pub(super) fn view(&mut self, now: Instant, lease: Duration) -> ArbiterView {
        let Some(record) = self.record else { return ArbiterView::new(None, Lease::Free, self.revision) };
        let incarnation = record.incarnation;
        let lease = match &mut self.tenure {
            Tenure::Free => Lease::Free,
            Tenure::Here { renewed, .. } if now.since(*renewed) >= lease => Lease::Free,
            Tenure::Here { renewal, .. } => Lease::Held { incarnation, renewal: *renewal },
            // Nobody shall conclude from a desk that hears nothing that the owner's lease ran out.
            Tenure::Elsewhere { looked } => {
                *looked += 1;
                Lease::Held { incarnation, renewal: *looked }
            }
        };
        ArbiterView::new(Some(record), lease, self.revision)
    }

    /// What is known of the owner's life, in one sentence.
    pub(super) fn tenure_in_words(&self, now: Instant, lease: Duration) -> Option<String> {
        let record = self.record.as_ref()?;
        match self.tenure {
            Tenure::Free => record.owner.map(|node| format!("node {node} gave its lease up")),
            Tenure::Here { renewed, .. } => {
                let ago = now.since(renewed);
                Some(format!("its lease of {lease:?} was last renewed {ago:?} ago"))
            }
            Tenure::Elsewhere { .. } => {
                Some("it was not granted at this desk, which hears nothing of whether it lives".to_owned())
            }
        }
    }

    /// Renews the lease, if it is that life's and has not run out.
    pub(super) fn renew(&mut self, life: Incarnation, epoch: Epoch, now: Instant, lease: Duration) -> bool {
        let named =
            self.record.is_some_and(|r| r.owner.is_some() && r.incarnation == life && r.epoch == epoch);
        let Tenure::Here { renewed, renewal } = &mut self.tenure else { return false };
        if !named || now.since(*renewed) >= lease {
            return false;
        }
        *renewed = now;
        *renewal += 1;
        true
    }

    /// Gives the lease up, if it is that life's.
    pub(super) fn release(&mut self, life: Incarnation) {
        if self.record.is_some_and(|r| r.incarnation == life) {
            self.tenure = Tenure::Free;
        }
    }

    /// Whether `next` takes something from somebody: only a person may say so.
    pub(super) fn takes(&self, next: &OwnerRecord) -> bool {
        let Some(standing) = &self.record else { return true };
        let shrinks = standing.in_sync & !next.in_sync != 0;
        let same_life = standing.incarnation == next.incarnation && standing.epoch == next.epoch;
        let same_owner = next.owner.is_none()
            || (standing.owner == next.owner && matches!(self.tenure, Tenure::Here { .. }));
        shrinks || !(same_life && same_owner)
    }
}
