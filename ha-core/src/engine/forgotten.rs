//! Ways to forget a group, for the tests that prove that a witness notices. Only in builds with the `sabotage`
//! feature.

/// What no longer leads to a look at a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Forgotten {
    /// What the peer claims of it.
    Claims,
    /// A change of the node's facts.
    Node,
    /// Its deadlines.
    Deadlines,
    /// A change of a group that it is tied to.
    Ties,
    /// Its record became durable.
    Durable,
    /// Any change of its own facts.
    Changes,
}

impl Forgotten {
    /// Every way.
    pub const ALL: [Self; 6] =
        [Self::Claims, Self::Node, Self::Deadlines, Self::Ties, Self::Durable, Self::Changes];
}

impl super::Engine {
    /// Forgets groups in this way from now on.
    pub fn forget(&mut self, what: Forgotten) {
        self.agenda.forgets = Some(what);
    }
}
