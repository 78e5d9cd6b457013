//! Threads that let all others go first: where there are few cores, puts must not wait for a backup.
//!
//! Writes: the calling thread's priority. It is not raised again: the thread ends with its work.

/// As `nice` counts.
#[cfg(target_os = "linux")]
const LOWER: i32 = 10;

/// Does nothing where priorities are those of whole processes. That it is refused changes nothing but the pace of others.
pub(super) fn lower() {
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|now| now < LOWER) {
        let _ = rustix::process::setpriority_process(None, LOWER);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn one_thread_steps_back_and_the_others_do_not() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let lowered = std::thread::spawn(move || {
            super::lower();
            own()
        });
        assert_eq!((lowered.join().unwrap(), own()), (before.max(super::LOWER), before));
    }
}
