//! systemd's programs know our users, without our module: `userdbctl`, nss-systemd and (where systemd has it) `varlinkctl`
//! ask the daemon's socket in /run/systemd/userdb.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

#[path = "user_database/clients.rs"]
mod clients;
#[path = "user_database/host.rs"]
mod host;
#[path = "user_database/life.rs"]
mod life;
#[path = "user_database/strangers.rs"]
mod strangers;
