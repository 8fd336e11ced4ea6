//! supervisord: it learns of a service what the end of a process tells.

use crate::scenario::{Supervisor, What};
use crate::services::Service;
use crate::support::{Arena, Running, wait_until};

const CONFIGURATION: &str = "/etc/supervisor/supervisord.conf";
const LOG: &str = "/run/supervisord.log";

pub(crate) struct Supervisord;

impl Supervisor for Supervisord {
    fn install(&self, arena: &Arena, service: &Service) -> Option<Running> {
        let main = format!(
            "[supervisord]\nlogfile={LOG}\npidfile=/run/supervisord.pid\nnodaemon=true\n\
             [unix_http_server]\nfile=/run/supervisor.sock\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix:///run/supervisor.sock\n\
             [include]\nfiles = /etc/supervisor/conf.d/*.conf\n"
        );
        arena.put(CONFIGURATION, &main, 0o644);
        let program = format!(
            "[program:{}]\ncommand=/usr/local/sbin/dynuser run {}\nautostart=false\nautorestart=true\n",
            service.name, service.words
        );
        arena.put(&self.definition(service), &program, 0o644);
        let running = arena.spawn(["supervisord", "-c", CONFIGURATION]);
        wait_until("supervisord answers", || {
            arena.run(["supervisorctl", "pid"]).status.success()
        });
        Some(running)
    }

    fn definition(&self, service: &Service) -> String {
        format!("/etc/supervisor/conf.d/{}.conf", service.name)
    }

    fn words(&self, what: What, service: &Service) -> String {
        let name = service.name;
        match what {
            What::Start => format!("supervisorctl start {name}"),
            What::Status | What::Ready => format!("supervisorctl status {name}"),
            What::Reload => format!("supervisorctl signal HUP {name}"),
            What::Restart => format!("supervisorctl restart {name}"),
            What::Stop => format!("supervisorctl stop {name}"),
        }
    }

    fn pid(&self, arena: &Arena, service: &Service) -> Option<u32> {
        let pid = arena.run(["supervisorctl", "pid", service.name]).stdout;
        pid.trim().parse().ok().filter(|pid| *pid != 0)
    }

    fn last_end(&self, arena: &Arena, service: &Service) -> Option<i32> {
        let log = arena.run(["cat", LOG]).ok();
        let mark = format!(": {} (", service.name);
        let last = log.lines().rev().find_map(|line| line.split_once(&mark));
        let (_, how) = last.unwrap_or_else(|| panic!("{log}"));
        match how
            .split(['(', ')', ';', ' '])
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["exit", "status", status, ..] => Some(status.parse().expect("a status")),
            ["terminated", "by", "SIGKILL", ..] => Some(128 + 9),
            ["terminated", "by", "SIGTERM", ..] => Some(128 + 15),
            _ => panic!("{how}"),
        }
    }

    fn knows_ready(&self, _: &Service) -> bool {
        false
    }
}
