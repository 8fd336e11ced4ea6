//! Making one group, step by step; what cannot be done is given up, or fails, by directive.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::root::Root;
use super::{Group, facts, unenforceable};
use crate::control_group::{Plan, Pressure, Program, tree};
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::open_beneath;
use crate::sys::{SysError, SysResult, bpf, cgroup};

/// How deep and how wide a service may make the tree that was given to it.
const MOST_LEVELS: &str = "32";
const MOST_GROUPS: &str = "4096";

/// How often a slice is made that somebody else removes at the same time.
const TRIES: u32 = 16;

/// A group that is being made.
pub(super) struct Making<'a> {
    pub(super) root: &'a Root,
    pub(super) allowed: &'a BTreeSet<&'static str>,
    /// What was given up, with the reason.
    pub(super) unenforced: Vec<(&'static str, String)>,
    /// What is left to do.
    pub(super) plan: Plan,
}

impl Making<'_> {
    /// Makes the group and those above it. A failure without a subject: none can be made.
    pub(super) fn place(&mut self, name: &str) -> Result<(String, OwnedFd), Failure> {
        let nowhere = |why: SysError| Failure::new(Stage::ControlGroup, "", why);
        let mut tries = 0;
        loop {
            let made = self.try_place(name);
            tries = u32::saturating_add(tries, 1);
            match made {
                // A slice was empty, and was removed just now.
                Ok(Err(error)) if error.errno == Errno::NOENT && tries < TRIES => {}
                Ok(other) => return other.map_err(nowhere),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The outer failure is over a directive.
    fn try_place(&mut self, name: &str) -> Result<SysResult<(String, OwnedFd)>, Failure> {
        let mut path = self.root.base.clone();
        let mut parent = match open_beneath(&self.root.directory, path.trim_start_matches('/')) {
            Ok(parent) => parent,
            Err(error) => return Ok(Err(error)),
        };
        self.enable(&parent, &path)?;
        let slices = self.plan.slices.clone();
        for part in std::iter::once(tree::TOP).chain(slices.iter().map(String::as_str)) {
            match made_or_there(&parent, part) {
                Ok(group) => parent = group,
                Err(error) => return Ok(Err(error)),
            }
            path = format!("{path}/{part}");
            self.enable(&parent, &path)?;
        }
        path = format!("{path}/{name}");
        match cgroup::make(&parent, name) {
            Err(error) if error.errno == Errno::EXIST => {
                self.root.forget(&path, &parent, name)?;
                Ok(cgroup::make(&parent, name).map(|group| (path, group)))
            }
            made => Ok(made.map(|group| (path, group))),
        }
    }

    /// Enables the controllers that are wanted in a group for those beneath it.
    fn enable(&mut self, group: &OwnedFd, path: &str) -> Result<(), Failure> {
        for controller in self.plan.controllers.clone() {
            // Another one of its directive may have failed before.
            if !self.plan.controllers.contains(&controller) {
                continue;
            }
            match enable(group, path, controller.name) {
                Ok(()) => {}
                Err(why) if controller.optional => {
                    tracing::info!(why, "the controller {} is not delegated", controller.name);
                    self.plan.controllers.retain(|one| *one != controller);
                }
                Err(why) => self.give_up(controller.directive, &why)?,
            }
        }
        Ok(())
    }

    /// Does without a directive, if that is allowed.
    fn give_up(&mut self, directive: &'static str, why: &str) -> Result<(), Failure> {
        if !self.allowed.contains(directive) {
            return Err(unenforceable(directive, why));
        }
        self.unenforced.push((directive, why.into()));
        self.plan = std::mem::take(&mut self.plan).without(directive);
        Ok(())
    }

    /// Sets the limits, attaches the programs, gives the group away.
    pub(super) fn equip(
        &mut self,
        path: &str,
        group: &OwnedFd,
        owner: (u32, u32),
    ) -> Result<Group, Failure> {
        for write in self.plan.writes.clone() {
            // Another one of its directive may have failed before.
            if !self.plan.writes.contains(&write) {
                continue;
            }
            if let Err(error) = cgroup::write(group, write.file, &write.value) {
                self.give_up(write.directive, &error.to_string())?;
            }
        }
        for program in self.plan.programs.clone() {
            if !self.plan.programs.contains(&program) {
                continue;
            }
            match attach(&program, group) {
                Ok(()) => {}
                Err(error) if program.optional => {
                    tracing::info!(%error, "{} without a filter", program.directive);
                }
                Err(error) => self.give_up(program.directive, &error.to_string())?,
            }
        }
        let environment = self.tell_pressure(path, group, owner);
        let entrance = self
            .delegate(group, owner)
            .or_fail(Stage::ControlGroup, "Delegate")?;
        Ok(Group {
            path: path.into(),
            entrance,
            environment,
        })
    }

    /// Where the service enters: in the group, or in the one in it that it asks for.
    fn delegate(&self, group: &OwnedFd, (uid, gid): (u32, u32)) -> SysResult<OwnedFd> {
        if !self.plan.delegated {
            return cgroup::entrance(group);
        }
        // What a service makes here has to be removed by us.
        cgroup::write(group, "cgroup.max.depth", MOST_LEVELS)?;
        cgroup::write(group, "cgroup.max.descendants", MOST_GROUPS)?;
        let entrance = match &self.plan.subgroup {
            None => cgroup::entrance(group)?,
            Some(name) => {
                let subgroup = cgroup::make(group, name)?;
                cgroup::delegate(&subgroup, uid, gid)?;
                cgroup::entrance(&subgroup)?
            }
        };
        cgroup::delegate(group, uid, gid)?;
        Ok(entrance)
    }

    /// What the service is told of memory pressure. It does its work without, too.
    fn tell_pressure(
        &self,
        path: &str,
        group: &OwnedFd,
        (uid, gid): (u32, u32),
    ) -> Vec<(&'static str, String)> {
        const WATCH: &str = "MEMORY_PRESSURE_WATCH";
        match self.plan.pressure {
            None => Vec::new(),
            Some(Pressure::Ignored) => vec![(WATCH, "/dev/null".into())],
            Some(Pressure::Watched(threshold)) => {
                match cgroup::give_file(group, "memory.pressure", uid, gid) {
                    Ok(()) => vec![
                        (WATCH, format!("{}{path}/memory.pressure", self.root.point)),
                        ("MEMORY_PRESSURE_WRITE", facts::pressure(threshold)),
                    ],
                    Err(error) => {
                        tracing::info!(%error, "the service is not told of memory pressure");
                        Vec::new()
                    }
                }
            }
        }
    }
}

fn made_or_there(parent: &OwnedFd, name: &str) -> SysResult<OwnedFd> {
    match cgroup::make(parent, name) {
        Err(error) if error.errno == Errno::EXIST => open_beneath(parent, name),
        made => made,
    }
}

fn attach(program: &Program, group: &OwnedFd) -> SysResult<()> {
    bpf::load(program.hook, &program.code)?.attach(group)
}

/// Enables one controller in a group for those beneath it.
///
/// # Errors
/// A sentence.
fn enable(group: &OwnedFd, path: &str, name: &str) -> Result<(), String> {
    let lists = |file: &str| -> Result<bool, String> {
        let text = cgroup::read(group, file).map_err(|error| error.to_string())?;
        Ok(text.split_ascii_whitespace().any(|word| word == name))
    };
    if lists("cgroup.subtree_control")? {
        return Ok(());
    }
    let shown = if path.is_empty() { "/" } else { path };
    if !lists("cgroup.controllers")? {
        return Err(format!(
            "the controller {name} is not in the control groups of version 2 at {shown} (but in those of version 1, or \
             not enabled above, or not in the kernel)"
        ));
    }
    match cgroup::write(group, "cgroup.subtree_control", &format!("+{name}")) {
        Ok(()) => Ok(()),
        Err(error) if error.errno == Errno::BUSY => Err(format!(
            "the group {shown} has processes of its own, so the controller {name} cannot be enabled for groups in it \
             (where that is the daemon's unit, DelegateSubgroup=daemon helps)"
        )),
        Err(error) => Err(format!("{error}, in the group {shown}")),
    }
}
