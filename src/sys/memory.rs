//! What the C library keeps of memory that nobody uses any more.

/// Gives memory that was freed back to the kernel (malloc_trim(3)): each request takes some on a
/// thread of its own, and a burst of them leaves it scattered.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes a number; it locks what it looks at.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Keeps the number of places that memory is taken from small (mallopt(3), `M_ARENA_MAX`): the
/// daemon's threads are many and short, and each place keeps what it once had.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes two numbers; called before there are threads.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}
