//! A whole file system in memory: what everybody sees now, and what of it is on the disk.
//!
//! Names are durable by themselves: a file's bytes may be synced while its name is not, and the other way round. What is
//! modelled: an entry that was made, renamed or removed is durable once its folder is synced; before that, a cut keeps the
//! first so many of a folder's changes, because journals keep order. A move to another folder is durable at once, and so
//! are modes, owners and times: nothing of hookbell's hangs on them.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use fuser::{Errno, FileType};

use super::{
    chance::Chance,
    content::{Content, Held},
};

/// The number of the topmost folder, as the kernel wants it.
pub(super) const ROOT: u64 = 1;

#[derive(Debug)]
pub(super) enum Kind {
    File(Held),
    Folder(Folder),
    Link(PathBuf),
    /// A socket or a pipe, of which the kernel needs the name alone.
    Special(FileType),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) links: u32,
    pub(super) opens: u64,
    pub(super) modified: SystemTime,
    /// The last name it was given.
    pub(super) name: OsString,
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    now: BTreeMap<OsString, u64>,
    kept: BTreeMap<OsString, u64>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Make(OsString, u64),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<OsString, u64>) {
        match self {
            Change::Make(name, node) => _ = entries.insert(name.clone(), *node),
            Change::Remove(name) => _ = entries.remove(name),
            Change::Rename(from, to) => {
                if let Some(node) = entries.remove(from) {
                    entries.insert(to.clone(), node);
                }
            }
        }
    }
}

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// Pages that had been written and not synced. Some of them may have survived.
    pub pages: u64,
    /// Names that had been made, changed or removed in a folder that was not synced since. The same holds.
    pub names: u64,
}

#[derive(Debug)]
pub(super) struct Image {
    nodes: HashMap<u64, Node>,
    next: u64,
}

impl Image {
    /// Everything below `folder`.
    pub(super) fn load(folder: &Path) -> io::Result<Image> {
        let mut image = Image { nodes: HashMap::new(), next: ROOT };
        image.load_folder(folder, OsStr::new(""), &mut HashMap::new())?;
        Ok(image)
    }

    fn load_folder(&mut self, path: &Path, name: &OsStr, known: &mut HashMap<u64, u64>) -> io::Result<u64> {
        let number = self.add(Kind::Folder(Folder::default()), &fs::metadata(path)?, name);
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let metadata = fs::symlink_metadata(&path)?;
            let node = if metadata.is_dir() {
                self.load_folder(&path, &name, known)?
            } else if let Some(node) = known.get(&metadata.ino()) {
                *node
            } else if metadata.is_symlink() {
                self.add(Kind::Link(fs::read_link(&path)?), &metadata, &name)
            } else if metadata.is_file() {
                let node = self.add(Kind::File(Held::found(&fs::read(&path)?)), &metadata, &name);
                known.insert(metadata.ino(), node);
                node
            } else {
                // A socket of a process that is gone is of no use to anybody.
                continue;
            };
            if let Some(node) = self.nodes.get_mut(&node)
                && !metadata.is_dir()
            {
                node.links += 1;
            }
            entries.insert(name, node);
        }
        *self.folder_mut(number).map_err(of_errno)? =
            Folder { now: entries.clone(), kept: entries, changes: Vec::new() };
        Ok(number)
    }

    fn add(&mut self, kind: Kind, metadata: &fs::Metadata, name: &OsStr) -> u64 {
        self.insert(Node {
            links: if matches!(kind, Kind::Folder(_)) { 2 } else { 0 },
            kind,
            mode: metadata.permissions().mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            opens: 0,
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            name: name.to_owned(),
        })
    }

    fn insert(&mut self, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        number
    }

    /// Writes it to `folder` in place of what is there: everything, or what survives a cut.
    pub(super) fn store(&self, folder: &Path, mut cut: Option<Chance>) -> io::Result<Lost> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        let mut lost = Lost::default();
        self.store_folder(ROOT, folder, &mut cut, &mut HashMap::new(), &mut lost)?;
        Ok(lost)
    }

    fn store_folder(
        &self,
        number: u64,
        path: &Path,
        cut: &mut Option<Chance>,
        stored: &mut HashMap<u64, PathBuf>,
        lost: &mut Lost,
    ) -> io::Result<()> {
        let Kind::Folder(folder) = &self.node(number).map_err(of_errno)?.kind else { return Ok(()) };
        let entries = match cut {
            None => folder.now.clone(),
            Some(chance) => {
                let mut entries = folder.kept.clone();
                lost.names += folder.changes.len() as u64;
                for change in &folder.changes[..chance.steps(folder.changes.len())] {
                    change.apply(&mut entries);
                }
                entries
            }
        };
        for (name, number) in entries {
            let path = path.join(name);
            let node = self.node(number).map_err(of_errno)?;
            if let Some(other) = stored.get(&number) {
                fs::hard_link(other, &path)?;
                continue;
            }
            match &node.kind {
                Kind::File(held) => {
                    let content = match cut {
                        None => held.now.clone(),
                        Some(chance) => {
                            lost.pages += held.pages_unsynced();
                            held.after_cut(chance)
                        }
                    };
                    fs::write(&path, content.bytes())?;
                    stored.insert(number, path.clone());
                }
                Kind::Folder(_) => {
                    fs::create_dir(&path)?;
                    self.store_folder(number, &path, cut, stored, lost)?;
                }
                Kind::Link(target) => {
                    std::os::unix::fs::symlink(target, &path)?;
                    continue;
                }
                Kind::Special(_) => continue,
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(node.mode))?;
            std::os::unix::fs::lchown(&path, Some(node.owner.0), Some(node.owner.1))?;
        }
        Ok(())
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ESTALE)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ESTALE)
    }

    fn folder(&self, number: u64) -> Result<&Folder, Errno> {
        match &self.node(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn folder_mut(&mut self, number: u64) -> Result<&mut Folder, Errno> {
        match &mut self.node_mut(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn held(&self, number: u64) -> Result<&Held, Errno> {
        match &self.node(number)?.kind {
            Kind::File(held) => Ok(held),
            Kind::Folder(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn held_mut(&mut self, number: u64) -> Result<&mut Held, Errno> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(held) => Ok(held),
            Kind::Folder(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn find(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(parent)?.now.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The names in a folder, with the kind of each.
    pub(super) fn list(&self, number: u64) -> Result<Vec<(u64, FileType, OsString)>, Errno> {
        let mut list =
            vec![(number, FileType::Directory, OsString::from(".")), (ROOT, FileType::Directory, OsString::from(".."))];
        for (name, number) in &self.folder(number)?.now {
            list.push((*number, self.node(*number)?.file_type(), name.clone()));
        }
        Ok(list)
    }

    pub(super) fn make(
        &mut self,
        parent: u64,
        name: &OsStr,
        kind: Kind,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<u64, Errno> {
        if self.folder(parent)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.insert(Node {
            links: if matches!(kind, Kind::Folder(_)) { 2 } else { 1 },
            kind,
            mode,
            owner,
            opens: 0,
            modified: SystemTime::now(),
            name: name.to_owned(),
        });
        self.change(parent, Change::Make(name.to_owned(), number))?;
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if self.folder(parent)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.node_mut(number)?.links += 1;
        self.change(parent, Change::Make(name.to_owned(), number))
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, folder: bool) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        match (&self.node(number)?.kind, folder) {
            (Kind::Folder(folder), true) if !folder.now.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Folder(_), false) => return Err(Errno::EISDIR),
            (Kind::Folder(_), true) | (_, false) => {}
            (_, true) => return Err(Errno::ENOTDIR),
        }
        let node = self.node_mut(number)?;
        node.links = node.links.saturating_sub(1);
        self.change(parent, Change::Remove(name.to_owned()))
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Result<(), Errno> {
        let number = self.find(from.0, from.1)?;
        if let Ok(other) = self.find(to.0, to.1) {
            if other == number {
                return Ok(());
            }
            if !replace {
                return Err(Errno::EEXIST);
            }
            match (&self.node(number)?.kind, &self.node(other)?.kind) {
                (Kind::Folder(_), Kind::Folder(folder)) if folder.now.is_empty() => {}
                (Kind::Folder(_), Kind::Folder(_)) => return Err(Errno::ENOTEMPTY),
                (Kind::Folder(_), _) => return Err(Errno::ENOTDIR),
                (_, Kind::Folder(_)) => return Err(Errno::EISDIR),
                _ => {}
            }
            let node = self.node_mut(other)?;
            node.links = node.links.saturating_sub(1);
        }
        to.1.clone_into(&mut self.node_mut(number)?.name);
        if from.0 == to.0 {
            return self.change(from.0, Change::Rename(from.1.to_owned(), to.1.to_owned()));
        }
        self.change(to.0, Change::Make(to.1.to_owned(), number))?;
        self.change(from.0, Change::Remove(from.1.to_owned()))?;
        self.sync_folder(to.0)?;
        self.sync_folder(from.0)
    }

    fn change(&mut self, parent: u64, change: Change) -> Result<(), Errno> {
        let node = self.node_mut(parent)?;
        node.modified = SystemTime::now();
        let Kind::Folder(folder) = &mut node.kind else { return Err(Errno::ENOTDIR) };
        change.apply(&mut folder.now);
        folder.changes.push(change);
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&mut self, number: u64) -> Result<(), Errno> {
        let folder = self.folder_mut(number)?;
        folder.changes.clear();
        folder.kept.clone_from(&folder.now);
        Ok(())
    }

    /// How many pages all files take that anybody can still reach.
    pub(super) fn pages_taken(&self) -> u64 {
        let reachable = self.nodes.values().filter(|node| node.links > 0 || node.opens > 0);
        reachable
            .map(|node| match &node.kind {
                Kind::File(held) => held.now.pages_taken(),
                _ => 0,
            })
            .sum()
    }

    /// The files whose names end like this.
    pub(super) fn named(&self, end: &str) -> Vec<u64> {
        let files = self.nodes.iter().filter(|(_, node)| node.is_named(end) && matches!(node.kind, Kind::File(_)));
        files.map(|(number, _)| *number).collect()
    }

    /// Drops the bytes of a file that nobody can reach any more, before or after a cut.
    pub(super) fn release(&mut self, number: u64) -> Result<(), Errno> {
        let node = self.node_mut(number)?;
        node.opens = node.opens.saturating_sub(1);
        if node.links > 0 || node.opens > 0 {
            return Ok(());
        }
        let mentioned = self.nodes.values().any(|node| match &node.kind {
            Kind::Folder(folder) => {
                folder.kept.values().any(|kept| *kept == number)
                    || folder.changes.iter().any(|change| matches!(change, Change::Make(_, made) if *made == number))
            }
            _ => false,
        });
        if !mentioned && let Ok(held) = self.held_mut(number) {
            held.now = Content::default();
            held.kept = Content::default();
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn file_type(&self) -> FileType {
        match &self.kind {
            Kind::File(_) => FileType::RegularFile,
            Kind::Folder(_) => FileType::Directory,
            Kind::Link(_) => FileType::Symlink,
            Kind::Special(kind) => *kind,
        }
    }

    pub(super) fn is_named(&self, end: &str) -> bool {
        self.name.as_encoded_bytes().ends_with(end.as_bytes())
    }
}

fn of_errno(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.code())
}
