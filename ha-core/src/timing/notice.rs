//! What is safe but not what one may expect. Said once, at the start.

use super::violation::in_ms;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Something that a proven configuration says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Notice {
    /// Neither fence nor third party.
    NoFence,
    /// Takeovers without proof were accepted by name.
    Unguarded,
    /// A frozen process is shot by the peer before its guardian can release it.
    FencedInsteadOfReleased {
        /// When the guardian's word may come, from the last beat.
        #[serde(rename = "release_ms", serialize_with = "super::inequality::as_ms")]
        release: Duration,
        /// When the peer may shoot.
        #[serde(rename = "shot_ms", serialize_with = "super::inequality::as_ms")]
        shot: Duration,
    },
    /// Only one path may declare a death.
    SinglePath,
    /// A link declares a death after fewer than five beats.
    FewBeats {
        /// The link's name.
        link: String,
        /// How many.
        beats: u32,
    },
    /// A link's loss is noticed only when the node is judged already, so nothing is prepared by then.
    SlowDetector {
        /// The link's name.
        link: String,
    },
    /// An arbiter's lease proves nothing here, because nobody vouches for the host's pauses.
    LeaseProvesNothing,
    /// The fence device ends only access, so it never proves the end of an incarnation.
    AccessOnly,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFence => f.write_str(
                "no fence and no third party: loss of either node stops acknowledged mail until it returns or you answer",
            ),
            Self::Unguarded => f.write_str(
                "unguarded: a silent peer is assumed dead without proof; both nodes may serve at once",
            ),
            Self::FencedInsteadOfReleased { release, shot } => write!(
                f,
                "a frozen process may be fenced instead of released: its guardian's word may take {}, the peer may shoot after {}",
                in_ms(*release),
                in_ms(*shot)
            ),
            Self::SinglePath => f.write_str(
                "only one heartbeat path may declare a death: a broken cable looks like a dead node; add a second path of another kind",
            ),
            Self::FewBeats { link, beats } => write!(
                f,
                "link \"{link}\" declares a death after {beats} beats; five or more ride out a busy moment"
            ),
            Self::SlowDetector { link } => write!(
                f,
                "link \"{link}\" is suspected only when the node is judged already; lower its suspect"
            ),
            Self::LeaseProvesNothing => f.write_str(
                "an expired lease of the arbiter proves nothing here: pauses of the host may be invisible to a guest; on bare metal, or where the hypervisor fences, set arbiter.trusts_host_pauses = true",
            ),
            Self::AccessOnly => f.write_str(
                "the fence device ends only access: it never proves that a node has ended",
            ),
        }
    }
}
