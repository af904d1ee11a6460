//! The seams: one small, object-safe trait each. Users extend the library by implementing one of them.

mod arbiter;
mod clock;
mod ctx;
mod data;
mod fence;
mod link;
mod resource;
mod state;

pub use arbiter::*;
pub use clock::*;
pub use ctx::*;
pub use data::*;
pub use fence::*;
pub use link::*;
pub use resource::*;
pub use state::*;
