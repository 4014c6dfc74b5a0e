//! Runtimes that are not as usual.

use super::Runtime;
use crate::sys::KernelHandle;
use std::io;
use std::time::Duration;

/// Makes a runtime that is not as [`Runtime::new`] has it, or several
/// ([`workers`](Builder::workers)).
///
/// ```
/// let runtime = whirligig::Runtime::builder().build()?;
/// assert_eq!(runtime.block_on(async { 7 }), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    kernel: KernelHandle,
    timer_slack: Option<Duration>,
}

impl Runtime {
    /// Makes a runtime that is not as [`Runtime::new`] has it.
    pub fn builder() -> Builder {
        Builder { kernel: KernelHandle::linux(), timer_slack: None }
    }
}

impl Builder {
    /// Puts the runtime on a kernel of the caller's choice, instead of Linux.
    pub fn kernel(mut self, kernel: KernelHandle) -> Builder {
        self.kernel = kernel;
        self
    }

    /// Lets timers be late by up to `slack` where they are dense, so that several share a wake;
    /// 0.24 ms unless it is set. Zero keeps all exact. [`Sleep`](crate::time::Sleep) says more, and
    /// can have a slack of its own.
    ///
    /// [`Turn::Idle`](crate::Turn::Idle) tells of deadlines as they are: who steps a runtime
    /// decides when to wake.
    pub fn timer_slack(mut self, slack: Duration) -> Builder {
        self.timer_slack = Some(slack);
        self
    }

    /// Makes the runtime, on this thread.
    ///
    /// # Errors
    /// Out of descriptors (it takes two) or memory.
    pub fn build(&self) -> io::Result<Runtime> {
        let runtime = Runtime::on(self.kernel.clone())?;
        if let Some(slack) = self.timer_slack {
            runtime.reactor.set_slack(slack);
        }
        Ok(runtime)
    }
}
