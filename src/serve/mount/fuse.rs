//! The kernel's requests, handed to those who answer them.
//!
//! Always true here:
//! - The thread that takes requests answers none that needs the tree: those go to a pool for reading and one for everything else, so
//!   that many slow reads keep nobody from looking around.

use super::answers::{REQUEST, Shared};
use super::pool::Pool;
use fuser::{
    Errno, FileHandle, Filesystem, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads that read files, and threads that do everything else.
const READERS: usize = 8;
const LOOKERS: usize = 8;

/// Requests that the kernel sends on its own before somebody waits for them, as when it reads ahead.
const BACKGROUND: u16 = 32;

/// What the extended attributes that files have here begin with.
const USER: &str = "user.";

/// The file system, as the session has it.
pub(super) struct Fuse {
    shared: Arc<Shared>,
    readers: Pool<Shared>,
    lookers: Pool<Shared>,
}

impl Fuse {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system says where it gives no thread.
    pub(super) fn start(shared: Shared) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let shared = Arc::new(shared);
        let (readers, mut threads) = Pool::start("mount-read", READERS, &shared)?;
        let (lookers, more) = Pool::start("mount-look", LOOKERS, &shared)?;
        threads.extend(more);
        Ok((Self { shared, readers, lookers }, threads))
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What a kernel does not have, it does without.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        // It bounds reads, too.
        let _ = config.set_max_write(REQUEST);
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        // All names that are shown are text.
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(Errno::ENOENT) };
        self.lookers.run(move |shared, _| shared.lookup(parent.0, &name, reply));
    }

    fn forget(&self, _: &Request, number: INodeNo, count: u64) {
        self.shared.forget(number.0, count);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.lookers.run(move |shared, _| shared.getattr(number.0, reply));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        self.lookers.run(move |shared, _| shared.readlink(number.0, reply));
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.lookers.run(move |shared, _| shared.open(number.0, reply));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.readers.run(move |shared, buffer| shared.read(handle.0, offset, size, buffer, reply));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.lookers.run(move |shared, _| {
            shared.close(handle.0);
            reply.ok();
        });
    }

    fn lseek(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.readers.run(move |shared, _| shared.lseek(handle.0, offset, whence, reply));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.lookers.run(move |shared, _| shared.opendir(number.0, reply));
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        // Programs ask for much that no file here has, and each file anew.
        let Some(name) = name.to_str().filter(|name| name.starts_with(USER)).map(str::to_owned) else {
            return reply.error(Errno::ENODATA);
        };
        self.lookers.run(move |shared, _| shared.extended(number.0, Some(&name), size, reply));
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.lookers.run(move |shared, _| shared.extended(number.0, None, size, reply));
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.lookers.run(move |shared, _| shared.readdir(number.0, handle.0, offset, reply));
    }

    fn readdirplus(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.lookers.run(move |shared, _| shared.readdirplus(number.0, handle.0, offset, reply));
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.shared.close(handle.0);
        reply.ok();
    }
}
