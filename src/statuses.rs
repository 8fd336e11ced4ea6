//! Exit statuses and signals by name: systemd.exec(5) "PROCESS EXIT CODES", and the lists of
//! `SuccessExitStatus=` and `RestartPreventExitStatus=` (systemd.service(5)).

#![forbid(unsafe_code)]

use std::fmt;

use crate::sizes;
use crate::words::{self, Escapes};

/// Signals with the numbers that they have on all architectures that we are built for (x86, arm, riscv,
/// power, s390; signal(7)).
const SIGNALS: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first real-time signal that glibc leaves to programs (it takes two for itself), and the last.
/// Fixed: a unit file means the same signal whichever C library we are linked with.
const REAL_TIME: (u8, u8) = (34, 64);

/// Exit statuses with a name.
const STATUSES: [(&str, u8); 68] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
    ("CHDIR", 200),
    ("NICE", 201),
    ("FDS", 202),
    ("EXEC", 203),
    ("MEMORY", 204),
    ("LIMITS", 205),
    ("OOM_ADJUST", 206),
    ("SIGNAL_MASK", 207),
    ("STDIN", 208),
    ("STDOUT", 209),
    ("CHROOT", 210),
    ("IOPRIO", 211),
    ("TIMERSLACK", 212),
    ("SECUREBITS", 213),
    ("SETSCHEDULER", 214),
    ("CPUAFFINITY", 215),
    ("GROUP", 216),
    ("USER", 217),
    ("CAPABILITIES", 218),
    ("CGROUP", 219),
    ("SETSID", 220),
    ("CONFIRM", 221),
    ("STDERR", 222),
    ("PAM", 224),
    ("NETWORK", 225),
    ("NAMESPACE", 226),
    ("NO_NEW_PRIVILEGES", 227),
    ("SECCOMP", 228),
    ("SELINUX_CONTEXT", 229),
    ("PERSONALITY", 230),
    ("APPARMOR", 231),
    ("ADDRESS_FAMILIES", 232),
    ("RUNTIME_DIRECTORY", 233),
    ("CHOWN", 235),
    ("SMACK_PROCESS_LABEL", 236),
    ("KEYRING", 237),
    ("STATE_DIRECTORY", 238),
    ("CACHE_DIRECTORY", 239),
    ("LOGS_DIRECTORY", 240),
    ("CONFIGURATION_DIRECTORY", 241),
    ("NUMA_POLICY", 242),
    ("CREDENTIALS", 243),
    ("BPF", 244),
    ("KSM", 245),
    ("EXCEPTION", 255),
];

/// The number of a signal: `SIGTERM`, `TERM`, `15`, `RTMIN+3`, `RTMAX-1`.
///
/// # Errors
/// A sentence that says that it is none.
pub fn signal(text: &str) -> Result<u8, String> {
    let bad =
        || format!("{text:?} is no signal: write a name such as SIGTERM, or a number up to 64");
    let (first, last) = REAL_TIME;
    if let Ok(number) = sizes::number(text) {
        return u8::try_from(number)
            .ok()
            .filter(|number| (1..=last).contains(number))
            .ok_or_else(bad);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |text: &str, sign: char| -> Option<u8> {
        let digits = text.strip_prefix(sign)?;
        let digits = Some(digits).filter(|digits| digits.chars().all(|c| c.is_ascii_digit()))?;
        digits.parse().ok()
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(first),
        (_, Some("")) => Some(last),
        (Some(more), _) => offset(more, '+').and_then(|more| first.checked_add(more)),
        (_, Some(less)) => offset(less, '-').and_then(|less| last.checked_sub(less)),
        (None, None) => None,
    };
    number
        .filter(|number| (first..=last).contains(number))
        .ok_or_else(bad)
}

/// The name of a signal, `SIGTERM` or `SIGRTMIN+3`; the number where it has none.
pub fn signal_name(number: u8) -> String {
    let (first, last) = REAL_TIME;
    let known = SIGNALS.iter().find(|(_, known)| *known == number);
    match (known, number.checked_sub(first)) {
        (Some((name, _)), _) => format!("SIG{name}"),
        (None, Some(0)) => "SIGRTMIN".into(),
        (None, Some(more)) if number <= last => format!("SIGRTMIN+{more}"),
        (None, _) => number.to_string(),
    }
}

/// The number of an exit status: `0` to `255`, `TEMPFAIL`, `NAMESPACE`.
pub fn status(text: &str) -> Option<u8> {
    let named = STATUSES.iter().find(|(name, _)| *name == text);
    named
        .map(|(_, number)| *number)
        .or_else(|| u8::try_from(sizes::number(text).ok()?).ok())
}

/// The name of an exit status, `NAMESPACE`.
pub fn status_name(number: u8) -> Option<&'static str> {
    let found = STATUSES.iter().find(|(_, known)| *known == number);
    found.map(|(name, _)| *name)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// By itself, with a status.
    Status(u8),
    /// By a signal.
    Signal(u8),
}

/// `226/NAMESPACE`, `3/NOTIMPLEMENTED`, `99`, `SIGTERM`.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(number) => match status_name(*number) {
                Some(name) => write!(f, "{number}/{name}"),
                None => write!(f, "{number}"),
            },
            Self::Signal(number) => f.write_str(&signal_name(*number)),
        }
    }
}

/// One assignment of such a list. A number is a status, never a signal. An empty value resets the list
/// (none is returned).
///
/// # Errors
/// A sentence that names the word that is neither (systemd warns and passes over it).
pub fn list(value: &str) -> Result<Vec<Ending>, String> {
    let words = words::split_by(value, Escapes::Plain)?.into_iter();
    words
        .map(|word| {
            status(&word)
                .map(Ending::Status)
                .or_else(|| {
                    // 300 is no status, and no signal either.
                    let named = sizes::number(&word).is_err();
                    named
                        .then(|| signal(&word).ok())
                        .flatten()
                        .map(Ending::Signal)
                })
                .ok_or_else(|| format!("{word:?} is neither an exit status nor a signal"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signals_are_read_and_named() {
        for (text, wanted) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("15", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("SYS", 31),
        ] {
            assert_eq!(signal(text), Ok(wanted), "{text}");
            assert_eq!(signal(&signal_name(wanted)), Ok(wanted), "{text}");
        }
        assert_eq!(signal_name(37), "SIGRTMIN+3");
        for bad in [
            "", "SIG", "term", "0", "65", "-1", "RTMIN+31", "RTMAX-31", "RTMIN3", "RTMIN+-1",
        ] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_of_endings_are_read() {
        let read = list("TEMPFAIL 250 15 SIGUSR1 RTMIN+1 0x10").expect("a list");
        let shown: Vec<String> = read.iter().map(Ending::to_string).collect();
        let wanted = ["75/TEMPFAIL", "250", "15", "SIGUSR1", "SIGRTMIN+1", "16"];
        assert_eq!(shown, wanted);
        assert_eq!(Ending::Status(226).to_string(), "226/NAMESPACE");
        assert_eq!(list(""), Ok(Vec::new()));
        for bad in ["256", "-1", "EX_OK", "nope", "1 2 nope"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|SIG|RTM|IN|AX|[-+0-9])*") {
            let _list = list(&text);
            let _signal = signal(&text);
        }
    }
}
