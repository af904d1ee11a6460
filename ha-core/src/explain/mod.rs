//! Why an engine decided as it did: the facts of that instant, the rule, what else could have been done and why it
//! was not, and what would have changed it.
//!
//! The engine itself knows nothing of this. An [`Explainer`] watches a second engine that is fed the same inputs
//! (see [`replay`](crate::replay)), beside the node or from a log. A [`Counterfactual`] is never guessed: the inputs
//! are fed again with the one change, and only what then happens is stated.

mod alternatives;
mod counterfactual;
mod decision;
mod explainer;
mod explanation;
mod imagine;
mod question;
mod words;

pub use counterfactual::Counterfactual;
pub use decision::{Decision, Rule, decisions};
pub use explainer::Explainer;
pub use explanation::{Explanation, Rejected};
pub use imagine::{Change, Imagined};
pub use question::{Answer, OpenQuestion};

#[cfg(test)]
mod tests;
