//! The kernel's questions, answered from the image unless a fault says otherwise.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    Failed, Fault, Faults, Says, Seen, Shared,
    content::{Held, PAGE_BYTES},
    image::{Image, Kind, ROOT},
};

/// Everything changes through the kernel, so that it may believe what it knows; but a fault should be seen at once.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// What it says to have when nothing limits it: 64 GiB.
const PAGES_AT_ALL: u64 = 1 << 24;

/// Names that fit.
const NAME_BYTES_MAX: usize = 255;

#[derive(Debug)]
pub(super) struct State {
    pub(super) image: Image,
    pub(super) faults: Faults,
    /// The power is off.
    pub(super) dead: bool,
    pub(super) seen: Seen,
    listings: HashMap<u64, Vec<(u64, FileType, OsString)>>,
    next_listing: u64,
}

impl State {
    pub(super) fn new(image: Image) -> State {
        State {
            image,
            faults: Faults::default(),
            dead: false,
            seen: Seen::default(),
            listings: HashMap::new(),
            next_listing: 1,
        }
    }

    fn alive(&self) -> Result<(), Errno> {
        if self.dead { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Whether anything may be changed.
    fn writable(&mut self) -> Result<(), Errno> {
        self.alive()?;
        if self.faults.read_only {
            self.seen.failed += 1;
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Whether so many pages more fit.
    fn fits(&mut self, pages: u64) -> Result<(), Errno> {
        if let Some((pages_max, _)) = self.faults.room
            && pages > 0
            && self.image.pages_taken() + pages > pages_max
        {
            self.seen.failed += 1;
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// Whether this very operation is one of those that fail.
    fn fault(&mut self, number: u64, which: fn(&mut Faults) -> &mut Option<Fault>) -> Result<(), Errno> {
        let node = self.image.node(number)?;
        let Some(fault) = which(&mut self.faults) else { return Ok(()) };
        if !node.is_named(&fault.end) {
            return Ok(());
        }
        fault.seen += 1;
        if fault.seen.is_multiple_of(fault.every) {
            self.seen.failed += 1;
            return Err(fault.errno);
        }
        Ok(())
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.image.node(number)?;
        let (size, pages) = match &node.kind {
            Kind::File(held) => (held.now.length_bytes(), held.now.pages_taken()),
            Kind::Link(target) => (target.as_os_str().len() as u64, 0),
            Kind::Folder(_) | Kind::Special(_) => (0, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: pages * (PAGE_BYTES as u64 / 512),
            atime: node.modified,
            mtime: node.modified,
            ctime: node.modified,
            crtime: node.modified,
            kind: node.file_type(),
            perm: u16::try_from(node.mode & 0o7777).unwrap_or(0),
            nlink: node.links,
            uid: node.owner.0,
            gid: node.owner.1,
            rdev: 0,
            blksize: PAGE_BYTES as u32,
            flags: 0,
        })
    }

    fn find(&self, parent: u64, name: &OsStr) -> Result<FileAttr, Errno> {
        self.alive()?;
        self.attributes(self.image.find(parent, name)?)
    }

    fn make(&mut self, request: &Request, parent: u64, name: &OsStr, kind: Kind, mode: u32) -> Result<FileAttr, Errno> {
        self.writable()?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.fits(1)?;
        let number = self.image.make(parent, name, kind, mode & 0o7777, (request.uid(), request.gid()))?;
        self.attributes(number)
    }

    fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.writable()?;
        self.fault(number, |faults| &mut faults.writes)?;
        let wanted = self.image.held(number)?.now.pages_wanted(offset, data.len());
        self.fits(wanted)?;
        let node = self.image.node_mut(number)?;
        node.modified = SystemTime::now();
        self.image.held_mut(number)?.write(offset, data);
        self.seen.writes += 1;
        Ok(())
    }

    fn read(&mut self, number: u64, offset: u64, bytes: usize) -> Result<Vec<u8>, Errno> {
        self.alive()?;
        self.fault(number, |faults| &mut faults.reads)?;
        Ok(self.image.held(number)?.now.read(offset, bytes))
    }

    fn resize(&mut self, number: u64, length_bytes: u64) -> Result<(), Errno> {
        self.writable()?;
        self.fault(number, |faults| &mut faults.writes)?;
        self.image.node_mut(number)?.modified = SystemTime::now();
        self.image.held_mut(number)?.set_length(length_bytes);
        Ok(())
    }

    fn sync(&mut self, number: u64) -> Result<(), Errno> {
        self.alive()?;
        if let Err(errno) = self.fault(number, |faults| &mut faults.syncs) {
            if self.faults.failed == Failed::IsForgotten
                && let Ok(held) = self.image.held_mut(number)
            {
                held.forget_to_write();
            }
            return Err(errno);
        }
        self.seen.syncs += 1;
        if self.faults.lies {
            return Ok(());
        }
        match self.image.node(number)?.kind {
            Kind::Folder(_) => self.image.sync_folder(number),
            _ => self.image.held_mut(number).map(|held| _ = held.sync()),
        }
    }

    fn open(&mut self, number: u64, flags: OpenFlags) -> Result<(), Errno> {
        if flags.acc_mode() == OpenAccMode::O_RDONLY {
            self.alive()?;
        } else {
            self.writable()?;
        }
        self.image.node_mut(number)?.opens += 1;
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Passage(pub(super) Arc<Shared>);

impl Passage {
    fn sync(&self, number: INodeNo, reply: ReplyEmpty) {
        self.0.wait_for_sync();
        let answer = self.0.state().sync(number.0);
        answer_empty(answer, reply);
    }
}

fn answer_empty(answer: Result<(), Errno>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn answer_entry(answer: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match answer {
        Ok(attributes) => reply.entry(&BELIEVED_FOR, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn answer_attributes(answer: Result<FileAttr, Errno>, reply: ReplyAttr) {
    match answer {
        Ok(attributes) => reply.attr(&BELIEVED_FOR, &attributes),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Passage {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer_entry(self.0.state().find(parent.0, name), reply);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let state = self.0.state();
        answer_attributes(state.alive().and_then(|()| state.attributes(number.0)), reply);
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        owner: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed_mac: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.0.state();
        let set = |state: &mut State| {
            state.writable()?;
            if let Some(size) = size {
                state.resize(number.0, size)?;
            }
            let node = state.image.node_mut(number.0)?;
            node.mode = mode.map_or(node.mode, |mode| mode & 0o7777);
            node.owner = (owner.unwrap_or(node.owner.0), group.unwrap_or(node.owner.1));
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => node.modified = time,
                Some(TimeOrNow::Now) => node.modified = SystemTime::now(),
                None => {}
            }
            state.attributes(number.0)
        };
        answer_attributes(set(&mut state), reply);
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.0.state().image.node(number.0).map(|node| &node.kind) {
            Ok(Kind::Link(target)) => reply.data(target.as_os_str().as_encoded_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        const FORMAT: u32 = 0o17_0000;
        let kind = match mode & FORMAT {
            0 | 0o10_0000 => Kind::File(Held::default()),
            0o14_0000 => Kind::Special(FileType::Socket),
            0o01_0000 => Kind::Special(FileType::NamedPipe),
            _ => return reply.error(Errno::EPERM),
        };
        answer_entry(self.0.state().make(request, parent.0, name, kind, mode & !umask), reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let kind = Kind::Folder(super::image::Folder::default());
        answer_entry(self.0.state().make(request, parent.0, name, kind, mode & !umask), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let kind = Kind::Link(target.to_owned());
        answer_entry(self.0.state().make(request, parent.0, name, kind, 0o777), reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.0.state();
        answer_empty(state.writable().and_then(|()| state.image.remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.0.state();
        answer_empty(state.writable().and_then(|()| state.image.remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let mut state = self.0.state();
        let renamed =
            state.writable().and_then(|()| state.image.rename((parent.0, name), (new_parent.0, new_name), replace));
        answer_empty(renamed, reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.0.state();
        let linked = state
            .writable()
            .and_then(|()| state.image.link(number.0, parent.0, name))
            .and_then(|()| state.attributes(number.0));
        answer_entry(linked, reply);
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.0.state().open(number.0, flags) {
            // The kernel knows all that changes.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.0.state();
        let made = state.make(request, parent.0, name, Kind::File(Held::default()), mode & !umask);
        match made.and_then(|made| state.open(made.ino.0, OpenFlags(flags)).map(|()| made)) {
            Ok(made) => {
                reply.created(&BELIEVED_FOR, &made, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.state().read(number.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.state().write(number.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _request: &Request, _number: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        answer_empty(self.0.state().alive(), reply);
    }

    fn release(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        answer_empty(self.0.state().image.release(number.0), reply);
    }

    fn fsync(&self, _request: &Request, number: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(number, reply);
    }

    fn fsyncdir(&self, _request: &Request, number: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(number, reply);
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let mut state = self.0.state();
        match state.alive().and_then(|()| state.image.list(number.0)) {
            Ok(listing) => {
                let handle = state.next_listing;
                state.next_listing += 1;
                state.listings.insert(handle, listing);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.0.state();
        let Some(listing) = state.listings.get(&handle.0) else { return reply.error(Errno::EBADF) };
        for (index, (number, kind, name)) in (1..).zip(listing).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(*number), index, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.state().listings.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let state = self.0.state();
        if let Err(errno) = state.alive().and_then(|()| state.image.node(ROOT).map(|_| ())) {
            return reply.error(errno);
        }
        let taken = state.image.pages_taken();
        let (pages, free) = match state.faults.room {
            Some((pages_max, Says::Full)) => (pages_max, pages_max.saturating_sub(taken)),
            Some((_, Says::Free)) | None => (PAGES_AT_ALL, PAGES_AT_ALL.saturating_sub(taken)),
        };
        let (block, names_max) = (PAGE_BYTES as u32, NAME_BYTES_MAX as u32);
        reply.statfs(pages, free, free, PAGES_AT_ALL, PAGES_AT_ALL, block, names_max, block);
    }
}
