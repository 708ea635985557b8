//! The heap of a process that keeps to a budget of bytes.
//!
//! The system's C library gives threads heaps of their own, and keeps what was freed in one of them
//! from all others. Frames and pools move between threads: on a busy machine up to a quarter more
//! was held than was in use. With one heap, the memory that is predicted is what is held.
//!
//! A service gives back what its sessions had, each time that one has ended.

/// All threads share one heap from now on. To be called before any other thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn share() {
    // SAFETY: sets a number of the allocator, and takes no pointer. A refusal leaves it as it was.
    #[expect(unsafe_code)]
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives the system back what is free, of sessions that have ended: by itself the C library keeps
/// most of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: looks at the allocator's own lists, and takes no pointer.
    #[expect(unsafe_code)]
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Other systems' heaps do so by themselves, or cannot be asked to.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

/// Other systems' heaps are shared, or cannot be asked to be.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share() {}
