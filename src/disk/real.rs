//! The file system of the machine.
//!
//! write, fdatasync and rename go through `std`, which calls the C library, so that a preloaded library which makes them
//! fail is seen; only what `std` does not offer goes through `rustix`. On macOS `std` syncs with `F_FULLFSYNC`.

use std::any::Any;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, SyncError};

/// A directory of the machine's file system.
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// Uses the directory `root`, which is made, with the directories above it, if it is missing.
    pub fn new(root: PathBuf) -> io::Result<Self> {
        make_directories(&root)?;
        Ok(Self { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        debug_assert!(!path.starts_with('/'), "paths are relative to the data directory");
        self.root.join(path)
    }
}

/// Makes the directory `path` and those above it that are missing, each with a durable entry.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_directories(above)?;
    fs::create_dir(path)?;
    sync_directory(above)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Disk for RealDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.at(path))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(self.at(path))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.at(path)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.at(path).is_dir() => Ok(()),
            result => result,
        }
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.at(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> Result<(), SyncError> {
        Ok(sync_directory(&self.at(dir))?)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.at(path).try_exists()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.root)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};

        let mut filled = 0;
        while filled < buffer.len() {
            let mut part = [io::IoSliceMut::new(&mut buffer[filled..])];
            match preadv2(&self.file, &mut part, offset + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                // AGAIN: not in the page cache. The others: this kernel or file system does not know the flag.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    #[cfg(not(target_os = "linux"))]
    fn try_read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> Result<(), SyncError> {
        Ok(self.file.sync_data()?)
    }

    fn refresh(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("a/b")).unwrap();
        (dir, disk)
    }

    #[test]
    fn files_are_written_read_and_listed_in_order() {
        let (_dir, disk) = disk();
        disk.create_dir("sub").unwrap();
        disk.create_dir("sub").unwrap();
        let file = disk.create("sub/two").unwrap();
        file.write_at(b"hello", 3).unwrap();
        file.sync().unwrap();
        disk.create("sub/one").unwrap();
        disk.sync_dir("sub").unwrap();
        assert_eq!(disk.list("sub").unwrap(), ["one", "two"]);
        assert_eq!(disk.list("").unwrap(), ["sub"]);
        assert_eq!(disk.create("sub/one").err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.open("sub/none").err().unwrap().kind(), ErrorKind::NotFound);

        let mut bytes = [1; 8];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"\0\0\0hello");
        assert_eq!(file.read_at(&mut bytes, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.set_len(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);

        disk.link("sub/two", "three").unwrap();
        assert_eq!(disk.link("sub/two", "three").unwrap_err().kind(), ErrorKind::AlreadyExists);
        disk.rename("sub/two", "sub/one").unwrap();
        disk.remove("three").unwrap();
        assert!(!disk.exists("three").unwrap());
        assert_eq!(disk.open("sub/one").unwrap().len().unwrap(), 4);
        disk.remove("sub/one").unwrap();
        disk.remove_dir("sub").unwrap();
        assert!(disk.free_bytes().unwrap() > 0);
    }

    #[test]
    fn what_was_just_written_is_read_without_waiting_or_refused_without_error() {
        let (_dir, disk) = disk();
        let file = disk.create("file").unwrap();
        file.write_at(&[7; 9000], 0).unwrap();
        let mut bytes = vec![0; 9000];
        if file.try_read_at(&mut bytes, 0).unwrap() {
            assert_eq!(bytes, vec![7; 9000]);
        }
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let (_dir, disk) = disk();
        let held = disk.lock("LOCK").unwrap();
        assert_eq!(disk.lock("LOCK").err().unwrap().kind(), ErrorKind::WouldBlock);
        drop(held);
        disk.lock("LOCK").unwrap();
    }
}
