//! A UNIX user for every service that exists only while the service runs.
//!
//! The list of modules is the architecture. A module uses only modules of lower layers;
//! `tests/layers.rs` reads the sources and keeps it so.

#![deny(unsafe_code)]

// Layer 0: words that everybody uses. Pure.
pub mod failure;
pub mod layout;

// Layer 2: the only door to the kernel.
pub mod sys;
