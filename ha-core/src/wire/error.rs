//! Why a frame was refused, or could not be made.

use crate::{Incarnation, LinkId, NodeId};

/// Why a frame was refused. A refused frame changes nothing but counters, and perhaps asks for a greeting.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Cut short, or noise.
    #[error("frame of {found} bytes, this kind has at least {needed}: cut short or noise")]
    TooShort {
        /// Its length.
        found: usize,
        /// The shortest of its kind.
        needed: usize,
    },
    /// Longer than any frame.
    #[error("frame of {found} bytes, expected at most {limit}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The longest.
        limit: usize,
    },
    /// Not ours at all.
    #[error("first byte {found:#04x} is not that of a heartbeat: something else sends to this port or line")]
    Magic {
        /// The first byte.
        found: u8,
    },
    /// Of another version of the format.
    #[error("frame format {found}, this node speaks {supported}: run versions that share one")]
    Version {
        /// The frame's.
        found: u8,
        /// Ours.
        supported: u8,
    },
    /// The two nodes' programs have no version in common. Both sides find this.
    #[error(
        "the peer speaks versions {} to {} of the frame format, this node {} to {}: there is none in common; upgrade the older node step by step",
        theirs.0, theirs.1, ours.0, ours.1
    )]
    NoCommonVersion {
        /// The oldest and the newest that are spoken here.
        ours: (u8, u8),
        /// The peer's.
        theirs: (u8, u8),
    },
    /// Of a kind that this version does not know.
    #[error("frame of unknown kind {found}")]
    Kind {
        /// The kind's number.
        found: u8,
    },
    /// A greeting for another cluster.
    #[error("greeting of another cluster: compare `cluster` in both configurations, and the addresses")]
    OtherCluster,
    /// A greeting for another link of the same cluster.
    #[error("greeting for link {found} on link {here}: the paths are swapped or listed in another order")]
    OtherLink {
        /// The frame's.
        found: LinkId,
        /// Ours.
        here: LinkId,
    },
    /// A sender that is none of the pair.
    #[error("sender is node {found}, a pair has nodes 0 and 1")]
    UnknownNode {
        /// Whom it names.
        found: NodeId,
    },
    /// A greeting that the key does not authenticate.
    #[error(
        "greeting is not authenticated: the nodes' key files differ, or it was damaged or forged (a MAC cannot tell)"
    )]
    BadMac,
    /// A beat or last word that no present session authenticates.
    #[error(
        "beat belongs to no present session: of or for an earlier life, another link, cluster or key, damaged or forged (a MAC cannot tell)"
    )]
    Unbound,
    /// Accepted before, or too old to know.
    #[error("frame {seq} was heard before or is older than the replay window")]
    Replayed {
        /// Its number; zero for a greeting.
        seq: u32,
    },
    /// Our own, come back.
    #[error("own frame came back: the path is looped, or the peer's address is this node's own")]
    Reflected,
    /// Our name, another life.
    #[error(
        "incarnation {incarnation} greets as node {node}, which is this node: two nodes carry one name, or a recording of an earlier life is repeated"
    )]
    SameName {
        /// The name's place in the configuration.
        node: NodeId,
        /// The other's life.
        incarnation: Incarnation,
    },
    /// Authentic, but not understood.
    #[error("authentic frame with a malformed {what}: the peer's version is broken")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

/// Why a beat could not be encoded: the caller broke the contract, or its life was too long.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The number did not grow.
    #[error("beat {seq} after beat {last}: numbers must grow within a life")]
    SeqNotIncreasing {
        /// The beat's.
        seq: u32,
        /// The newest so far.
        last: u32,
    },
    /// The numbers of one life are used up.
    #[error(
        "beat {seq}: numbers from {limit} on are the guardian's; restart this node (at 20 ms a life lasts 2.7 years)"
    )]
    SeqExhausted {
        /// The beat's.
        seq: u32,
        /// The first reserved one.
        limit: u32,
    },
    /// Too many statements.
    #[error("beat of {found} bytes, expected at most {limit}: fewer statements")]
    TooLong {
        /// Its length.
        found: usize,
        /// The longest.
        limit: usize,
    },
    /// A beat of another life.
    #[error("beat of incarnation {found} on a session of {expected}")]
    OtherLife {
        /// The beat's.
        found: Incarnation,
        /// The session's.
        expected: Incarnation,
    },
}
