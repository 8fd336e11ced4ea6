//! Randomness, for what must be unique. Nothing that is decided depends on it.

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use super::{During, SysResult};

/// 128 random bits (getrandom(2)) as 32 hexadecimal digits.
///
/// # Errors
/// Those of the call.
pub fn hex_id() -> SysResult<String> {
    Ok(format!("{:032x}", u128::from_ne_bytes(random()?)))
}

/// 32 random bits.
///
/// # Errors
/// As [`hex_id`].
pub fn random_number() -> SysResult<u32> {
    random().map(u32::from_ne_bytes)
}

fn random<const SIZE: usize>() -> SysResult<[u8; SIZE]> {
    let mut bytes = [0_u8; SIZE];
    loop {
        // Up to 256 bytes come whole (getrandom(2), "Interruption by a signal handler").
        match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("getrandom", ""),
        }
    }
    Ok(bytes)
}
