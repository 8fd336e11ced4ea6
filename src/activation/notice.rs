//! Messages from a service: sd_notify(3), as much of it as is acted on.

use core::time::Duration;

/// What a message says about the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// `WATCHDOG=1`.
    Alive,
    /// `WATCHDOG=trigger`: it knows itself that it does not work any more.
    Trigger,
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`: for people. Not in it: control characters.
    pub status: Option<String>,
    /// `MAINPID=`: another process is the main one, it says.
    pub main_pid: Option<u32>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend: Option<Duration>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`.
    pub watchdog_time: Option<Duration>,
}

/// The longest message that is taken in, in bytes (`NOTIFY_BUFFER_MAX` of systemd).
pub const LONGEST_MESSAGE: usize = 4096;

/// The longest `STATUS=` that is passed on, in characters: it is shown.
const LONGEST_STATUS: usize = 256;

impl Notice {
    /// Reads a message. What is not known, or makes no sense, is passed over, as in systemd: services
    /// send what only later versions know.
    pub fn parse(message: &[u8]) -> Self {
        let mut notice = Self::default();
        if message.len() > LONGEST_MESSAGE {
            return notice;
        }
        for line in message.split(|byte| *byte == b'\n') {
            let Some((name, value)) = str::from_utf8(line).ok().and_then(|it| it.split_once('='))
            else {
                continue;
            };
            notice.take(name, value);
        }
        notice
    }

    /// Whether it says nothing that is acted on.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("READY", "1") => self.ready = true,
            ("RELOADING", "1") => self.reloading = true,
            ("STOPPING", "1") => self.stopping = true,
            ("STATUS", text) => {
                let shown = text.chars().filter(|c| !c.is_control());
                self.status = Some(shown.take(LONGEST_STATUS).collect());
            }
            ("MAINPID", pid) => {
                self.main_pid = pid.parse().ok().filter(|pid| *pid > 1);
            }
            ("EXTEND_TIMEOUT_USEC", time) => self.extend = microseconds(time),
            ("WATCHDOG", "1") => self.watchdog = Some(Watchdog::Alive),
            ("WATCHDOG", "trigger") => self.watchdog = Some(Watchdog::Trigger),
            ("WATCHDOG_USEC", time) => self.watchdog_time = microseconds(time),
            _ => {}
        }
    }
}

fn microseconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read() {
        let text =
            b"READY=1\nSTATUS=up\x1b[31m and away\nMAINPID=42\nX_OWN=5\nnonsense\nWATCHDOG=1\n";
        assert_eq!(
            Notice::parse(text),
            Notice {
                ready: true,
                status: Some("up[31m and away".into()),
                main_pid: Some(42),
                watchdog: Some(Watchdog::Alive),
                ..Notice::default()
            }
        );
        let time = Notice::parse(b"EXTEND_TIMEOUT_USEC=1500000");
        assert_eq!(time.extend, Some(Duration::from_millis(1500)));
        for nothing in [
            &b""[..],
            b"READY=0",
            b"READY=yes",
            b"ready=1",
            b"MAINPID=-1",
            b"MAINPID=1",
            b"MAINPID=0",
            b"WATCHDOG_USEC=x",
            b"\xff\xff",
            b"READY",
        ] {
            assert!(Notice::parse(nothing).is_empty(), "{nothing:?}");
        }
        let long = [b"READY=1\n".to_vec(), vec![b'x'; LONGEST_MESSAGE]].concat();
        assert!(Notice::parse(&long).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let notice = Notice::parse(&bytes);
            prop_assert!(notice.status.is_none_or(|it| it.chars().count() <= LONGEST_STATUS));
        }
    }
}
