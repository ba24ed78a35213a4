//! The file that a running statement shares with whoever watches it, mapped into memory by both.
//!
//! It lies among the server's temporary files, so that it is in no backup, and the server removes it when it starts after
//! a crash. One path for every version of the server, and nothing to preload. Its blocks are allocated before anything is
//! written: a full disk is an error then, and no SIGBUS later. Whether its writer lives is told by a lock that the system
//! lets go of when the writer's process ends, however it ends: a pid may be somebody else's by then.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{MAGIC, MAGIC_AT, WORDS};

/// Relative to the data directory, in which every backend runs.
const FOLDER: &str = "base/pgsql_tmp";
/// The server removes what begins with pgsql_tmp there, and nothing else.
const PREFIX: &str = "pgsql_tmp_trails_";
const BYTES: usize = WORDS * std::mem::size_of::<AtomicU64>();

/// A mapped area.
#[derive(Debug)]
struct Mapped(*const AtomicU64);

impl Mapped {
    /// `file` must have `BYTES` bytes, and nobody makes one of these files shorter.
    fn of(file: &File) -> Result<Self> {
        // SAFETY: a new mapping of an open file, at an address that the system chooses.
        let start = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), BYTES, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Self(start as *const AtomicU64))
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has as many words, aligned to pages, for as long as `self` lives; words that another
        // process writes are atomic, and any bits are a number.
        unsafe { std::slice::from_raw_parts(self.0, WORDS) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is of `of`, and nobody borrows from it any more.
        unsafe { libc::munmap(self.0 as *mut libc::c_void, BYTES) };
    }
}

/// A whole file as `fcntl` locks it; the lock is the open file's, and so this process's alone once a child has execed.
fn whole(kind: libc::c_int) -> libc::flock {
    // SAFETY: plain numbers, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
    lock
}

/// The area of a statement of this backend's; the file goes with it.
#[derive(Debug)]
pub struct Own {
    mapped: Mapped,
    path: PathBuf,
    _locked: File,
}

impl Own {
    /// `number` tells apart the areas of one backend.
    pub fn make(pid: i32, number: u64) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(FOLDER) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = Path::new(FOLDER).join(format!("{PREFIX}{pid}_{number}"));
        let open = || OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = open().or_else(|error| {
            // Of a backend with the same pid, which was killed.
            std::fs::remove_file(&path).map_err(|_| error).and_then(|()| open())
        })?;
        let made = Self::fill(&file);
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made.map(|mapped| Self { mapped, path, _locked: file })
    }

    fn fill(file: &File) -> Result<Mapped> {
        let mut lock = whole(libc::F_WRLCK);
        // SAFETY: it takes an open descriptor, and the lock is a number of this frame's.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut lock) } != 0 {
            return Err(Error::last_os_error());
        }
        loop {
            // SAFETY: it takes an open descriptor, and touches no memory.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, BYTES as libc::off_t) } {
                0 => return Mapped::of(file),
                libc::EINTR => {}
                failure => return Err(Error::from_raw_os_error(failure)),
            }
        }
    }

    /// To be called once the first state is written: now it counts.
    pub fn open(&self) {
        self.words()[MAGIC_AT].store(MAGIC, Ordering::Release);
    }

    pub fn words(&self) -> &[AtomicU64] {
        self.mapped.words()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The area of a statement that another backend runs, or this one.
#[derive(Debug)]
pub struct Seen(Mapped);

impl Seen {
    pub fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }
}

/// The areas of all statements under way, of any database. One that cannot be looked at is none.
pub fn all() -> Vec<Seen> {
    let Ok(folder) = std::fs::read_dir(FOLDER) else { return Vec::new() };
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    folder.flatten().filter(|entry| ours(&entry.file_name())).filter_map(|entry| seen(&entry.path())).collect()
}

fn seen(path: &Path) -> Option<Seen> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.ok()?;
    let facts = file.metadata().ok()?;
    // SAFETY: it has no arguments and cannot fail.
    let own = facts.uid() == unsafe { libc::geteuid() };
    let mut magic = [0u8; 8];
    let whole_size = facts.is_file() && own && facts.len() == BYTES as u64;
    if !whole_size || file.read_exact_at(&mut magic, 0).is_err() || u64::from_ne_bytes(magic) != MAGIC {
        return None;
    }
    lives(&file).then(|| Mapped::of(&file).ok().map(Seen)).flatten()
}

/// Whether the process that wrote the file holds it still.
fn lives(file: &File) -> bool {
    let mut lock = whole(libc::F_RDLCK);
    // SAFETY: it takes an open descriptor, and writes into the lock of this frame.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
    asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
}
