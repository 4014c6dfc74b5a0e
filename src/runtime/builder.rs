//! Runtimes that are not as usual.

use super::Runtime;
use crate::sys::KernelHandle;
use std::io;

/// Makes a runtime that is not as [`Runtime::new`] has it.
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
}

impl Runtime {
    /// Makes a runtime that is not as [`Runtime::new`] has it.
    pub fn builder() -> Builder {
        Builder { kernel: KernelHandle::linux() }
    }
}

impl Builder {
    /// Puts the runtime on a kernel of the caller's choice, instead of Linux.
    pub fn kernel(mut self, kernel: KernelHandle) -> Builder {
        self.kernel = kernel;
        self
    }

    /// Makes the runtime, on this thread.
    ///
    /// # Errors
    /// Out of descriptors (it takes two) or memory.
    pub fn build(&self) -> io::Result<Runtime> {
        Runtime::on(self.kernel.clone())
    }
}
