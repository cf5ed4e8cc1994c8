//! The disk in a VHD or VHDX file as libvhdi reads it (<https://github.com/libyal/libvhdi>; Debian's `libvhdi-dev`).
//!
//! Always true here: a file is closed before its parent is, and nothing of libvhdi's is kept beyond that.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null_mut, without_provenance_mut};

/// `LIBVHDI_ACCESS_FLAG_READ`.
const READ: c_int = 1;

/// Where libvhdi would put what went wrong. It takes a null pointer for "do not tell".
const NO_ERROR: *mut *mut c_void = null_mut();

#[link(name = "vhdi")]
unsafe extern "C" {
    fn libvhdi_file_initialize(file: *mut *mut c_void, error: *mut *mut c_void) -> c_int;
    fn libvhdi_file_free(file: *mut *mut c_void, error: *mut *mut c_void) -> c_int;
    fn libvhdi_file_open(file: *mut c_void, name: *const c_char, flags: c_int, error: *mut *mut c_void) -> c_int;
    fn libvhdi_file_set_parent_file(file: *mut c_void, parent: *mut c_void, error: *mut *mut c_void) -> c_int;
    fn libvhdi_file_get_media_size(file: *mut c_void, size: *mut u64, error: *mut *mut c_void) -> c_int;
    fn libvhdi_file_read_buffer_at_offset(
        file: *mut c_void,
        buffer: *mut c_void,
        size: usize,
        offset: i64,
        error: *mut *mut c_void,
    ) -> isize;
}

unsafe extern "C" {
    fn __lsan_disable();
    fn __lsan_enable();
}

/// As long as one is there, the leak sanitizer takes no allocation for one that was forgotten: libvhdi forgets some where it
/// refuses a file, and that is not what is looked for.
pub struct LeaksAllowed(());

impl LeaksAllowed {
    pub fn new() -> Self {
        // SAFETY: it counts up, on this thread.
        unsafe { __lsan_disable() };
        Self(())
    }
}

impl Drop for LeaksAllowed {
    fn drop(&mut self) {
        // SAFETY: it counts down again, once for each `new`.
        unsafe { __lsan_enable() };
    }
}

/// An open file.
pub struct Disk {
    file: *mut c_void,
    /// Of no use here but to be closed later: `file` points to it.
    _parent: Option<Box<Disk>>,
}

impl Disk {
    /// Opens the file at a path, with its parent. `None` where libvhdi refuses either of them.
    pub fn open(path: &str, parent: Option<Disk>) -> Option<Self> {
        let path = CString::new(path).expect("a path without zeros");
        let mut disk = Self { file: without_provenance_mut(0), _parent: None };
        // SAFETY: `file` is null, which is what it asks for.
        if unsafe { libvhdi_file_initialize(&raw mut disk.file, NO_ERROR) } != 1 {
            return None;
        }
        // SAFETY: the file was made above; the path ends with a zero and is only read during the call.
        if unsafe { libvhdi_file_open(disk.file, path.as_ptr(), READ, NO_ERROR) } != 1 {
            return None;
        }
        if let Some(parent) = parent {
            // SAFETY: both are open, and the parent is kept in this disk, which closes it last.
            if unsafe { libvhdi_file_set_parent_file(disk.file, parent.file, NO_ERROR) } != 1 {
                return None;
            }
            disk._parent = Some(Box::new(parent));
        }
        Some(disk)
    }

    pub fn size(&self) -> Option<u64> {
        let mut size = 0;
        // SAFETY: the file is open, and the size is written where a `u64` is.
        (unsafe { libvhdi_file_get_media_size(self.file, &raw mut size, NO_ERROR) } == 1).then_some(size)
    }

    /// Whether all of the buffer could be filled from an offset of the disk on.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let Ok(at) = i64::try_from(offset) else { return false };
        let (place, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the file is open, and at most `length` bytes are written to the buffer, which has as many.
        let read = unsafe { libvhdi_file_read_buffer_at_offset(self.file, place, length, at, NO_ERROR) };
        usize::try_from(read) == Ok(length)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.file.is_null() {
            // SAFETY: it was made by `libvhdi_file_initialize`, and is used no more. This closes it as well. The parent is
            // dropped behind this.
            unsafe { libvhdi_file_free(&raw mut self.file, NO_ERROR) };
        }
    }
}
