//! The body of tests/fuzz_units.rs, led by libFuzzer.
#![no_main]

#[path = "../body.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod body;

#[global_allocator]
static COUNTING: body::Counting = body::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    body::everything(bytes);
});
