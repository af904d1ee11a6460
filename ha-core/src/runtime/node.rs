//! A running node, as its program holds it.

use super::agents::Agents;
use super::arrivals::{ArrivalSender, Request};
use super::builder::{COMMANDS_WAITING, NodeBuilder, halt};
use super::ending::Ended;
use super::error::NodeError;
use super::events::{EventLog, EventStream};
use super::explanations::Explanations;
use super::links::LinkTraffic;
use super::names::Names;
use super::report::StatusReport;
use crate::config::Config;
use crate::engine::Command;
use crate::explain::Explanation;
use crate::{GroupId, NodeId, TokenCell};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// A running node.
///
/// Dropping it ends its threads in order but hands nothing over: permissions are revoked first, beats stop, and
/// the peer must find a proof, as after a crash. Resources that run are not stopped. Call [`Node::shutdown`]
/// to leave in good order.
pub struct Node {
    pub(super) names: Names,
    pub(super) agents: Arc<Agents>,
    pub(super) arrivals: ArrivalSender,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) status: watch::Receiver<StatusReport>,
    pub(super) log: EventLog,
    pub(super) explanations: Explanations,
    pub(super) ended: watch::Receiver<Option<Ended>>,
    pub(super) traffic: Vec<Arc<LinkTraffic>>,
}

impl Node {
    /// Begins a node of the pair: `me` is its place in `config.nodes`.
    pub fn builder(config: Arc<Config>, me: NodeId) -> NodeBuilder {
        NodeBuilder::new(config, me)
    }

    /// The newest snapshot, and every later one.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<StatusReport> {
        self.status.clone()
    }

    /// Everything that happens, beginning with the oldest event that is kept.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.log.reader(self.ended.clone())
    }

    /// Why this node decided as it did: the newest [`EXPLANATIONS_KEPT`](super::EXPLANATIONS_KEPT) decisions, oldest
    /// first, those of earlier lives included where [`NodeBuilder::record`] keeps them. A decision is explained
    /// within milliseconds, behind everything else that the node does.
    #[must_use]
    pub fn explain(&self) -> Vec<Arc<Explanation>> {
        self.explanations.all()
    }

    /// What each link sent, received and refused so far, in the order of the configuration.
    #[must_use]
    pub fn traffic(&self) -> &[Arc<LinkTraffic>] {
        &self.traffic
    }

    /// The permission of the group called `name`. See [`TokenCell`] for how to check it.
    ///
    /// # Errors
    /// [`NodeError::UnknownGroup`].
    pub fn token(&self, name: &str) -> Result<TokenCell, NodeError> {
        let group = self.group(name)?;
        self.agents.group(group).map(|g| g.token.clone()).ok_or_else(|| self.unknown(name))
    }

    /// The number of the group called `name`, for a [`Command`].
    ///
    /// # Errors
    /// [`NodeError::UnknownGroup`].
    pub fn group(&self, name: &str) -> Result<GroupId, NodeError> {
        self.names.find_group(name).ok_or_else(|| self.unknown(name))
    }

    /// Gives an operator's command. Whether it was refused is an event.
    ///
    /// # Errors
    /// [`NodeError::Busy`] or [`NodeError::Ended`]: the command was not taken.
    pub fn command(&self, command: Command) -> Result<(), NodeError> {
        self.request(Request::Command(command))
    }

    /// Gives an answer to the question about the group called `name`: one of the
    /// [`QuestionReport::answers`](super::QuestionReport::answers) of the status that has a command. Read there
    /// what it does and risks before. Whether it was refused is an event.
    ///
    /// # Errors
    /// As [`Node::command`], [`NodeError::UnknownGroup`], and [`NodeError::NoSuchAnswer`].
    pub fn answer(&self, name: &str, answer: &str) -> Result<(), NodeError> {
        self.group(name)?;
        let question = self.status.borrow().group(name).and_then(|g| g.question.clone());
        let answers = question.map(|q| q.answers).unwrap_or_default();
        let given = answers.iter().find(|a| a.name == answer).and_then(|a| a.command);
        let Some(command) = given else {
            let possible: Vec<_> = answers.iter().filter(|a| a.command.is_some()).map(|a| &*a.name).collect();
            let expected = if possible.is_empty() { "none now".to_owned() } else { possible.join(", ") };
            return Err(NodeError::NoSuchAnswer { found: answer.into(), group: name.into(), expected });
        };
        self.command(command)
    }

    /// Moves the group called `name` to the other node.
    ///
    /// # Errors
    /// As [`Node::command`], and [`NodeError::UnknownGroup`].
    pub fn switchover(&self, name: &str) -> Result<(), NodeError> {
        self.command(Command::Switchover(self.group(name)?))
    }

    /// Says how many outside targets answered. Call it when the number changes, and notice a loss within the
    /// shortest *dead* of a network link: an owner whose network failed compares by then.
    ///
    /// # Errors
    /// [`NodeError::Busy`] or [`NodeError::Ended`]: the number was not taken.
    pub fn report_outside(&self, reachable: u8) -> Result<(), NodeError> {
        self.request(Request::Outside(reachable))
    }

    /// Hands everything over and ends. Resolves when the node ended, however it did.
    pub async fn shutdown(&self) -> Ended {
        // The queue may be full for a moment; it is closed only when the node ended.
        let _ = self.requests.send(Request::Command(Command::Shutdown)).await;
        self.ended().await
    }

    /// Ends at once and hands nothing over. Resolves when all permissions are revoked and all links closed.
    pub async fn halt(&self) -> Ended {
        halt(&self.arrivals);
        self.ended().await
    }

    /// Resolves when the node ended.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let how = ended.wait_for(Option::is_some).await.ok().and_then(|how| *how);
        // A control thread that vanished without a word revoked its permissions while unwinding.
        how.unwrap_or(Ended::Crashed)
    }

    fn request(&self, request: Request) -> Result<(), NodeError> {
        self.requests.try_send(request).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => NodeError::Busy { limit: COMMANDS_WAITING },
            mpsc::error::TrySendError::Closed(_) => {
                NodeError::Ended(self.ended.borrow().unwrap_or(Ended::Crashed))
            }
        })
    }

    fn unknown(&self, name: &str) -> NodeError {
        NodeError::UnknownGroup { found: name.into(), expected: self.names.groups() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        halt(&self.arrivals);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}
