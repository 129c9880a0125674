//! A disk that reads another one and changes nothing of it: what is written stays in memory and is forgotten.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, File, SyncError, parent};

/// What is on another disk, and changes that only this one has. So a node can be started to see whether it starts, and
/// leaves no trace.
///
/// A file is read into memory when it is first written to. Directories keep their names.
pub struct CopyDisk {
    under: Arc<dyn Disk>,
    /// What is another thing here than on the disk below, or has been opened; `None` was removed.
    names: Mutex<BTreeMap<String, Option<Node>>>,
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Arc<CopyFile>),
}

impl CopyDisk {
    /// A copy of `under` as it is. Nobody else may write to that meanwhile.
    pub fn new(under: Arc<dyn Disk>) -> Self {
        Self { under, names: Mutex::default() }
    }

    fn lock_names(&self) -> MutexGuard<'_, BTreeMap<String, Option<Node>>> {
        self.names.lock().expect("no operation on the copy panics")
    }

    fn set(&self, path: &str, node: Option<Node>) {
        self.lock_names().insert(path.to_owned(), node);
    }

    /// The file `path`, of which there is one copy, however often it is opened.
    fn find(&self, path: &str) -> io::Result<Arc<CopyFile>> {
        let mut names = self.lock_names();
        match names.get(path) {
            Some(Some(Node::File(file))) => Ok(Arc::clone(file)),
            Some(Some(Node::Dir)) => Err(ErrorKind::IsADirectory.into()),
            Some(None) => Err(ErrorKind::NotFound.into()),
            None => {
                let file = Arc::new(CopyFile(Mutex::new(Contents::Under(self.under.open(path)?))));
                names.insert(path.to_owned(), Some(Node::File(Arc::clone(&file))));
                Ok(file)
            }
        }
    }
}

impl Disk for CopyDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        if self.exists(path)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(CopyFile(Mutex::new(Contents::Own(Vec::new()))));
        self.set(path, Some(Node::File(Arc::clone(&file))));
        Ok(file)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.find(path)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        self.set(from, None);
        self.set(to, Some(Node::File(file)));
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        if self.exists(to)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = self.find(from)?;
        self.set(to, Some(Node::File(file)));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.find(path)?;
        self.set(path, None);
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        if !self.exists(path)? {
            self.set(path, Some(Node::Dir));
        }
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.set(path, None);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.lock_names();
        let below = match names.get(dir) {
            Some(Some(Node::Dir)) if !self.under.exists(dir)? => Vec::new(),
            Some(None) => return Err(ErrorKind::NotFound.into()),
            Some(Some(Node::File(_))) => return Err(ErrorKind::NotADirectory.into()),
            Some(Some(Node::Dir)) | None => self.under.list(dir)?,
        };
        let mut listed: BTreeSet<String> = below.into_iter().collect();
        for (path, node) in names.iter().filter(|(path, _)| parent(path) == dir && !path.is_empty()) {
            let name = path.rsplit('/').next().expect("a path has a last part");
            match node {
                Some(_) => drop(listed.insert(name.to_owned())),
                None => drop(listed.remove(name)),
            }
        }
        Ok(listed.into_iter().collect())
    }

    fn sync_dir(&self, _: &str) -> Result<(), SyncError> {
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        match self.lock_names().get(path) {
            Some(node) => Ok(node.is_some()),
            None => self.under.exists(path),
        }
    }

    /// None: what is written takes memory, so whoever can do without writing does.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    /// Takes the lock on the disk below, if it has a file for it; to make one would be a change.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        if self.under.exists(path)? { self.under.lock(path) } else { Ok(Box::new(())) }
    }
}

struct CopyFile(Mutex<Contents>);

enum Contents {
    /// Nothing was written to it.
    Under(Arc<dyn File>),
    Own(Vec<u8>),
}

impl CopyFile {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().expect("no operation on the copy panics")
    }

    /// Changes the bytes of the copy.
    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut contents = self.lock();
        if let Contents::Under(file) = &*contents {
            let mut bytes = vec![0; to_usize(file.len()?)];
            file.read_at(&mut bytes, 0)?;
            *contents = Contents::Own(bytes);
        }
        let Contents::Own(bytes) = &mut *contents else { unreachable!("it was copied above") };
        change(bytes);
        Ok(())
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("what is written fits in memory")
}

impl File for CopyFile {
    fn len(&self) -> io::Result<u64> {
        match &*self.lock() {
            Contents::Under(file) => file.len(),
            Contents::Own(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &*self.lock() {
            Contents::Under(file) => file.read_at(buffer, offset),
            Contents::Own(bytes) => {
                let from = bytes.get(to_usize(offset)..).unwrap_or_default();
                let read = from.get(..buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(read);
                Ok(())
            }
        }
    }

    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        if let Contents::Under(file) = &*self.lock() {
            return file.try_read_at(buffer, offset);
        }
        self.read_at(buffer, offset).map(|()| true)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = to_usize(offset);
        self.change(|own| {
            own.resize(own.len().max(start + bytes.len()), 0);
            own[start..start + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|own| own.resize(to_usize(len), 0))
    }

    fn sync(&self) -> Result<(), SyncError> {
        Ok(())
    }

    fn refresh(&self) -> io::Result<()> {
        match &*self.lock() {
            Contents::Under(file) => file.refresh(),
            Contents::Own(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn what_is_done_to_a_copy_is_seen_there_and_nowhere_else() {
        let disk = SimDisk::new(1);
        disk.create_dir("d").unwrap();
        disk.create("d/old").unwrap().write_at(b"hello", 0).unwrap();
        disk.create("d/gone").unwrap();
        let changes = disk.changes();

        let copy = CopyDisk::new(Arc::new(disk.clone()));
        assert_eq!(copy.list("").unwrap(), ["d"]);
        assert_eq!(copy.create("d/old").err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(copy.open("d/none").err().unwrap().kind(), ErrorKind::NotFound);
        let (file, again) = (copy.open("d/old").unwrap(), copy.open("d/old").unwrap());
        file.write_at(b"LO!", 3).unwrap();
        let mut bytes = [0; 6];
        again.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"helLO!");
        assert!(again.try_read_at(&mut bytes, 0).unwrap());
        assert_eq!(again.read_at(&mut bytes, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        again.set_len(2).unwrap();
        assert_eq!(file.len().unwrap(), 2);

        copy.remove("d/gone").unwrap();
        assert!(!copy.exists("d/gone").unwrap());
        copy.rename("d/old", "d/new").unwrap();
        copy.link("d/new", "d/too").unwrap();
        assert_eq!(copy.list("d").unwrap(), ["new", "too"]);
        assert_eq!(copy.remove_dir("d").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        copy.create_dir("e").unwrap();
        assert!(copy.list("e").unwrap().is_empty());
        copy.create("e/file").unwrap().sync().unwrap();
        copy.sync_dir("e").unwrap();
        assert_eq!(copy.list("").unwrap(), ["d", "e"]);
        copy.remove("e/file").unwrap();
        copy.remove_dir("e").unwrap();
        assert_eq!(copy.list("e").unwrap_err().kind(), ErrorKind::NotFound);
        drop(copy.lock("LOCK").unwrap());

        assert_eq!(disk.changes(), changes, "nothing was changed on the disk below");
        assert_eq!(disk.list("d").unwrap(), ["gone", "old"]);
        assert_eq!(disk.contents("d/old").unwrap(), b"hello");
    }

    #[test]
    fn a_copy_is_locked_with_its_disk() {
        let disk = SimDisk::new(1);
        disk.create("LOCK").unwrap();
        let copy = CopyDisk::new(Arc::new(disk.clone()));
        let held = copy.lock("LOCK").unwrap();
        assert_eq!(disk.lock("LOCK").err().unwrap().kind(), ErrorKind::WouldBlock);
        drop(held);
        disk.lock("LOCK").unwrap();
    }
}
