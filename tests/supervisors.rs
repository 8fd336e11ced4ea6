//! `dynuser run` under supervisors that others wrote, from Debian's packages, which supervise daemons that others
//! wrote, from their own unit files: the process that a supervisor starts is the one that it supervises.
//!
//! What is typed and answered is printed, and stands in `target/transcripts`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

#[path = "daemons/host.rs"]
#[allow(dead_code)]
mod host;
#[path = "supervisors/openrc.rs"]
mod openrc;
#[path = "supervisors/packages.rs"]
mod packages;
#[path = "supervisors/runit.rs"]
mod runit;
#[path = "supervisors/s6.rs"]
mod s6;
#[path = "supervisors/scenario.rs"]
mod scenario;
#[path = "supervisors/services.rs"]
mod services;
#[path = "supervisors/supervisord.rs"]
mod supervisord;

use scenario::Scenario;
use services::{Service, garagemq, gobgpd, molly_brown};

/// Type=notify, and nobody listens.
fn behind_us(service: Service) -> Service {
    Service {
        in_place: false,
        ..service
    }
}

#[test]
fn s6_supervises_gobgpd_in_place_and_is_told_when_it_is_ready() {
    Scenario::new("s6", gobgpd()).run(&s6::S6);
}

#[test]
fn s6_supervises_molly_brown_which_is_ready_when_it_is_executed() {
    Scenario::new("s6", molly_brown()).run(&s6::S6);
}

#[test]
fn runit_supervises_molly_brown_in_place() {
    Scenario::new("runit", molly_brown()).run(&runit::Runit);
}

#[test]
fn runit_supervises_gobgpd_behind_us() {
    Scenario::new("runit", behind_us(gobgpd())).run(&runit::Runit);
}

#[test]
fn openrc_supervises_molly_brown_in_place() {
    Scenario::new("openrc", molly_brown()).run(&openrc::OpenRc::new());
}

#[test]
fn openrc_supervises_gobgpd_behind_us() {
    Scenario::new("openrc", behind_us(gobgpd())).run(&openrc::OpenRc::new());
}

#[test]
fn supervisord_supervises_garagemq_behind_us() {
    Scenario::new("supervisord", garagemq()).run(&supervisord::Supervisord);
}

#[test]
fn supervisord_supervises_molly_brown_in_place() {
    Scenario::new("supervisord", molly_brown()).run(&supervisord::Supervisord);
}
