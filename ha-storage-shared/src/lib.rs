//! Shared-disk mode: leases, poison pill and reservations on a shared disk.
