//! The names of the simulated disk: directories whose entries are durable only after a sync of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use fastrand::Rng;

use super::Survival;
use super::image::Image;
use crate::disk::parent;

/// The number of a file or directory, never used again.
pub(super) type Id = u64;

const ROOT: Id = 0;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    File(Id),
    Directory(Id),
}

/// A change of a directory that no sync has covered yet.
enum Change {
    Add(String, Target),
    Remove(String),
    /// Within one directory a rename is one change: a crash shows the old name or the new one.
    Move(String, String, Target),
}

impl Change {
    fn target(&self) -> Option<&Target> {
        match self {
            Self::Add(_, target) | Self::Move(_, _, target) => Some(target),
            Self::Remove(_) => None,
        }
    }
}

/// Where a file or directory is found, by the latest name it was given.
#[derive(Clone, Default)]
struct Place {
    directory: Id,
    name: String,
}

#[derive(Default)]
struct Directory {
    place: Place,
    live: BTreeMap<String, Target>,
    durable: BTreeMap<String, Target>,
    unsynced: Vec<Change>,
}

/// A file: its contents, and who uses it.
#[derive(Default)]
pub(super) struct FileNode {
    place: Place,
    pub(super) image: Image,
    /// Handles that are open.
    pub(super) opens: usize,
    links: usize,
}

/// All directories and files.
pub(super) struct Tree {
    directories: BTreeMap<Id, Directory>,
    files: BTreeMap<Id, FileNode>,
    next_id: Id,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            directories: BTreeMap::from([(ROOT, Directory::default())]),
            files: BTreeMap::new(),
            next_id: ROOT + 1,
        }
    }

    pub(super) fn file(&mut self, id: Id) -> &mut FileNode {
        self.files.get_mut(&id).expect("a file that is open is kept")
    }

    /// Returns the bytes of all files that have a name or are open.
    pub(super) fn used_bytes(&self) -> u64 {
        let used = self.files.values().filter(|file| file.links > 0 || file.opens > 0);
        used.map(|file| file.image.len() as u64).sum()
    }

    pub(super) fn find_file(&self, path: &str) -> io::Result<Id> {
        match self.find(path)? {
            Target::File(id) => Ok(id),
            Target::Directory(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.find(path).is_ok()
    }

    /// Returns the path of a file by its latest name.
    pub(super) fn path_of(&self, id: Id) -> String {
        let Some(file) = self.files.get(&id) else { return String::new() };
        let mut path = file.place.name.clone();
        let mut directory = file.place.directory;
        while directory != ROOT {
            let Some(above) = self.directories.get(&directory) else { break };
            path = format!("{}/{path}", above.place.name);
            directory = above.place.directory;
        }
        path
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<Id> {
        let (directory, name) = self.vacant(path)?;
        let id = self.take_id();
        self.files.insert(id, FileNode { links: 1, ..FileNode::default() });
        self.add(directory, name, Target::File(id));
        Ok(id)
    }

    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        if let Ok(Target::Directory(_)) = self.find(path) {
            return Ok(());
        }
        let (directory, name) = self.vacant(path)?;
        let id = self.take_id();
        self.directories.insert(id, Directory::default());
        self.add(directory, name, Target::Directory(id));
        Ok(())
    }

    pub(super) fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        let id = self.find_file(from)?;
        let (directory, name) = self.vacant(to)?;
        self.add(directory, name, Target::File(id));
        self.file(id).links += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        let id = self.find_file(path)?;
        let (directory, name) = self.split(path)?;
        self.directory(directory).drop_name(name);
        self.file(id).links -= 1;
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        let Target::Directory(id) = self.find(path)? else { return Err(ErrorKind::NotADirectory.into()) };
        if !self.directory(id).live.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (directory, name) = self.split(path)?;
        self.directory(directory).drop_name(name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let target = self.find(from)?;
        let (old_directory, old_name) = self.split(from)?;
        let (directory, name) = self.split(to)?;
        match self.find(to) {
            Ok(replaced) if replaced == target => return Ok(()),
            Ok(Target::File(replaced)) => self.file(replaced).links -= 1,
            Ok(Target::Directory(_)) => return Err(ErrorKind::IsADirectory.into()),
            Err(_) => {}
        }
        self.directory(old_directory).live.remove(&old_name);
        self.directory(directory).live.insert(name.clone(), target);
        if old_directory == directory {
            self.directory(directory).unsynced.push(Change::Move(old_name, name.clone(), target));
        } else {
            self.directory(old_directory).unsynced.push(Change::Remove(old_name));
            self.directory(directory).unsynced.push(Change::Add(name.clone(), target));
        }
        self.place(target, Place { directory, name });
        Ok(())
    }

    pub(super) fn list(&mut self, path: &str) -> io::Result<Vec<String>> {
        let id = self.find_directory(path)?;
        Ok(self.directory(id).live.keys().cloned().collect())
    }

    pub(super) fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        let id = self.find_directory(path)?;
        let directory = self.directory(id);
        for change in std::mem::take(&mut directory.unsynced) {
            change.apply(&mut directory.durable);
        }
        self.sweep();
        Ok(())
    }

    /// Whether the entry of `path`, those of the directories above it and, if it is a file, its contents are durable.
    pub(super) fn is_durable(&self, path: &str) -> bool {
        let mut at = Target::Directory(ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Target::Directory(id) = at else { return false };
            let directory = &self.directories[&id];
            match (directory.live.get(name), directory.durable.get(name)) {
                (Some(live), Some(durable)) if live == durable => at = *live,
                _ => return false,
            }
        }
        match at {
            Target::File(id) => self.files[&id].image.is_durable(),
            Target::Directory(_) => true,
        }
    }

    /// Loses what was not synced: entries of directories, and contents of files.
    pub(super) fn crash(&mut self, survival: Survival, page_bytes: usize, rng: &mut Rng) {
        for directory in self.directories.values_mut() {
            directory.crash(survival, rng);
        }
        for file in self.files.values_mut() {
            file.image.crash(survival, page_bytes, rng);
            file.opens = 0;
            file.links = 0;
        }
        let mut reached = vec![ROOT];
        while let Some(id) = reached.pop() {
            let entries: Vec<_> = self.directories[&id].live.clone().into_iter().collect();
            for (name, target) in entries {
                self.place(target, Place { directory: id, name });
                match target {
                    Target::File(file) => self.file(file).links += 1,
                    Target::Directory(directory) => reached.push(directory),
                }
            }
        }
        self.sweep();
    }

    /// Forgets what no name reaches, living, durable, or in between, where a crash may go back to, and nobody has open.
    fn sweep(&mut self) {
        let mut used = BTreeSet::new();
        let mut reached = vec![ROOT];
        while let Some(id) = reached.pop() {
            used.insert(Target::Directory(id));
            let directory = &self.directories[&id];
            let unsynced = directory.unsynced.iter().filter_map(Change::target);
            for target in directory.live.values().chain(directory.durable.values()).chain(unsynced) {
                match *target {
                    Target::File(_) => {
                        used.insert(*target);
                    }
                    Target::Directory(below) => reached.push(below),
                }
            }
        }
        self.files.retain(|id, file| file.opens > 0 || used.contains(&Target::File(*id)));
        self.directories.retain(|id, _| used.contains(&Target::Directory(*id)));
    }

    fn take_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id - 1
    }

    fn directory(&mut self, id: Id) -> &mut Directory {
        self.directories.get_mut(&id).expect("a directory that was found is kept")
    }

    fn place(&mut self, target: Target, place: Place) {
        match target {
            Target::File(id) => self.file(id).place = place,
            Target::Directory(id) => self.directory(id).place = place,
        }
    }

    fn add(&mut self, directory: Id, name: String, target: Target) {
        let within = self.directory(directory);
        within.live.insert(name.clone(), target);
        within.unsynced.push(Change::Add(name.clone(), target));
        self.place(target, Place { directory, name });
    }

    fn find(&self, path: &str) -> io::Result<Target> {
        let mut at = Target::Directory(ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Target::Directory(id) = at else { return Err(ErrorKind::NotADirectory.into()) };
            at = *self.directories[&id].live.get(name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn find_directory(&self, path: &str) -> io::Result<Id> {
        match self.find(path)? {
            Target::Directory(id) => Ok(id),
            Target::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// Returns the directory that holds `path`, and the last name of it.
    fn split(&self, path: &str) -> io::Result<(Id, String)> {
        let directory = self.find_directory(parent(path))?;
        let name = path.rsplit('/').next().filter(|name| !name.is_empty());
        Ok((directory, name.ok_or(ErrorKind::InvalidInput)?.to_owned()))
    }

    fn vacant(&self, path: &str) -> io::Result<(Id, String)> {
        if self.exists(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.split(path)
    }
}

impl Directory {
    fn drop_name(&mut self, name: String) {
        self.live.remove(&name);
        self.unsynced.push(Change::Remove(name));
    }

    fn crash(&mut self, survival: Survival, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        // Some file systems keep the order of such changes and some do not.
        let in_order = rng.bool();
        let first = survival.choose(changes.len(), rng);
        for (number, change) in changes.iter().enumerate() {
            let kept = if in_order { number < first } else { survival.choose(1, rng) == 1 };
            if kept {
                change.apply(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
    }
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<String, Target>) {
        match self {
            Self::Add(name, target) => {
                entries.insert(name.clone(), *target);
            }
            Self::Remove(name) => {
                entries.remove(name);
            }
            Self::Move(from, to, target) => {
                if entries.get(from) == Some(target) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), *target);
            }
        }
    }
}
