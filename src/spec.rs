//! A request that passed every check.

#![forbid(unsafe_code)]

mod directory;
mod weaker;

use core::time::Duration;

use crate::directives::{Settings, TemporaryFileSystem, WorkingDirectory, find, says_how_confined};
use crate::exec_directory::{ExecDirectory, Ground, Kind};
use crate::failure::{Failure, Stage};
use crate::level::Level;
use crate::names::{ServiceName, UserName};
use crate::request::Request;

pub use directory::Directory;

/// Where the credentials of all services are.
pub const CREDENTIALS: &str = "/run/credentials";

/// What to do for a service: nothing in it is undecided, and it can be made only by
/// [`check`](Self::check).
#[derive(Clone, Debug)]
pub struct Spec {
    service: ServiceName,
    user: UserName,
    /// Parents before what is inside them; this is also the order in the environment.
    directories: Vec<Directory>,
    settings: Settings,
    confinement: Vec<(String, String)>,
    /// What is not enforced at its level, as was allowed, and why.
    lost: Vec<(&'static str, String)>,
}

impl Spec {
    /// Checks a request: all refusals that need no look at the host happen here.
    ///
    /// # Errors
    /// Of [`Stage::Request`], or of [`Stage::User`] for names of users.
    pub fn check(request: &Request) -> Result<Self, Failure> {
        let service = ServiceName::parse(&request.service)
            .map_err(|why| Failure::new(Stage::Request, format!("{:?}", request.service), why))?;
        let mut settings = Settings::default();
        // What may be done without has to be known before it is asked for.
        let is_allowance = |(name, _): &&(String, String)| name == "AllowUnenforced";
        let (first, then): (Vec<_>, Vec<_>) = request.properties.iter().partition(is_allowance);
        for (name, value) in first.into_iter().chain(then) {
            settings
                .assign(name, value)
                .map_err(|why| Failure::new(Stage::Request, format!("{name}={value}"), why))?;
        }
        let user = user(&service, &settings)?;
        refuse_what_is_not_in_force(&settings)?;
        let directories = directory::check(&settings)?;
        let assigned = request.properties.iter();
        let confinement = assigned.filter(|(name, _)| says_how_confined(name));
        let lost = weaker::check(&settings, &directories)?;
        weaker::go_without(&mut settings);
        Ok(Self {
            service,
            user,
            directories,
            settings,
            confinement: confinement.cloned().collect(),
            lost,
        })
    }

    /// The assignments that say how its processes are held back, as they came: none of them is a secret.
    pub fn confinement(&self) -> &[(String, String)] {
        &self.confinement
    }

    /// How much stands between it and the host.
    pub fn level(&self) -> Level {
        self.settings.level
    }

    /// The restrictions that are not enforced at its level although they were asked for, with the reason: that was
    /// allowed.
    pub fn lost(&self) -> &[(&'static str, String)] {
        &self.lost
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Whether nobody will ask for it again by its name.
    pub fn is_passing(&self) -> bool {
        self.settings.passing || self.service.is_passing()
    }

    /// Whether its user is its own in any case: it serves a connection, whose other end has a say in its name.
    pub fn is_alone(&self) -> bool {
        self.settings.passing && self.settings.user.is_none() && self.is_dynamic()
    }

    /// The user that it runs as.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Whether the user exists only while the service runs, unless the host has one of its name
    /// anyway. Otherwise it is one that the host must have, or root, and there is no sandbox.
    pub fn is_dynamic(&self) -> bool {
        !self.settings.static_user
    }

    /// Its directories, sorted by kind and path.
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// Where they are.
    pub fn places(&self) -> impl Iterator<Item = &ExecDirectory> {
        self.directories.iter().map(Directory::place)
    }

    /// All ground that is touched for them.
    pub fn grounds(&self) -> Vec<Ground> {
        let links = self.directories.iter().flat_map(Directory::links);
        self.places()
            .chain(links)
            .map(ExecDirectory::ground)
            .collect()
    }

    /// Whether other services that say so too may have the same directories.
    pub fn shares(&self) -> bool {
        self.settings.shared
    }

    /// Whether its runtime directories outlive it.
    pub fn keeps_runtime_directories(&self) -> bool {
        self.settings.preserve.keeps()
    }

    /// Empty file systems in its sandbox, sorted by path.
    pub fn temporary_file_systems(&self) -> &[TemporaryFileSystem] {
        &self.settings.temporary
    }

    /// The mode of its directories of a kind.
    pub fn mode(&self, kind: Kind) -> u32 {
        self.settings.mode(kind)
    }

    /// The outermost of its directories that `directory` lies in. It holds it already: it needs neither a
    /// link nor a mount of its own.
    pub fn container(&self, directory: &Directory) -> Option<&Directory> {
        let place = directory.place();
        let mut around = self.directories.iter();
        around.find(|other| other.place() != place && place.is_within(other.place()))
    }

    /// Where it starts.
    pub fn working_directory(&self) -> Option<&WorkingDirectory> {
        self.settings.working_directory.as_ref()
    }

    /// How long its processes may go on after SIGTERM, if it says that.
    pub fn stop_timeout(&self) -> Option<Duration> {
        self.settings.stop_timeout
    }

    /// Refuses everything but a name: what is to be held is a user, not a service.
    ///
    /// # Errors
    /// Of [`Stage::Request`], naming what is too much.
    pub fn require_user_alone(&self) -> Result<(), Failure> {
        let settings = &self.settings;
        let too_much = [
            (settings.static_user, "DynamicUser=no"),
            (!settings.directories.is_empty(), "a directory"),
            (!settings.temporary.is_empty(), "TemporaryFileSystem="),
            (settings.working_directory.is_some(), "WorkingDirectory="),
            (!settings.environment.is_empty(), "Environment="),
        ];
        match too_much.into_iter().find(|(present, _)| *present) {
            None => Ok(()),
            Some((_, what)) => Err(Failure::new(
                Stage::Request,
                what,
                "belongs to a service that is run; what is acquired is a user alone",
            )),
        }
    }

    /// Everything that was asked for.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the files of its credentials are, if it has any (systemd.exec(5), "Credentials").
    pub fn credentials_directory(&self) -> Option<String> {
        let any = !self.settings.credentials.is_empty();
        any.then(|| format!("{CREDENTIALS}/{}.service", self.service))
    }

    /// What `Environment=` adds.
    pub fn environment(&self) -> &[(String, String)] {
        &self.settings.environment
    }
}

/// The user that a service asks for: by default one of its own name, or root where it is to be no dynamic
/// one.
fn user(service: &ServiceName, settings: &Settings) -> Result<UserName, Failure> {
    let parsed = match (&settings.user, settings.static_user) {
        (Some(name), false) => UserName::parse(name).map_err(|why| (name.as_str(), why)),
        (Some(name), true) => UserName::of_host(name).map_err(|why| (name.as_str(), why)),
        (None, false) => UserName::of_service(service).map_err(|why| (service.as_str(), why)),
        (None, true) => UserName::of_host("root").map_err(|why| ("root", why)),
    };
    parsed.map_err(|(name, why)| Failure::new(Stage::User, format!("user {name:?}"), why))
}

/// Without a dynamic user nothing of this is in force, and nothing that is asked for is ignored.
fn refuse_what_is_not_in_force(settings: &Settings) -> Result<(), Failure> {
    let assigned = settings.assigned.iter().filter_map(|name| find(name));
    let mut idle = assigned.filter(|it| it.dynamic_only && settings.static_user);
    match idle.next().map(|directive| directive.name) {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            Stage::Request,
            format!("{name}="),
            "is in force with DynamicUser=yes only",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: &str, properties: &[(&str, &str)]) -> Result<Spec, Failure> {
        Spec::check(&Request {
            service: service.into(),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        })
    }

    #[test]
    fn the_user_is_named_like_the_service_unless_told_otherwise() {
        let user = |spec: Result<Spec, Failure>| spec.expect("a spec").user().to_string();
        assert_eq!(user(check("wuff", &[])), "wuff");
        assert_eq!(user(check("wuff", &[("User", "miau")])), "miau");
        assert_eq!(
            user(check("wuff", &[("User", "miau"), ("User", "")])),
            "wuff"
        );
    }

    #[test]
    fn refusals_name_the_thing_and_carry_the_status() {
        for (service, properties, status, named) in [
            ("", &[][..], 1, "\"\""),
            ("a/b", &[], 1, "a/b"),
            ("root", &[], 217, "root"),
            ("nobody.service", &[], 217, "nobody"),
            ("a", &[("User", "0")], 217, "\"0\""),
            ("a", &[("User", "a.b")], 217, "a.b"),
            ("a", &[("StateDirectory", "/x")], 1, "/x"),
            ("a", &[("Nonsense", "1")], 1, "Nonsense"),
        ] {
            let failure = check(service, properties).expect_err("a refusal");
            assert_eq!(failure.exit_status(), status, "{failure}");
            assert!(failure.to_string().contains(named), "{failure}");
        }
    }

    #[test]
    fn directories_are_sorted_and_know_their_parents() {
        let spec = check(
            "a",
            &[("StateDirectory", "z b/c b"), ("RuntimeDirectory", "r")],
        )
        .expect("a spec");
        let paths: Vec<String> = spec.places().map(ExecDirectory::public).collect();
        assert_eq!(
            paths,
            ["/run/r", "/var/lib/b", "/var/lib/b/c", "/var/lib/z"]
        );
        let nested: Vec<bool> = spec
            .directories()
            .iter()
            .map(|directory| spec.container(directory).is_some())
            .collect();
        assert_eq!(nested, [false, false, true, false]);
    }
}
