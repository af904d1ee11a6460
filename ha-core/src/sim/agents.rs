//! Placeholder.
use super::cluster::Cluster;
use super::node::Op;
use crate::engine::Permission;
use crate::{Instant, OpId};

#[derive(Debug, Default)]
pub struct Agents;

impl Agents {
    pub fn owns(&self, _: usize, _: u8) -> bool {
        false
    }
    pub fn set_token(&mut self, _: usize, _: usize, _: Permission) {}
    pub fn ended(&mut self, _: usize) {}
    pub fn cleared(&mut self, _: usize) {}
}

impl Cluster {
    pub(super) fn start_agent(&mut self, _: usize, _: OpId, _: Op, _: Instant) {}
    pub(super) fn poll_agent(&mut self, _: u64) {}
}
