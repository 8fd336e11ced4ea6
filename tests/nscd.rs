//! The name service cache daemon: the real one beside us, and its socket served by us.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod support;

#[path = "nscd/foreign.rs"]
mod foreign;
#[path = "nscd/hostile.rs"]
mod hostile;
#[path = "nscd/programs.rs"]
mod programs;
#[path = "nscd/served.rs"]
mod served;
