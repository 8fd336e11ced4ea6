//! What the service's mount namespace looks like.

#![forbid(unsafe_code)]

use super::databases::{Shown, shown};
use super::dirs::{Placed, Placement};
use super::path_rules::PathRules;
use super::step::{Action, IdMap, Tmpfs};
use super::{Identity, Owner, Step, hardening};
use crate::directives::{Homes, TemporaryFileSystem};
use crate::exec_directory::{ExecDirectory, Kind, lies_in};
use crate::failure::{Failure, Stage};
use crate::observed::Observed;
use crate::spec::{CREDENTIALS, Spec};

/// Everything that the view of one service depends on.
pub(super) struct Sandbox<'a> {
    spec: &'a Spec,
    identity: &'a Identity,
    observed: &'a Observed,
    placed: &'a [Placed<'a>],
    databases: Vec<Shown>,
    /// Empty file systems, sorted by path.
    covers: Vec<TemporaryFileSystem>,
}

impl<'a> Sandbox<'a> {
    /// # Errors
    /// Of [`Stage::User`], where `UserDatabase=` asks for what cannot be.
    pub(super) fn new(
        spec: &'a Spec,
        identity: &'a Identity,
        observed: &'a Observed,
        placed: &'a [Placed<'a>],
    ) -> Result<Self, Failure> {
        let covers = covers(spec, observed);
        Ok(Self {
            spec,
            identity,
            observed,
            placed,
            databases: shown(spec, identity, observed, &covers)?,
            covers,
        })
    }

    /// The views that must be taken on the host, before the namespace is made.
    pub(super) fn views(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.attached().map(|placed| self.view(placed)).collect();
        for database in &self.databases {
            let step = |action| Step::new(Stage::Namespace, &database.path, action);
            steps.push(step(Action::WriteDatabase {
                source: database.database,
                lines: database.lines.clone(),
            }));
            steps.push(step(Action::TakeView {
                map: None,
                writable: false,
                confined: true,
            }));
        }
        let settings = self.spec.settings();
        if let Some(path) = self.spec.credentials_directory() {
            let there = self.observed.secrets.iter().any(|path| path == CREDENTIALS);
            if !there && self.cover(CREDENTIALS).is_none() {
                let (mode, owner) = (0o755, Owner::ROOT);
                let action = Action::MakeDirectory { mode, owner };
                steps.push(Step::new(Stage::Credentials, CREDENTIALS, action));
            }
            let action = Action::TakeCredentials {
                owner: self.identity.owner(),
                credentials: settings.credentials.clone(),
            };
            steps.push(Step::new(Stage::Credentials, path, action));
        }
        steps.extend(hardening::views(settings));
        steps.extend(self.rules().views());
        steps
    }

    /// The mounts of the kernel's trees that stay as writable as they are.
    fn kept_writable(&self) -> impl Iterator<Item = Step> {
        let settings = self.spec.settings();
        let mounts = self.observed.writable_mounts.iter();
        mounts
            .map(|mount| (mount, mount.display().to_string()))
            .filter(|(_, path)| hardening::stays_writable(settings, path))
            .map(|(mount, path)| {
                let mount = mount.clone();
                Step::new(Stage::Namespace, path, Action::KeepWritable { mount })
            })
    }

    /// Its credentials, as the only ones.
    fn credentials(&self) -> Vec<Step> {
        let Some(path) = self.spec.credentials_directory() else {
            return Vec::new();
        };
        let step = |path: &str, action| Step::new(Stage::Credentials, path, action);
        let boundary = Action::MountTmpfs {
            tmpfs: Tmpfs::Boundary,
            inside: self.cover(CREDENTIALS).map(|cover| cover.path.clone()),
        };
        vec![
            step(CREDENTIALS, boundary),
            self.attach(Stage::Credentials, path.clone(), &path, Some(CREDENTIALS)),
            step(CREDENTIALS, Action::Seal),
        ]
    }

    fn rules(&self) -> PathRules {
        let own = self.own().into_iter().map(String::from).collect();
        PathRules::new(self.spec.settings(), own, |path| self.real(path))
    }

    /// Where a path leads in the service's view.
    fn real(&self, path: &str) -> String {
        let names = |placed: &Placed<'_>| -> Vec<String> {
            let links = placed.directory.links().iter();
            let links = links.map(ExecDirectory::public);
            links.chain([placed.directory.place().public()]).collect()
        };
        // The links to its directories may not be there yet.
        let of_its_own = self.placed.iter().find_map(|placed| {
            let mut rests = names(placed).into_iter().filter_map(|public| {
                lies_in(path, &public).then(|| path.strip_prefix(&public).map(String::from))?
            });
            rests.next().map(|rest| format!("{}{rest}", placed.path))
        });
        let on_the_host = || self.observed.resolved.get(path).cloned();
        of_its_own
            .or_else(on_the_host)
            .unwrap_or_else(|| path.into())
    }

    /// The places of its own: what it sees there is not what the host has there.
    fn own(&self) -> Vec<&str> {
        let directories = self.placed.iter().map(|placed| placed.path.as_str());
        let temporary = self.observed.temporary.iter().map(String::as_str);
        let asked = self.covers.iter();
        let devices = self.spec.settings().mounts.devices.then_some("/dev");
        let binds = &self.spec.settings().mounts.binds;
        directories
            .chain(temporary)
            .chain(asked.map(|one| one.path.as_str()))
            .chain(devices)
            .chain(binds.iter().map(|bind| bind.target.as_str()))
            .collect()
    }

    /// Where in its view the service may make files.
    pub(super) fn writable(&self) -> Vec<String> {
        if !self.spec.is_dynamic() {
            return Vec::new();
        }
        let directories = self.placed.iter().filter(|placed| {
            let directory = placed.directory;
            !directory.is_read_only() && directory.kind() != Kind::Configuration
        });
        let asked = self.covers.iter();
        let mut paths: Vec<String> = directories.map(|placed| placed.path.clone()).collect();
        paths.extend(self.observed.temporary.iter().cloned());
        paths.extend(
            asked
                .filter(|one| !one.read_only)
                .map(|one| one.path.clone()),
        );
        paths.extend(hardening::KERNEL_TREES.map(String::from));
        paths.extend(hardening::writable(self.spec.settings()).cloned());
        paths.extend(self.rules().writable().cloned());
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// The steps in the new namespace; none, if there is nothing that needs one.
    pub(super) fn steps(&self) -> Vec<Step> {
        let dynamic = self.spec.is_dynamic();
        let (settings, asked) = (self.spec.settings(), &self.covers);
        let kernel = hardening::kernel(settings);
        let nothing = asked.is_empty() && kernel.is_empty() && self.attached().next().is_none();
        if !dynamic && nothing {
            return Vec::new();
        }
        let mut steps = vec![Step::of_namespace(Action::Unshare)];
        if dynamic {
            steps.push(Step::of_namespace(Action::Protect));
            steps.extend(self.kept_writable());
            steps.extend(hardening::first(settings));
        } else {
            steps.push(Step::of_namespace(Action::StopPropagation));
        }
        let asked = asked.iter();
        steps.extend(asked.map(|one| self.tmpfs(&one.path, Tmpfs::Asked(one.clone()))));
        if dynamic {
            let temporary = self.observed.temporary.iter();
            steps.extend(temporary.map(|path| self.tmpfs(path, Tmpfs::Temporary)));
            let secrets = self.observed.secrets.iter();
            let own = self.spec.credentials_directory();
            let hidden = |path: &&String| {
                self.cover(path).is_none() && (own.is_none() || *path != CREDENTIALS)
            };
            steps.extend(
                secrets
                    .filter(hidden)
                    .map(|path| self.tmpfs(path, Tmpfs::Hidden)),
            );
        }
        steps.extend(kernel);
        for kind in Kind::ALL {
            steps.extend(self.kind_steps(kind));
        }
        steps.extend(self.links());
        for database in &self.databases {
            let (view, at) = (database.path.clone(), database.database.path());
            steps.push(self.attach(Stage::Namespace, view, at, None));
        }
        if dynamic {
            steps.extend(self.credentials());
            steps.extend(hardening::binds(settings, |path| self.made_in(path)));
            steps.extend(hardening::last(settings));
            steps.extend(self.rules().steps(&steps));
        }
        let asked = self.covers.iter();
        let read_only = asked.filter(|one| one.read_only);
        steps.extend(read_only.map(|one| Step::new(Stage::Namespace, &one.path, Action::Seal)));
        steps
    }

    /// The directories that get a mount of their own.
    fn attached(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.placed.iter().filter(|placed| self.is_attached(placed))
    }

    fn is_attached(&self, placed: &Placed<'_>) -> bool {
        let directory = placed.directory;
        let hidden = self.cover(&placed.path).is_some();
        match placed.placement {
            Placement::Behind | Placement::Adopted => true,
            Placement::Nested => directory.is_read_only(),
            Placement::Public if directory.kind() == Kind::Configuration => hidden,
            Placement::Public => self.spec.is_dynamic() || hidden || directory.is_read_only(),
        }
    }

    fn view(&self, placed: &Placed<'_>) -> Step {
        let (directory, dynamic) = (placed.directory, self.spec.is_dynamic());
        let seen = self.identity.owner();
        // What is public belongs to whom it belongs.
        let mapped = directory.is_private() && placed.owner != seen && placed.owner.uid != 0;
        let map = mapped.then(|| IdMap {
            disk: placed.owner,
            seen,
            groups: self.other_groups(placed.owner),
        });
        let roots = dynamic && directory.kind() == Kind::Configuration;
        Step::new(
            directory.stage(),
            &placed.path,
            Action::TakeView {
                map,
                writable: !directory.is_read_only() && !roots,
                confined: dynamic,
            },
        )
    }

    /// The service's groups that stay themselves in a mapping.
    fn other_groups(&self, disk: Owner) -> Vec<u32> {
        let groups = self.identity.groups.iter().copied();
        let mut groups: Vec<u32> = groups
            .filter(|group| ![0, disk.gid, self.identity.gid].contains(group))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Where all directories of one kind appear: below a view of the boundary that everybody may
    /// enter and that shows nothing but them, or in place.
    fn kind_steps(&self, kind: Kind) -> Vec<Step> {
        let stage = kind.stage();
        let of_kind = || {
            let attached = self.attached();
            attached.filter(move |placed| placed.directory.kind() == kind)
        };
        let behind = of_kind().any(|placed| placed.placement == Placement::Behind);
        let boundary = kind.boundary().filter(|_| behind);
        let mut steps = Vec::new();
        if let Some(boundary) = boundary {
            let tmpfs = Tmpfs::Boundary;
            let inside = self.cover(boundary).map(|cover| cover.path.clone());
            steps.push(Step::new(
                stage,
                boundary,
                Action::MountTmpfs { tmpfs, inside },
            ));
        }
        steps.extend(of_kind().map(|placed| {
            let (view, at) = (placed.path.clone(), &placed.path);
            match placed.placement {
                // It is there, in the view of what it lies in.
                Placement::Nested => {
                    let inside = None;
                    Step::new(stage, at, Action::AttachView { view, inside })
                }
                Placement::Behind => self.attach(stage, view, at, boundary),
                Placement::Adopted | Placement::Public => self.attach(stage, view, at, None),
            }
        }));
        steps.extend(boundary.map(|boundary| Step::new(stage, boundary, Action::Seal)));
        steps
    }

    /// The public names of what lies in an empty file system: they are on the host as well, but hidden.
    fn links(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for placed in self.placed {
            let place = placed.directory.place();
            let public = (placed.placement == Placement::Behind)
                .then(|| (place.public(), place.link_target()));
            let links = placed.directory.links().iter();
            let links = links.map(|link| (link.public(), link.link_to(place)));
            for (path, target) in public.into_iter().chain(links) {
                if let Some(cover) = self.cover(&path) {
                    let inside = cover.path.clone();
                    let action = Action::LinkInside { target, inside };
                    steps.push(Step::new(placed.directory.stage(), path, action));
                }
            }
        }
        steps
    }

    fn attach(&self, stage: Stage, view: String, at: &str, made_in: Option<&str>) -> Step {
        let inside = made_in
            .map(String::from)
            .or_else(|| self.cover(at).map(|cover| cover.path.clone()));
        Step::new(stage, at, Action::AttachView { view, inside })
    }

    fn tmpfs(&self, path: &str, tmpfs: Tmpfs) -> Step {
        let inside = self.cover(path).map(|cover| cover.path.clone());
        let action = Action::MountTmpfs { tmpfs, inside };
        Step::new(Stage::Namespace, path, action)
    }

    /// The file system of its own, empty at first, in which the place for a bind mount has to be made.
    fn made_in(&self, path: &str) -> Option<String> {
        let temporary = self.observed.temporary.iter().map(String::as_str);
        let devices = self.spec.settings().mounts.devices.then_some("/dev");
        let mut own = temporary.chain(devices);
        let own = own.find(|top| *top != path && lies_in(path, top));
        let cover = self.cover(path).map(|cover| cover.path.as_str());
        cover.or(own).map(String::from)
    }

    /// The innermost empty file system that hides what the host has at `path`.
    fn cover(&self, path: &str) -> Option<&TemporaryFileSystem> {
        let asked = self.covers.iter();
        asked.rev().find(|one| one.path != path && one.holds(path))
    }
}

/// The empty file systems that it asks for, and the homes where these are to be empty.
fn covers(spec: &Spec, observed: &Observed) -> Vec<TemporaryFileSystem> {
    let mut covers = spec.temporary_file_systems().to_vec();
    if spec.settings().mounts.homes == Homes::Empty {
        let homes = observed.homes.iter();
        let homes = homes.filter(|home| !covers.iter().any(|one| one.path == **home));
        let empty: Vec<_> = homes
            .map(|home| TemporaryFileSystem::read_only(home))
            .collect();
        covers.extend(empty);
        covers.sort();
    }
    covers
}
