//! The `dynuser` program: see the library for what is where.

fn main() {}
