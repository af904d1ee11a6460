//! The proof that the survivor's earliest action comes after the victim's latest action.

/// Whether two nodes' safety values `(dead, slot, feed)` in milliseconds fit each other: fencing slots of
/// another length, or another dead time, could let both shoot.
#[must_use]
pub fn fits(mine: (u16, u16, u16), theirs: (u16, u16, u16)) -> bool {
    mine.0.abs_diff(theirs.0) <= mine.0 / 50 && mine.1.abs_diff(theirs.1) <= mine.1 / 50
}

/// When an address of the given lifetime is surely gone: the kernel counts whole seconds, and takes its time.
#[must_use]
pub fn address_expiry(lifetime: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0))
        + std::time::Duration::from_millis(500)
}
