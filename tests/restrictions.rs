//! Each restriction of a service, and each right that it is given, tried from inside: the forbidden act is refused with
//! the right error, an allowed one beside it works, and without the directive it ends otherwise.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

#[path = "restrictions/case.rs"]
mod case;
#[path = "restrictions/credentials.rs"]
mod credentials;
#[path = "restrictions/files.rs"]
mod files;
#[path = "restrictions/foreign.rs"]
mod foreign;
#[path = "restrictions/given.rs"]
mod given;
#[path = "restrictions/kernel.rs"]
mod kernel;
mod support;
#[path = "restrictions/together.rs"]
mod together;
