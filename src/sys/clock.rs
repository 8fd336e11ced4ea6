//! The clock of this boot.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A span for system calls: to the nanosecond, or whoever waits so long would be woken too early and only turn round.
pub fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// Milliseconds since the host was started, sleep counted (clock_gettime(2), `CLOCK_BOOTTIME`):
/// nobody can set it, and it means the same to every process of a boot.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    let rest = rest.checked_div(1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(rest)
}

/// A moment as the host's people have it: year, month, day, hour, minute and second (localtime_r(3), the zone of `TZ` or
/// `/etc/localtime`). `None` for one that has no such time.
pub fn local(seconds_since_1970: u64) -> Option<[i32; 6]> {
    let time = libc::time_t::try_from(seconds_since_1970).ok()?;
    let mut fields = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: one address is of a time_t that outlives the call, the other has room for what is written.
    let answer = unsafe { libc::localtime_r(&raw const time, fields.as_mut_ptr()) };
    if answer.is_null() {
        return None;
    }
    // SAFETY: all zero bytes are a tm, and the call has written over them.
    let fields = unsafe { fields.assume_init() };
    Some([
        fields.tm_year.checked_add(1900)?,
        fields.tm_mon.checked_add(1)?,
        fields.tm_mday,
        fields.tm_hour,
        fields.tm_min,
        fields.tm_sec,
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_moment_has_a_local_time() {
        // Nowhere on earth it is another year then: July 2001.
        let time = super::local(994_000_000).expect("a time");
        assert_eq!(time.first(), Some(&2001));
        assert_eq!(super::local(u64::MAX), None);
    }

    #[test]
    fn it_goes_on() {
        let before = super::now();
        assert!(before > 0);
        assert!(super::now() >= before);
    }
}
