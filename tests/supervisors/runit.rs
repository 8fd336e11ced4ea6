//! runit: a service is a folder, and its script `check` says whether it is ready.

use crate::scenario::{Supervisor, What};
use crate::services::Service;
use crate::support::{Arena, Running, wait_until};

const SERVICES: &str = "/etc/service";

pub(crate) struct Runit;

impl Runit {
    fn folder(service: &Service) -> String {
        format!("{SERVICES}/{}", service.name)
    }
}

impl Supervisor for Runit {
    fn install(&self, arena: &Arena, service: &Service) -> Option<Running> {
        let folder = Self::folder(service);
        // A link to nowhere as yet.
        let make = format!("mkdir -p $(readlink -m {folder}) && touch {folder}/down");
        arena.sh(&make).ok();
        let run = format!("#!/bin/sh\nexec dynuser run {}\n", service.words);
        arena.put(&format!("{folder}/run"), &run, 0o755);
        let check = format!("#!/bin/bash\n: </dev/tcp/127.0.0.1/{}\n", service.port);
        arena.put(&format!("{folder}/check"), &check, 0o755);
        // The status as waitpid(2) has it, in its two bytes (runsv(8)).
        let finish = "#!/bin/sh\necho $1 $2 >/run/end\n";
        arena.put(&format!("{folder}/finish"), finish, 0o755);
        let scan = format!("exec runsvdir {SERVICES} >/run/runit.log 2>&1");
        let running = arena.spawn(["sh", "-c", &scan]);
        wait_until("runsv is there", || {
            arena.run(["sv", "status", &folder]).status.success()
        });
        Some(running)
    }

    fn definition(&self, service: &Service) -> String {
        format!("{0}/run {0}/check", Self::folder(service))
    }

    fn words(&self, what: What, service: &Service) -> String {
        let name = service.name;
        match what {
            What::Start => format!("sv up {name}"),
            What::Ready => format!("sv -w 30 start {name}"),
            What::Status => format!("sv status {name}"),
            What::Reload => format!("sv hup {name}"),
            What::Restart => format!("sv -w 30 restart {name}"),
            What::Stop => format!("sv -w 30 stop {name}"),
        }
    }

    fn pid(&self, arena: &Arena, service: &Service) -> Option<u32> {
        let file = format!("{}/supervise/pid", Self::folder(service));
        arena.run(["cat", &file]).ok().trim().parse().ok()
    }

    fn last_end(&self, arena: &Arena, _: &Service) -> Option<i32> {
        let end = arena.run(["cat", "/run/end"]).ok();
        let mut numbers = end
            .split_whitespace()
            .map(|it| it.parse::<i32>().expect("a number"));
        match (numbers.next(), numbers.next()) {
            (Some(-1), Some(signal)) => Some(128 + signal),
            (Some(status), _) => Some(status),
            _ => panic!("{end:?}"),
        }
    }

    fn knows_ready(&self, _: &Service) -> bool {
        true
    }
}
