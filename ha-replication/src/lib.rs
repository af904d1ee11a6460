//! A transactional mirror of a mail store on two nodes.

mod history;
mod ops;
mod record;
mod store;
