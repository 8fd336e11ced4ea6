//! The clock of this boot.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the host was started, sleep counted (clock_gettime(2), `CLOCK_BOOTTIME`):
/// nobody can set it, and it means the same to every process of a boot.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    let rest = rest.checked_div(1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_on() {
        let before = super::now();
        assert!(before > 0);
        assert!(super::now() >= before);
    }
}
