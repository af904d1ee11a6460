//! Third parties that decide who owns a group: implementations of [`Arbiter`](crate::api::Arbiter).
//!
//! | type | its truth is kept by | feature |
//! |---|---|---|
//! | [`OperatorArbiter`] | a person, who answers questions | `runtime` |
//! | `ObjectArbiter` | an object store with conditional put: a folder, S3 and the like | `object` |
//! | `EtcdArbiter` | an etcd cluster | `etcd` |
//!
//! [`WithDeadline`] bounds every call of an implementation that does not do so by itself; these do.

mod deadline;
mod operator;
#[cfg(any(feature = "object", feature = "etcd"))]
mod own_leases;
#[cfg(any(feature = "object", feature = "etcd"))]
mod random;
#[cfg(any(feature = "object", feature = "etcd"))]
mod stored;
mod succession;

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "object")]
mod object;

pub use deadline::WithDeadline;
pub use operator::{
    AnswerError, Consequence, OperatorArbiter, OperatorDesk, OperatorQuestion, QuestionId, Verdict,
};

#[cfg(feature = "etcd")]
pub use etcd::{EtcdArbiter, EtcdArbiterBuilder};
#[cfg(feature = "object")]
pub use object::{ObjectArbiter, ObjectArbiterBuilder};
