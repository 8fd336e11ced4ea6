//! s6: a service is a folder, and what it writes to `notification-fd` says that it is ready.

use crate::scenario::{Supervisor, What};
use crate::services::Service;
use crate::support::{Arena, Running, wait_until};

const SCAN: &str = "/run/service";

pub(crate) struct S6;

impl S6 {
    fn folder(service: &Service) -> String {
        format!("{SCAN}/{}", service.name)
    }
}

impl Supervisor for S6 {
    fn install(&self, arena: &Arena, service: &Service) -> Option<Running> {
        let folder = Self::folder(service);
        arena
            .sh(&format!("mkdir -p {folder} && touch {folder}/down"))
            .ok();
        // Nothing is executed but one program: execline is not needed, a shell would do as well.
        let run = format!(
            "#!/bin/sh\nexec dynuser run --ready-fd=3 {}\n",
            service.words
        );
        arena.put(&format!("{folder}/run"), &run, 0o755);
        arena.put(&format!("{folder}/notification-fd"), "3\n", 0o644);
        let finish = "#!/bin/sh\necho $1 $2 >/run/end\n";
        arena.put(&format!("{folder}/finish"), finish, 0o755);
        let scan = format!("exec s6-svscan {SCAN} >/run/s6.log 2>&1");
        let running = arena.spawn(["sh", "-c", &scan]);
        wait_until("s6-supervise is there", || {
            arena.run(["s6-svok", &folder]).status.success()
        });
        Some(running)
    }

    fn definition(&self, service: &Service) -> String {
        format!("{0}/run {0}/notification-fd", Self::folder(service))
    }

    fn words(&self, what: What, service: &Service) -> String {
        let folder = Self::folder(service);
        match what {
            What::Start => format!("s6-svc -u {folder}"),
            What::Ready => format!("s6-svwait -U -t 30000 {folder} && echo ready"),
            What::Status => format!("s6-svstat {folder}"),
            What::Reload => format!("s6-svc -h {folder}"),
            What::Restart => format!("s6-svc -r {folder}"),
            What::Stop => format!("s6-svc -wD -T 30000 -d {folder}"),
        }
    }

    fn pid(&self, arena: &Arena, service: &Service) -> Option<u32> {
        let pid = arena.run(["s6-svstat", "-o", "pid", &Self::folder(service)]);
        pid.ok().trim().parse().ok()
    }

    fn last_end(&self, arena: &Arena, _: &Service) -> Option<i32> {
        // 256 stands for a signal (s6-supervise).
        let end = arena.run(["cat", "/run/end"]).ok();
        let mut numbers = end
            .split_whitespace()
            .map(|it| it.parse::<i32>().expect("a number"));
        match (numbers.next(), numbers.next()) {
            (Some(256), Some(signal)) => Some(128 + signal),
            (Some(status), _) => Some(status),
            _ => panic!("{end:?}"),
        }
    }

    fn knows_ready(&self, service: &Service) -> bool {
        // Others are ready for it when they have been executed.
        service.notifies
    }
}
