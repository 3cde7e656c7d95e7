//! A timer that is as precise as the kernel's.
//!
//! The runtime's own timers count whole milliseconds and round up. A load generator that used them
//! would add half a millisecond to every latency that it reports.

use std::io;
use std::time::Instant;

#[cfg(target_os = "linux")]
pub use linux::Timer;
#[cfg(not(target_os = "linux"))]
pub use portable::Timer;

/// Waits until `at` and a little longer: about 50 µs on Linux, up to 1 ms elsewhere.
///
/// # Errors
/// When the system makes no timer, see [`Timer::new`].
pub async fn sleep_until(at: Instant) -> io::Result<()> {
    Timer::new()?.wait(at).await
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    /// A timer descriptor that the runtime waits for beside its sockets.
    #[derive(Debug)]
    pub struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// A timer; to be made inside of a runtime.
        ///
        /// # Errors
        /// When the process has no file descriptor left.
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            // An `OwnedFd` keeps what the deprecated constructor leaves to its caller: it stays
            // open, and the same. The constructor that replaces it is `unsafe`, which this
            // workspace forbids.
            #[allow(deprecated)]
            let fd = AsyncFd::new(fd)?;
            Ok(Self(fd))
        }

        /// Waits until `at`; not at all when it is past.
        ///
        /// # Errors
        /// When the kernel refuses the time.
        pub async fn wait(&mut self, at: Instant) -> io::Result<()> {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once(left)?)?;
            loop {
                let mut ready = self.0.readable().await?;
                let read = ready.try_io(|fd| {
                    let mut expirations = [0; 8];
                    Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)
                });
                if let Ok(read) = read {
                    return read.map(|_| ());
                }
            }
        }
    }

    fn once(after: Duration) -> io::Result<Itimerspec> {
        let seconds = i64::try_from(after.as_secs()).map_err(io::Error::other)?;
        let value = Timespec {
            tv_sec: seconds,
            tv_nsec: after.subsec_nanos().into(),
        };
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        Ok(Itimerspec {
            it_interval: never,
            it_value: value,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;
    use std::time::Instant;

    /// The runtime's timer: whole milliseconds.
    #[derive(Debug)]
    pub struct Timer(());

    impl Timer {
        /// A timer.
        ///
        /// # Errors
        /// Never.
        pub fn new() -> io::Result<Self> {
            Ok(Self(()))
        }

        /// Waits until `at`; not at all when it is past.
        ///
        /// # Errors
        /// Never.
        pub async fn wait(&mut self, at: Instant) -> io::Result<()> {
            tokio::time::sleep_until(at.into()).await;
            Ok(())
        }
    }
}
