//! Linker options of the module. They stand here and not in `RUSTFLAGS`, which would reach build
//! scripts too: a program linked with `-nostartfiles` dies at its start.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // glibc opens a module by this name, not by the one cargo gives the file.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libnss_dynuser.so.2");
    // No constructors and destructors: loading the module runs nothing.
    println!("cargo::rustc-cdylib-link-arg=-nostartfiles");
    println!("cargo::rustc-cdylib-link-arg=-Wl,--build-id=none,--hash-style=gnu");
    // The libc crate leaves this to std when its feature `std` is on; and cargo switches it on when
    // the module is built in one go with a package that wants it.
    println!("cargo::rustc-link-lib=c");
}
