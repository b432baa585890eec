//! A directory of files that are written block by block, past the page cache where the file
//! system allows it.
//!
//! The log and the snapshots see the disk only through [`Disk`] and [`DiskFile`], so a test can
//! put a disk under them that records, fails, or forgets what was not synced.
//!
//! Offsets and lengths of writes are multiples of [`DISK_ALIGN`], and the bytes come from an
//! [`AlignedBuf`]: O_DIRECT asks for both.
//!
//! Deliberately absent: retries of what failed. After an error of a write or a sync nobody knows
//! what is on the disk; the caller decides.

use super::failure::failed;
use crate::limits::DISK_STALLS_MAX;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Offsets, lengths and addresses of writes are multiples of this.
pub const DISK_ALIGN: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; an error if there is one of that name.
    Create,
}

/// A file of a [`Disk`]. May be used from several threads at once.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`. Whether they survive a power cut is open until
    /// [`DiskFile::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// As [`DiskFile::write_at`], but into the page cache where there is one: returns as soon as
    /// the kernel has the bytes, and the disk sees them later, many at once.
    fn write_cached_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }
    /// Writes all of `bytes` at `offset`; they are durable when this returns. The file must
    /// have held bytes there before, so that nothing but data has to reach the disk.
    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `bytes.len()` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes everything written so far durable, the length of the file too.
    fn sync(&self) -> io::Result<()>;
    /// Bytes of the file.
    fn len(&self) -> io::Result<u64>;
    /// True when the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// One directory on a disk.
pub trait Disk: Send + Sync {
    /// Opens the file `name`.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Gives the file `from` the name `to`, replacing what was there. Durable after
    /// [`Disk::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names and sizes of all files, in no order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Makes the names of the directory durable.
    fn sync(&self) -> io::Result<()>;
    /// Where the directory is, for messages.
    fn location(&self) -> String;
    /// False when writes go through the page cache because the file system refuses O_DIRECT.
    fn is_direct(&self) -> bool {
        true
    }
}

/// A directory of the file system.
pub struct Directory {
    path: PathBuf,
    direct: AtomicBool,
}

impl Directory {
    /// The directory at `path`, made if it is not there.
    pub fn open(path: &Path) -> io::Result<Directory> {
        fs::create_dir_all(path)
            .map_err(|cause| failed(format!("make the directory {}", path.display()), cause))?;
        Ok(Directory { path: path.to_owned(), direct: AtomicBool::new(true) })
    }

    fn options(mode: OpenMode) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::Create);
        options
    }
}

impl Disk for Directory {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        let mut options = Directory::options(mode);
        let direct = mode != OpenMode::Read && self.direct.load(Relaxed);
        if direct {
            options.custom_flags(libc::O_DIRECT);
        }
        let mut opened = options.open(&path);
        if direct
            && let Err(error) = &opened
            && error.raw_os_error() == Some(libc::EINVAL)
        {
            self.direct.store(false, Relaxed);
            // The refused call may have made the file.
            let again =
                if mode == OpenMode::Create && path.exists() { OpenMode::Write } else { mode };
            opened = Directory::options(again).open(&path);
        }
        let file = opened.map_err(|cause| failed(format!("open {}", path.display()), cause))?;
        let through = AtomicBool::new(true);
        Ok(Box::new(BlockFile { file, path, through, cached: OnceLock::new() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        let what = || format!("rename {} to {}", from.display(), to.display());
        fs::rename(&from, &to).map_err(|cause| failed(what(), cause))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(|cause| failed(format!("remove {}", path.display()), cause))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let what = |cause| failed(format!("list {}", self.path.display()), cause);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(what)? {
            let entry = entry.map_err(what)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A file that vanishes meanwhile is none.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_file() {
                files.push((name, about.len()));
            }
        }
        Ok(files)
    }

    fn sync(&self) -> io::Result<()> {
        let what = |cause| failed(format!("sync the directory {}", self.path.display()), cause);
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(what)
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn is_direct(&self) -> bool {
        self.direct.load(Relaxed)
    }
}

/// A file, with its path for messages.
struct BlockFile {
    file: File,
    path: PathBuf,
    /// The system knows writes that are durable when they return.
    through: AtomicBool,
    /// The same file without O_DIRECT, once it was asked for; `None` if that is refused.
    cached: OnceLock<Option<File>>,
}

impl BlockFile {
    fn what(&self, verb: &str, offset: u64) -> String {
        format!("{verb} {} at offset {offset}", self.path.display())
    }

    /// The file as the page cache has it. By way of its descriptor: it may have another name by
    /// now.
    fn cached(&self) -> &File {
        let open = || {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            File::options().write(true).open(link).ok()
        };
        self.cached.get_or_init(open).as_ref().unwrap_or(&self.file)
    }

    /// Writes all, durably if so asked; an error `EOPNOTSUPP` if the system does not know that.
    fn write_all(file: &File, mut bytes: &[u8], mut offset: u64, flags: i32) -> io::Result<()> {
        debug_assert!(bytes.len().is_multiple_of(DISK_ALIGN));
        debug_assert!(offset.is_multiple_of(DISK_ALIGN as u64));
        let mut stalls = 0;
        while !bytes.is_empty() {
            let piece = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
            let (fd, at) = (file.as_raw_fd(), offset as libc::off_t);
            // SAFETY: [sys-040] I-SYSCALL: the piece is `bytes`, which outlives the call and
            // is only read.
            let wrote = unsafe { libc::pwritev2(fd, &piece, 1, at, flags) };
            if wrote < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            // A short write may end inside a block; the block is written again as a whole.
            let whole = wrote as usize / DISK_ALIGN * DISK_ALIGN;
            stalls = if whole == 0 { stalls + 1 } else { 0 };
            if wrote == 0 || stalls > DISK_STALLS_MAX {
                return Err(io::Error::from(io::ErrorKind::WriteZero));
            }
            bytes = &bytes[whole..];
            offset += whole as u64;
        }
        Ok(())
    }
}

impl DiskFile for BlockFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let outcome = BlockFile::write_all(&self.file, bytes, offset, 0);
        outcome.map_err(|cause| failed(self.what("write", offset), cause))
    }

    fn write_cached_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let outcome = BlockFile::write_all(self.cached(), bytes, offset, 0);
        outcome.map_err(|cause| failed(self.what("write", offset), cause))
    }

    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.through.load(Relaxed) {
            match BlockFile::write_all(&self.file, bytes, offset, libc::RWF_DSYNC) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    self.through.store(false, Relaxed);
                }
                other => return other.map_err(|cause| failed(self.what("write", offset), cause)),
            }
        }
        self.write_at(bytes, offset)?;
        self.file.sync_data().map_err(|cause| failed(self.what("sync", offset), cause))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(failed(self.what("read", offset), cause)),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        let what = || format!("sync {}", self.path.display());
        self.file.sync_data().map_err(|cause| failed(what(), cause))
    }

    fn len(&self) -> io::Result<u64> {
        let what = || format!("look at {}", self.path.display());
        Ok(self.file.metadata().map_err(|cause| failed(what(), cause))?.len())
    }
}

/// Zeroed bytes whose address is a multiple of [`DISK_ALIGN`].
///
/// Invariant I-ALIGNED: `ptr` is an allocation of `len` initialised bytes that belongs to this
/// value alone.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: [sys-041] I-ALIGNED: the allocation belongs to this value alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: [sys-042] I-ALIGNED: a shared reference only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// At least `len` zeroed bytes, rounded up to a multiple of [`DISK_ALIGN`].
    pub fn zeroed(len: usize) -> AlignedBuf {
        let len = len.max(1).next_multiple_of(DISK_ALIGN);
        let layout = AlignedBuf::layout(len);
        // SAFETY: [sys-043] I-ALIGNED: the layout is not empty.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        AlignedBuf { ptr, len }
    }

    fn layout(len: usize) -> Layout {
        // It fails only for lengths beyond the address space, which no caller asks for.
        Layout::from_size_align(len, DISK_ALIGN).unwrap_or(Layout::new::<u8>())
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: [sys-044] I-ALIGNED: `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: [sys-045] I-ALIGNED: `len` initialised bytes, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: [sys-046] I-ALIGNED: allocated with this layout, and never used again.
        unsafe { dealloc(self.ptr.as_ptr(), AlignedBuf::layout(self.len)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_names_change() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Directory::open(&home.path().join("new")).expect("made");
        let file = disk.open("a", OpenMode::Create).expect("made");
        let mut block = AlignedBuf::zeroed(2 * DISK_ALIGN);
        block[DISK_ALIGN..].fill(7);
        file.write_at(&block, DISK_ALIGN as u64).expect("written");
        file.sync().expect("synced");
        file.write_through_at(&block[DISK_ALIGN..], DISK_ALIGN as u64).expect("written");
        let mut read = vec![1; 4 * DISK_ALIGN];
        assert_eq!(file.read_at(&mut read[..4 * DISK_ALIGN], 0).ok(), Some(3 * DISK_ALIGN));
        let reader = disk.open("a", OpenMode::Read).expect("there");
        assert_eq!(reader.read_at(&mut read, 0).ok(), Some(3 * DISK_ALIGN));
        assert!(read[..DISK_ALIGN].iter().all(|byte| *byte == 0));
        assert!(read[DISK_ALIGN..3 * DISK_ALIGN].iter().all(|byte| *byte == 7));
        assert!(disk.open("a", OpenMode::Create).is_err(), "there is one");
        disk.rename("a", "c").expect("renamed");
        block.fill(9);
        file.write_cached_at(&block[DISK_ALIGN..], 0).expect("written, under another name");
        assert_eq!(file.read_at(&mut read, 0).ok(), Some(3 * DISK_ALIGN));
        assert!(read[..DISK_ALIGN].iter().all(|byte| *byte == 9), "seen past the cache too");
        assert!(read[DISK_ALIGN..3 * DISK_ALIGN].iter().all(|byte| *byte == 7));
        disk.rename("c", "a").expect("renamed");
        disk.rename("a", "b").and_then(|()| disk.sync()).expect("renamed");
        assert_eq!(disk.list().ok(), Some(vec![("b".to_string(), 3 * DISK_ALIGN as u64)]));
        disk.remove("b").expect("removed");
        let error = disk.open("b", OpenMode::Write).err().expect("gone").to_string();
        assert!(error.contains("/new/b"), "{error}");
    }

    #[test]
    fn an_aligned_buffer_is_aligned_and_zeroed() {
        for len in [0, 1, DISK_ALIGN, DISK_ALIGN + 1, 1 << 20] {
            let mut buffer = AlignedBuf::zeroed(len);
            assert_eq!(buffer.as_ptr().addr() % DISK_ALIGN, 0);
            assert!(buffer.len() >= len && buffer.iter().all(|byte| *byte == 0));
            buffer.fill(1);
        }
    }
}
