//! What a file holds now and what it would hold after a power cut, page by page.
//!
//! Knows nothing of names, folders or the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::chance::Chance;

/// What is written at once by a disk that does not tear, and what is counted as room taken.
pub(super) const PAGE_BYTES: usize = 4096;

/// What no disk tears: the rest of a page that is being written when the power goes may be the old one.
const SECTOR_BYTES: usize = 512;

const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Bytes, of which pages that were never written are zeros and take no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    length_bytes: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Content {
    pub(super) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    pub(super) fn pages_taken(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many pages a write there would take that are not taken yet.
    pub(super) fn pages_wanted(&self, offset: u64, bytes: usize) -> u64 {
        pages_of(offset, bytes).filter(|page| !self.pages.contains_key(page)).count() as u64
    }

    pub(super) fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let end = offset.saturating_add(bytes as u64).min(self.length_bytes);
        let mut read = Vec::with_capacity(bytes);
        let mut at = offset;
        while at < end {
            let (page, start) = place(at);
            let taken = (PAGE_BYTES - start).min(usize::try_from(end - at).unwrap_or(PAGE_BYTES));
            let bytes: &[u8; PAGE_BYTES] = self.pages.get(&page).map_or(&ZEROS, |page| page);
            read.extend_from_slice(&bytes[start..start + taken]);
            at += taken as u64;
        }
        read
    }

    /// All of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.read(0, usize::try_from(self.length_bytes).unwrap_or(usize::MAX))
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (page, start) = place(at);
            let (these, others) = rest.split_at((PAGE_BYTES - start).min(rest.len()));
            let page = Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new(ZEROS)));
            page[start..start + these.len()].copy_from_slice(these);
            at += these.len() as u64;
            rest = others;
        }
        self.length_bytes = self.length_bytes.max(at);
    }

    fn set_length(&mut self, length_bytes: u64) {
        if length_bytes < self.length_bytes {
            let (page, start) = place(length_bytes);
            let _beyond = self.pages.split_off(&length_bytes.div_ceil(PAGE_BYTES as u64));
            if start > 0
                && let Some(last) = self.pages.get_mut(&page)
            {
                Arc::make_mut(last)[start..].fill(0);
            }
        }
        self.length_bytes = length_bytes;
    }

    /// Takes a page as it is in `other`, a hole included.
    fn take(&mut self, page: u64, other: &Content) {
        match other.pages.get(&page) {
            Some(bytes) => _ = self.pages.insert(page, Arc::clone(bytes)),
            None => _ = self.pages.remove(&page),
        }
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(0, bytes);
        content
    }
}

/// A file's bytes as everybody reads them, and as the disk has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// What a read sees.
    pub(super) now: Content,
    /// What has been synced.
    pub(super) kept: Content,
    /// The pages that the next sync writes.
    dirty: BTreeSet<u64>,
    /// The length is another one than at the last sync.
    resized: bool,
}

impl Held {
    /// As it was found on the disk.
    pub(super) fn found(bytes: &[u8]) -> Held {
        let now = Content::from(bytes);
        Held { kept: now.clone(), now, ..Held::default() }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.resized |= offset + bytes.len() as u64 > self.now.length_bytes;
        self.now.write(offset, bytes);
        self.dirty.extend(pages_of(offset, bytes.len()));
    }

    pub(super) fn set_length(&mut self, length_bytes: u64) {
        if length_bytes < self.now.length_bytes {
            // What is cut off here may not come back when the file grows again.
            let gone = place(length_bytes).0..=place(self.now.length_bytes).0;
            self.dirty.extend(gone.filter(|page| self.now.pages.contains_key(page)));
        }
        self.resized |= length_bytes != self.now.length_bytes;
        self.now.set_length(length_bytes);
    }

    /// Makes durable what was written; how many pages that were.
    pub(super) fn sync(&mut self) -> u64 {
        self.kept.set_length(self.now.length_bytes);
        for page in &self.dirty {
            self.kept.take(*page, &self.now);
        }
        self.resized = false;
        std::mem::take(&mut self.dirty).len() as u64
    }

    /// What Linux does after a sync that failed: the pages count as written, and are not.
    pub(super) fn forget_to_write(&mut self) {
        self.dirty.clear();
        self.resized = false;
    }

    /// How many pages a cut may lose.
    pub(super) fn pages_unsynced(&self) -> u64 {
        self.dirty.len() as u64
    }

    /// What is on the disk after a cut: what was synced, and of the rest what chance has let through, in any order.
    pub(super) fn after_cut(&self, chance: &mut Chance) -> Content {
        let mut content = self.kept.clone();
        if self.resized && chance.survives() {
            content.set_length(self.now.length_bytes);
        }
        for page in &self.dirty {
            let new: &[u8; PAGE_BYTES] = self.now.pages.get(page).map_or(&ZEROS, |bytes| bytes);
            let start = page * PAGE_BYTES as u64;
            let piece = if chance.tears() { SECTOR_BYTES } else { PAGE_BYTES };
            for (index, bytes) in new.chunks(piece).enumerate() {
                let at = start + (index * piece) as u64;
                // What lies behind the end is lost with the length.
                let room = usize::try_from(content.length_bytes.saturating_sub(at)).unwrap_or(piece).min(piece);
                if chance.survives() && room > 0 {
                    content.write(at, &bytes[..room]);
                }
            }
        }
        content
    }
}

/// The page of an offset, and how far into it that is.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE_BYTES as u64, usize::try_from(offset % PAGE_BYTES as u64).unwrap_or(0))
}

fn pages_of(offset: u64, bytes: usize) -> std::ops::Range<u64> {
    let first = offset / PAGE_BYTES as u64;
    if bytes == 0 { first..first } else { first..(offset + bytes as u64).div_ceil(PAGE_BYTES as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_kept() {
        let mut held = Held::found(b"old");
        held.write(0, b"new and longer");
        assert_eq!(held.now.bytes(), b"new and longer");
        assert_eq!(held.after_cut(&mut Chance::none()).bytes(), b"old");
        assert_eq!(held.sync(), 1);
        held.write(4, b"AND");
        held.set_length(7);
        assert_eq!(held.after_cut(&mut Chance::none()).bytes(), b"new and longer");
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut held = Held::found(&[7; 10_000]);
        held.set_length(10);
        held.set_length(9_000);
        held.sync();
        let kept = held.after_cut(&mut Chance::none()).bytes();
        assert_eq!(kept, [vec![7; 10], vec![0; 8_990]].concat());
        assert_eq!(kept, held.now.bytes());
    }

    #[test]
    fn a_page_may_be_torn_between_its_sectors() {
        let mut held = Held::found(&[1; PAGE_BYTES]);
        held.write(0, &[2; PAGE_BYTES]);
        let torn = (0..64).any(|seed| {
            let bytes = held.after_cut(&mut Chance::from_seed(seed)).bytes();
            assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            bytes.contains(&1) && bytes.contains(&2)
        });
        assert!(torn, "no seed of 64 has torn a page");
    }

    #[test]
    fn a_failed_sync_writes_nothing_ever() {
        let mut held = Held::found(b"old");
        held.write(0, b"new");
        held.forget_to_write();
        assert_eq!(held.sync(), 0, "they count as written");
        assert_eq!(held.after_cut(&mut Chance::none()).bytes(), b"old");
        assert_eq!(held.now.bytes(), b"new");
    }
}
