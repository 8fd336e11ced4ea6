//! OpenRC, with its own supervisor, `supervise-daemon`.

use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;

use crate::scenario::{Supervisor, What};
use crate::services::Service;
use crate::support::{Arena, Running};

/// What its boot leaves, as far as services need it; and no other service.
const BOOTED: &str = "cd /run && mkdir openrc && cd openrc && touch softlevel && mkdir daemons exclusive failed \
     hotplugged inactive init.d options scheduled started starting stopping tmp wasinactive && rm /etc/init.d/*";

/// What it says to syslog is how it tells the end of a service.
pub(crate) struct OpenRc {
    log: Mutex<Option<UnixDatagram>>,
    said: Mutex<Vec<String>>,
}

impl OpenRc {
    pub(crate) fn new() -> Self {
        Self {
            log: Mutex::new(None),
            said: Mutex::default(),
        }
    }
}

impl Supervisor for OpenRc {
    fn install(&self, arena: &Arena, service: &Service) -> Option<Running> {
        // As after its boot.
        arena.sh(BOOTED).ok();
        let script = format!(
            "#!/sbin/openrc-run\n\
             supervisor=supervise-daemon\n\
             command=/usr/local/sbin/dynuser\n\
             command_args=\"run {}\"\n\
             pidfile=/run/{}.pid\n\
             respawn_max=0\n\
             extra_started_commands=reload\n\
             reload() {{ supervise-daemon $RC_SVCNAME --pidfile $pidfile --signal HUP; }}\n",
            service.words, service.name
        );
        arena.put(&format!("/etc/init.d/{}", service.name), &script, 0o755);
        let log = arena.within(|| UnixDatagram::bind("/dev/log").expect("a log"));
        log.set_nonblocking(true).expect("a log");
        *self.log.lock().expect("alone") = Some(log);
        None
    }

    fn definition(&self, service: &Service) -> String {
        format!("/etc/init.d/{}", service.name)
    }

    fn words(&self, what: What, service: &Service) -> String {
        let verb = match what {
            What::Start => "start",
            What::Status | What::Ready => "status",
            What::Reload => "reload",
            What::Restart => "restart",
            What::Stop => "stop",
        };
        format!("rc-service {} {verb}", service.name)
    }

    fn pid(&self, arena: &Arena, service: &Service) -> Option<u32> {
        let file = format!("/run/openrc/options/{}/child_pid", service.name);
        let pid: u32 = arena.run(["cat", &file]).stdout.trim().parse().ok()?;
        let runs = arena.run(["test", "-e", &format!("/proc/{pid}")]);
        runs.status.success().then_some(pid)
    }

    fn last_end(&self, _: &Arena, _: &Service) -> Option<i32> {
        let mut buffer = [0; 4096];
        let log = self.log.lock().expect("alone");
        let mut said = self.said.lock().expect("alone");
        while let Ok(length) = log.as_ref().expect("a log").recv(&mut buffer) {
            said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        said.iter().rev().find_map(|line| {
            // It does not tell how one ended that it has stopped.
            if line.contains(": stopping ") {
                return Some(None);
            }
            let number = |words| {
                Some(
                    line.split_once(words)?
                        .1
                        .trim_end()
                        .parse::<i32>()
                        .expect("a number"),
                )
            };
            let signal = number(", terminated by signal ").map(|signal| 128 + signal);
            signal
                .or_else(|| number(", exited with return code "))
                .map(Some)
        })?
    }

    fn knows_ready(&self, _: &Service) -> bool {
        false
    }
}
