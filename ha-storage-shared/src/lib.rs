//! Shared-disk mode: the pair's data lives on one disk array that both nodes reach.
//!
//! This crate is the place for what that mode needs beside `ha-core`; none of it is built yet:
//!
//! - disk leases as an [`Arbiter`](https://en.wikipedia.org/wiki/Fencing_(computing)) of ownership, measured by the
//!   reader's own clock (the delta lease of sanlock is the model);
//! - the poison-pill mailbox, by which a node asks the other to stop through the disk itself;
//! - persistent reservations, by which the storage refuses the old owner's writes (`StopProof::Reserved`);
//! - the file-system resource that mounts only under a proof and a token.
//!
//! A pair without it mirrors its data (`ha-replication`) and proves a stop by fence devices and guardians.
