//! A file or block device, read and written past every cache.

use crate::error::DiskError;
use crate::layout::PITCH;
use crate::sys;
use rustix::fs::{AtFlags, StatxFlags, ioctl_blksszget, statx};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where buffers begin: more than any device asks for.
const ALIGN: usize = PITCH;

/// Said by whoever uses a place without direct I/O: a node may read its own cache instead of what another machine wrote,
/// so two machines may own a group at once. Harmless only while every user of the file runs on one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptStaleReads;

/// What it is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
    /// Also makes the file if it is missing; a block device must not be mounted.
    Create,
}

/// Bytes that begin on a multiple of [`ALIGN`].
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start }
    }

    fn get(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < length + ALIGN {
            *self = Self::new(length);
        }
        let start = self.start;
        self.bytes.get_mut(start..start + length).unwrap_or_default()
    }
}

/// An open device.
pub(crate) struct Disk {
    path: PathBuf,
    file: File,
    buffer: Aligned,
    /// What offsets and lengths must be multiples of.
    sector: u32,
    /// What addresses must be multiples of.
    memory: u32,
    bytes: u64,
}

impl Drop for Disk {
    /// Nobody writes through it any more. Closing alone would leave the lock to a child that was forked meanwhile and has
    /// not yet become another program, and the place could not be opened again at once.
    fn drop(&mut self) {
        let _closes_anyway = sys::unlock(&self.file);
    }
}

impl Disk {
    pub(crate) fn open(
        path: &Path,
        access: Access,
        buffered: Option<AcceptStaleReads>,
    ) -> Result<Self, DiskError> {
        let failed = |what| move |source| DiskError::Io { path: path.to_owned(), what, source };
        let mut file = open_file(path, access, buffered)?;
        let kind = file.metadata().map_err(failed("asking for the kind"))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let found = if kind.is_dir() { "a directory" } else { "neither a file nor a block device" };
            return Err(DiskError::NotADisk { path: path.to_owned(), found });
        }
        let (memory, sector) = match buffered {
            Some(AcceptStaleReads) => (1, 512),
            None => alignment(path, &file, kind.is_block_device())?,
        };
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed("asking for the size"))?;
        Ok(Self { path: path.to_owned(), file, buffer: Aligned::new(8 * PITCH), sector, memory, bytes })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The smallest unit of I/O.
    pub(crate) const fn sector(&self) -> u32 {
        self.sector
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a file at least `bytes` long; a block device is as long as it is.
    pub(crate) fn extend(&mut self, bytes: u64) -> Result<(), DiskError> {
        let is_file = self.file.metadata().is_ok_and(|meta| meta.is_file());
        if self.bytes < bytes && is_file {
            self.file.set_len(bytes).map_err(|source| self.failed("making room", source))?;
            self.bytes = bytes;
        }
        if self.bytes < bytes {
            return Err(DiskError::TooSmall { path: self.path.clone(), bytes: self.bytes, needed: bytes });
        }
        Ok(())
    }

    /// Locks bytes of the first sector for this open file: `false` if another has them.
    pub(crate) fn lock(&self, start: u8, length: u8) -> Result<bool, DiskError> {
        sys::lock_range(&self.file, i64::from(start), i64::from(length))
            .map_err(|source| self.failed("locking", source))
    }

    /// Reads exactly `length` bytes.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Result<&[u8], DiskError> {
        self.check_aligned(offset, length)?;
        let buffer = self.buffer.get(length);
        let path = &self.path;
        let failed = |source| DiskError::Io { path: path.clone(), what: "reading", source };
        check_address(buffer, self.memory).map_err(failed)?;
        let count = self.file.read_at(buffer, offset).map_err(failed)?;
        if count != length {
            return Err(failed(io::Error::other(format!("{count} of {length} bytes at {offset}"))));
        }
        Ok(buffer)
    }

    /// Writes exactly these bytes, durably.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.check_aligned(offset, bytes.len())?;
        let buffer = self.buffer.get(bytes.len());
        buffer.copy_from_slice(bytes);
        let path = &self.path;
        let failed = |source| DiskError::Io { path: path.clone(), what: "writing", source };
        check_address(buffer, self.memory).map_err(failed)?;
        let count = self.file.write_at(buffer, offset).map_err(failed)?;
        if count != bytes.len() {
            return Err(failed(io::Error::other(format!("{count} of {} bytes at {offset}", bytes.len()))));
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(|source| self.failed("syncing", source))
    }

    fn check_aligned(&self, offset: u64, length: usize) -> Result<(), DiskError> {
        let unit = u64::from(self.sector);
        if offset.is_multiple_of(unit) && (length as u64).is_multiple_of(unit) {
            return Ok(());
        }
        let what = format!("{length} bytes at {offset} are no multiple of {unit}");
        Err(self.failed("aligning", io::Error::other(what)))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> DiskError {
        DiskError::Io { path: self.path.clone(), what, source }
    }
}

/// The kernel lets some misaligned buffers pass and refuses others: never rely on it.
fn check_address(buffer: &[u8], memory: u32) -> io::Result<()> {
    if buffer.as_ptr().addr().is_multiple_of(memory.max(1) as usize) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "a buffer at {:p}, the device needs multiples of {memory}",
        buffer.as_ptr()
    )))
}

fn open_file(path: &Path, access: Access, buffered: Option<AcceptStaleReads>) -> Result<File, DiskError> {
    let is_device = path.metadata().is_ok_and(|meta| meta.file_type().is_block_device());
    let mut flags = libc::O_DSYNC | libc::O_NONBLOCK;
    if buffered.is_none() {
        flags |= libc::O_DIRECT;
    }
    if access == Access::Create && is_device {
        flags |= libc::O_EXCL;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(access != Access::Read).custom_flags(flags);
    options.create(access == Access::Create && !is_device).truncate(false);
    options.open(path).map_err(|source| match source.raw_os_error() {
        Some(libc::EINVAL) if buffered.is_none() => {
            DiskError::NoDirectIo { path: path.to_owned(), found: "its file system refuses O_DIRECT".into() }
        }
        Some(libc::EISDIR) => DiskError::NotADisk { path: path.to_owned(), found: "a directory" },
        Some(libc::EBUSY) => {
            DiskError::Busy { path: path.to_owned(), user: "a mounted or claimed device".into() }
        }
        _ => DiskError::Io { path: path.to_owned(), what: "opening", source },
    })
}

/// Memory and offset alignment as the kernel states them.
fn alignment(path: &Path, file: &File, is_device: bool) -> Result<(u32, u32), DiskError> {
    let none = |found: String| DiskError::NoDirectIo { path: path.to_owned(), found };
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::DIOALIGN)
        .map_err(|error| none(format!("statx failed: {error}")))?;
    let (memory, offset) = if StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN) {
        (stat.stx_dio_mem_align, stat.stx_dio_offset_align)
    } else if is_device {
        // A kernel before 6.1: a device's own sectors are what it needs.
        let sector = ioctl_blksszget(file).map_err(|error| none(format!("no sector size: {error}")))?;
        (sector, sector)
    } else {
        return Err(none(
            "its file system does not state the alignment of direct I/O (dio_mem_align)".into(),
        ));
    };
    if memory == 0 || offset == 0 {
        return Err(none(
            "the kernel states dio_mem_align 0: reads and writes go through the page cache".into(),
        ));
    }
    let fits = ALIGN.is_multiple_of(memory as usize) && PITCH.is_multiple_of(offset as usize);
    if !fits {
        return Err(none(format!("alignments of {memory} and {offset} bytes, more than {PITCH}")));
    }
    Ok((memory, offset.max(512)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_where_direct_io_wants_them_even_after_growing() {
        let mut buffer = Aligned::new(512);
        for length in [512, 4096, 3, 100_000] {
            let bytes = buffer.get(length);
            assert_eq!(bytes.len(), length);
            assert_eq!(bytes.as_ptr().addr() % ALIGN, 0);
        }
    }

    #[test]
    fn a_misaligned_buffer_is_refused_before_the_kernel_sees_it() {
        let mut buffer = Aligned::new(4096);
        let bytes = buffer.get(1024);
        assert!(check_address(bytes, 512).is_ok());
        assert!(check_address(&bytes[1..], 512).unwrap_err().to_string().contains("multiples of 512"));
    }

    #[test]
    fn what_does_not_fit_the_sectors_is_refused_before_the_kernel_sees_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut disk = Disk::open(file.path(), Access::Write, Some(AcceptStaleReads)).unwrap();
        disk.extend(4096).unwrap();
        assert!(disk.read(512, 512).is_ok() && disk.write(512, &[1; 512]).is_ok());
        for refused in [
            disk.read(100, 512).map(|_| ()),
            disk.read(512, 100).map(|_| ()),
            disk.write(100, &[1; 512]),
            disk.write(512, &[1; 100]),
        ] {
            assert!(refused.unwrap_err().to_string().contains("no multiple of 512"));
        }
    }
}
