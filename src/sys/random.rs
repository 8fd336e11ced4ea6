//! Randomness, for what must be unique. Nothing that is decided depends on it.

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use super::{During, SysResult};

/// 128 random bits (getrandom(2)) as 32 hexadecimal digits.
///
/// # Errors
/// Those of the call.
pub fn hex_id() -> SysResult<String> {
    let mut bytes = [0_u8; 16];
    loop {
        // Up to 256 bytes come whole (getrandom(2), "Interruption by a signal handler").
        match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("getrandom", ""),
        }
    }
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
