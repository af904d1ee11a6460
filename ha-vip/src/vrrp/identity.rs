//! Who speaks: the virtual router's number and the priority of one speaker of it.

use std::fmt;
use std::num::NonZeroU8;

/// The number of a virtual router, 1..=255: all speakers with the same number on a link are one router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The virtual router `number`; `None` for 0, which no router has.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        NonZeroU8::new(number).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much a speaker wants to be the active one (RFC 9568 section 5.2.4): the higher wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(pub u8);

impl Priority {
    /// The active speaker leaves: the others wait for no more than their skew.
    pub const RELEASE: Self = Self(0);
    /// The lowest that a speaker may have.
    pub const LOWEST: Self = Self(1);
    /// What speakers have unless told otherwise.
    pub const DEFAULT: Self = Self(100);
    /// The highest of a speaker that does not own the addresses.
    pub const HIGHEST_BACKUP: Self = Self(254);
    /// The router that has the addresses as its own; it yields to nobody.
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
