//! Tells AddressSanitizer of a switch, in builds with `--cfg whirligig_asan`.
//!
//! It keeps shadow frames for each stack, and must know which one is in use. Its functions are in
//! `sanitizer/common_interface_defs.h`: before a switch it hears where the other stack is, and
//! after it, on that stack, that we are there.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// The sanitizer's shadow frames of a stack that was left.
pub(in crate::fiber) type Shadow = *mut c_void;

// SAFETY: the sanitizer's declarations, with which the program is linked in such builds.
unsafe extern "C" {
    fn __sanitizer_start_switch_fiber(save: *mut Shadow, bottom: *const c_void, size: usize);
    fn __sanitizer_finish_switch_fiber(
        shadow: Shadow,
        bottom_old: *mut *const c_void,
        size_old: *mut usize,
    );
}

/// Where a coroutine's stack is, and where that of its resumer.
pub(in crate::fiber) struct Bounds {
    bottom: *const c_void,
    bytes: usize,
    resumer_bottom: Cell<*const c_void>,
    resumer_bytes: Cell<usize>,
}

impl Bounds {
    pub(in crate::fiber) fn new(bottom: *const u8, bytes: usize) -> Bounds {
        let resumer_bottom = Cell::new(ptr::null());
        Bounds { bottom: bottom.cast(), bytes, resumer_bottom, resumer_bytes: Cell::new(0) }
    }

    /// Before the switch to this stack.
    pub(in crate::fiber) fn leave_for(&self) -> Shadow {
        let mut shadow = ptr::null_mut();
        // SAFETY: writes to `shadow`, and remembers numbers.
        unsafe { __sanitizer_start_switch_fiber(&mut shadow, self.bottom, self.bytes) };
        shadow
    }

    /// Before a switch to the resumer's stack.
    pub(in crate::fiber) fn leave_for_resumer(&self) -> Shadow {
        let mut shadow = ptr::null_mut();
        let (bottom, bytes) = (self.resumer_bottom.get(), self.resumer_bytes.get());
        // SAFETY: writes to `shadow`, and remembers numbers.
        unsafe { __sanitizer_start_switch_fiber(&mut shadow, bottom, bytes) };
        shadow
    }

    /// Before the last of them. The shadow frames are freed, so this function has none itself.
    #[inline(never)]
    pub(in crate::fiber) fn leave_for_good(&self) {
        let (bottom, bytes) = (self.resumer_bottom.get(), self.resumer_bytes.get());
        // SAFETY: remembers numbers; null says that there is nothing to come back to.
        unsafe { __sanitizer_start_switch_fiber(ptr::null_mut(), bottom, bytes) };
    }

    /// After a switch from the resumer's stack.
    pub(in crate::fiber) fn arrive(&self, shadow: Shadow) {
        let (bottom, bytes) = (self.resumer_bottom.as_ptr(), self.resumer_bytes.as_ptr());
        // SAFETY: writes to the two cells, which nobody else uses meanwhile.
        unsafe { __sanitizer_finish_switch_fiber(shadow, bottom, bytes) };
    }
}

/// After the switch back to the resumer's stack.
pub(in crate::fiber) fn arrive_at_resumer(shadow: Shadow) {
    // SAFETY: null pointers say that the old bounds are not asked for.
    unsafe { __sanitizer_finish_switch_fiber(shadow, ptr::null_mut(), ptr::null_mut()) };
}
