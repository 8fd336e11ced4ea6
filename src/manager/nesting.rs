//! Directories of one service around those of another.

use super::Manager;
use crate::directory_text::HadDirectory;
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, OrFail};
use crate::plan::{Action, Plan};
use crate::removal::{Found, find};
use crate::spec::Spec;

impl Manager {
    /// Refuses to move a directory, or to give it to somebody, with what a service of another user had
    /// further in. Whoever owns a directory can put anything in the place of what is in it, whoever owns that;
    /// and the other service would not start any more.
    ///
    /// # Errors
    /// Of the kind of the directory.
    pub(super) fn refuse_foreign_nests(&self, spec: &Spec, plan: &Plan) -> Result<(), Failure> {
        let moves = |ours: &&ExecDirectory| {
            let paths = [Some(ours.public()), ours.behind()];
            plan.host.iter().any(|step| {
                let moves = matches!(
                    step.action,
                    Action::GiveTree { .. } | Action::Exchange { .. } | Action::Rename { .. }
                );
                moves && paths.iter().flatten().any(|path| *path == step.path)
            })
        };
        for ours in spec.places().filter(moves) {
            let stage = ours.kind().stage();
            for (service, theirs) in self.nests_of_others(spec, ours) {
                for path in [Some(theirs.public()), theirs.behind()]
                    .into_iter()
                    .flatten()
                {
                    if find(&path).or_fail(stage, &path)? == Found::Nothing {
                        continue;
                    }
                    let why = format!(
                        "holds {theirs} of the service {service}, which runs as another user: choose another name, or dynuser clean {service}"
                    );
                    return Err(Failure::new(stage, ours.public(), why));
                }
            }
        }
        Ok(())
    }

    /// What services of other users had in a directory, with their names.
    fn nests_of_others(&self, spec: &Spec, ours: &ExecDirectory) -> Vec<(String, ExecDirectory)> {
        let records = self.records();
        let others = records
            .services()
            .filter(|it| it.user != spec.user().as_str() && it.service != spec.service().as_str());
        let within = others.flat_map(|it| {
            let had = it.directories.iter().filter_map(HadDirectory::directory);
            let had: Vec<ExecDirectory> = had.collect();
            let inside =
                |one: &ExecDirectory, other: &ExecDirectory| one != other && one.is_within(other);
            // In another one of its own it is at home wherever that goes.
            let alone = |one: &&ExecDirectory| !had.iter().any(|other| inside(one, other));
            let nests = had.iter().filter(|one| inside(one, ours)).filter(alone);
            let nests: Vec<_> = nests.map(|one| (it.service.clone(), one.clone())).collect();
            nests
        });
        within.collect()
    }
}
