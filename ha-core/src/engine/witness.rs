//! A second engine that looks at every group in every step: the one that does not must decide alike.

use super::Input;
use super::machine::Engine;
use crate::Instant;

impl Engine {
    /// From now on every step is taken by a witness too, which looks at all groups.
    ///
    /// # Panics
    /// Each further [`Engine::handle`] panics if the witness comes to another state or to other actions: a group
    /// was not looked at although one of its facts had changed. The message names the first difference.
    pub fn check_marks(&mut self) {
        self.witnessed = true;
    }

    pub(super) fn handle_witnessed(&mut self, now: Instant, input: Input) {
        let mut witness = self.clone();
        (witness.witnessed, witness.agenda.dense) = (false, true);
        let what = format!("{input:?}");
        witness.handle(now, input.clone());
        self.step(now, input);
        let difference = self.difference(&witness);
        assert!(difference.is_none(), "at {now:?} after {what}: {}", difference.unwrap_or_default());
    }

    fn difference(&self, witness: &Self) -> Option<String> {
        for g in self.group_ids() {
            let (mine, theirs) = (self.group(g), witness.group(g));
            let records = (self.st.record.group(g), witness.st.record.group(g));
            if mine != theirs || records.0 != records.1 {
                return Some(format!(
                    "group {g} was not looked at: it is {mine:?} with {:?}, a look makes it {theirs:?} with {:?}",
                    records.0, records.1
                ));
            }
        }
        if self.outbox != witness.outbox {
            return Some(format!("actions {:?}, with a look at all {:?}", self.outbox, witness.outbox));
        }
        (self.st != witness.st).then(|| format!("state {:?}, with a look at all {:?}", self.st, witness.st))
    }
}
