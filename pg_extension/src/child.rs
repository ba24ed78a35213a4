//! The refinement process: started by the backend, watched by it, and never left behind.
//!
//! It is a program of its own, because `kill -9` of a backend restarts every session of the server and `kill -9` of a
//! child costs one error. It ends in four ways: by itself; killed when `Child` is dropped (any error unwinds through
//! that); killed by `end_at_exit` when the backend exits without unwinding (FATAL, shutdown); killed by the kernel
//! when the backend dies (parent-death signal). It shares no memory with PostgreSQL and inherits no descriptor but
//! its pipes, the columns and the checkpoints.

use std::cell::RefCell;
use std::ffi::{c_int, CString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};
use crate::interrupts::{self, Direction, Woken};
use crate::limits::LOG_TAIL;
use crate::lines::{Endless, Lines};
use crate::protocol::{Event, Request};
use crate::settings;

/// The newest process group, to be ended when the backend exits; 0 when there is none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Asked to die before the backend when memory runs out.
const OOM_SCORE: &[u8] = b"800\n";

/// How long the end of a killed process is waited for. One in uninterruptible sleep, or held by a debugger, may take for
/// ever.
const LAST_MOMENTS: Duration = Duration::from_millis(100);
/// How often is looked whether it has ended.
const GLANCE: Duration = Duration::from_millis(2);
/// How long a process that closed its pipe may take to exit with the status worth telling.
const FAREWELL: Duration = Duration::from_millis(40);

thread_local! {
    /// Killed, and not ended when last looked.
    static UNREAPED: RefCell<Vec<std::process::Child>> = const { RefCell::new(Vec::new()) };
}

/// What `next` came back with.
#[derive(Debug)]
pub enum ChildMessage {
    Event(Event),
    Nothing,
    /// It has closed its pipe: it is gone, or as good as.
    Gone,
}

pub struct Child {
    /// None once it has ended, or was left to end.
    process: Option<std::process::Child>,
    requests: File,
    events: File,
    log: File,
    lines: Lines,
    /// A run may be called from within the query of another.
    outer: i32,
    pub virtualenv: String,
}

/// Anonymous memory that another process can map.
pub fn memory_file(name: &str) -> Result<File> {
    let name = CString::new(name).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
    // SAFETY: the name ends in a NUL byte.
    let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the descriptor has just been made, and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

fn set_nonblocking(descriptor: RawFd) -> std::io::Result<()> {
    // SAFETY: it asks for flags, and touches no memory.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    // SAFETY: it sets flags, and touches no memory.
    if flags < 0 || unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Runs between fork and exec: system calls only, no allocation.
fn prepare_child(parent: libc::pid_t, kept: &[RawFd]) -> std::io::Result<()> {
    // SAFETY: system calls alone, which are allowed between fork and exec; the texts are constants that end in a NUL
    // byte, and the descriptors that are closed or marked are this new process's own.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        if libc::getppid() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        // PostgreSQL 15 leaves the descriptors of data files open across exec.
        if libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as c_int) != 0 {
            for descriptor in 3..4096 {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        for descriptor in kept {
            if libc::fcntl(*descriptor, libc::F_SETFD, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if score >= 0 {
            libc::write(score, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
            libc::close(score);
        }
    }
    Ok(())
}

#[pg_guard]
unsafe extern "C-unwind" fn end_at_exit(_code: c_int, _argument: pg_sys::Datum) {
    let group = RUNNING.swap(0, Ordering::SeqCst);
    if group > 0 {
        // SAFETY: neither touches memory; the group is our child's, and its number not given away before it is waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        // SAFETY: the same.
        let ended = || Some(unsafe { libc::waitpid(group, std::ptr::null_mut(), libc::WNOHANG) }).filter(|p| *p != 0);
        await_end(LAST_MOMENTS, ended);
    }
}

/// What `ended` tells, once it tells something; None if it does not in time. The backend must not wait in the system: a
/// call that nothing interrupts would hold the session, and the server's shutdown.
fn await_end<T>(patience: Duration, mut ended: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let end = ended();
        if end.is_some() || begun.elapsed() >= patience {
            return end;
        }
        std::thread::sleep(GLANCE);
    }
}

/// Lets go of processes that have ended meanwhile.
fn reap() {
    UNREAPED.with(|unreaped| unreaped.borrow_mut().retain_mut(|process| matches!(process.try_wait(), Ok(None))));
}

impl Child {
    /// Starts `python -m trails.refinement.child` in the virtual environment; the files stay open in it under the
    /// same descriptor numbers.
    pub fn start(virtualenv: &Path, threads: i32, files: &[&File]) -> Result<Self> {
        static REGISTERED: std::sync::Once = std::sync::Once::new();
        // SAFETY: the callback is a function of this library, which is never unloaded.
        REGISTERED.call_once(|| unsafe { pg_sys::on_proc_exit(Some(end_at_exit), pg_sys::Datum::from(0)) });

        reap();
        let log = memory_file("trails-log")?;
        // SAFETY: it has no arguments and cannot fail.
        let parent = unsafe { libc::getpid() };
        let kept: Vec<RawFd> = files.iter().map(|f| f.as_raw_fd()).collect();
        let mut command = Command::new(virtualenv.join("bin/python"));
        // -I: neither the data directory, where a backend runs, nor PYTHONPATH may name code. It makes Python pass over
        // every PYTHON... variable, so that -B says that nothing is written beside the packages.
        command
            .args(["-I", "-B", "-u", "-m", "trails.refinement.child"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log.try_clone()?))
            .process_group(0);
        if threads > 0 {
            for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
                command.env(name, threads.to_string());
            }
        } else {
            // The backend pins its own to one; the child may use every core.
            for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
                command.env_remove(name);
            }
        }
        // SAFETY: what runs between fork and exec makes system calls alone, and allocates nothing.
        unsafe { command.pre_exec(move || prepare_child(parent, &kept)) };
        let mut process = command.spawn().map_err(|e| {
            TrailsError::external(format!("the refinement process cannot be started: {e}")).hint(settings::veiled(
                format!("Check that the server's user can run {}/bin/python.", virtualenv.display()),
            ))
        })?;
        let outer = RUNNING.swap(process.id() as i32, Ordering::SeqCst);
        let requests = File::from(OwnedFd::from(process.stdin.take().expect("stdin is piped")));
        let events = File::from(OwnedFd::from(process.stdout.take().expect("stdout is piped")));
        let child = Self {
            process: Some(process),
            requests,
            events,
            log,
            lines: Lines::default(),
            outer,
            virtualenv: virtualenv.display().to_string(),
        };
        set_nonblocking(child.requests.as_raw_fd())?;
        set_nonblocking(child.events.as_raw_fd())?;
        Ok(child)
    }

    /// Sends one request; false if the child has not taken the whole of it by `until`. A child that is gone shows itself
    /// in `next`.
    pub fn send(&mut self, request: &Request<'_>, until: Instant) -> Result<bool> {
        let mut bytes = serde_json::to_vec(request).map_err(|e| TrailsError::external(e.to_string()))?;
        bytes.push(b'\n');
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.requests.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    interrupts::wait_for(self.requests.as_raw_fd(), Direction::Write, left);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(true),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// The next event, waited for at most this long. Raises pending interrupts, also if there is always another event.
    pub fn next(&mut self, timeout: Duration) -> Result<ChildMessage> {
        pgrx::check_for_interrupts!();
        let mut waited = false;
        loop {
            if let Some(line) = self.lines.next() {
                let event = serde_json::from_slice(line).map_err(|e| {
                    let line = String::from_utf8_lossy(&line[..line.len().min(LOG_TAIL)]);
                    TrailsError::external("the refinement process sent a line that is not an event")
                        .confidential(format!("{e}: {line}"))
                })?;
                return Ok(ChildMessage::Event(event));
            }
            let mut buffer = [0u8; 16384];
            match self.events.read(&mut buffer) {
                Ok(0) => return Ok(ChildMessage::Gone),
                Ok(read) => self
                    .lines
                    .feed(&buffer[..read])
                    .map_err(|Endless| TrailsError::external("the refinement process sent a line that does not end"))?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if waited {
                        return Ok(ChildMessage::Nothing);
                    }
                    let woken = interrupts::wait_for(self.events.as_raw_fd(), Direction::Read, timeout);
                    waited = woken == Woken::TimedOut;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Ends it if it still runs, and says how it ended.
    pub fn end(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        match await_end(FAREWELL, || process.try_wait().ok().flatten()) {
            Some(status) => {
                self.forget();
                Some(status)
            }
            None => self.kill(),
        }
    }

    /// Ends it at once, also if it has been stopped. None if it had ended before, or does not end soon.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        // SAFETY: it touches no memory; the group is our child's, which has not been waited for, so that its number is
        // nobody else's.
        unsafe { libc::kill(-(process.id() as i32), libc::SIGKILL) };
        let status = await_end(LAST_MOMENTS, || process.try_wait().ok().flatten());
        let process = self.forget();
        if status.is_none() {
            UNREAPED.with(|unreaped| unreaped.borrow_mut().extend(process));
        }
        status
    }

    fn forget(&mut self) -> Option<std::process::Child> {
        RUNNING.store(self.outer, Ordering::SeqCst);
        self.process.take()
    }

    /// The last lines that it wrote to its log.
    fn log_tail(&self) -> String {
        let length = self.log.metadata().map(|m| m.len()).unwrap_or(0);
        let start = length.saturating_sub(LOG_TAIL as u64);
        let mut bytes = vec![0u8; (length - start) as usize];
        match self.log.read_exact_at(&mut bytes, start) {
            Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Err(_) => String::new(),
        }
    }

    /// The error for a child that went without a result.
    pub fn death(&mut self) -> TrailsError {
        let status = self.end();
        let killed = status.is_some_and(|s| s.signal() == Some(libc::SIGKILL));
        let how = match status {
            _ if killed => "was killed (signal 9), by hand or because memory ran out".to_owned(),
            Some(s) if s.signal().is_some() => format!("died of signal {}", s.signal().unwrap_or(0)),
            Some(s) => format!("ended with exit code {}", s.code().unwrap_or(-1)),
            None => "does not end, though it was killed".to_owned(),
        };
        let log = self.log_tail();
        let error = TrailsError::external(format!("the refinement process {how}"));
        let missing = ["trails", "numpy", "torch"]
            .into_iter()
            .find(|m| log.contains(&format!("No module named '{m}")) || log.contains(&format!("No module named {m}")));
        let error = match missing {
            Some(module) => error.hint(settings::veiled(format!(
                "The virtual environment lacks {module}: {}/bin/pip install 'trails[train]'",
                self.virtualenv
            ))),
            None if killed => error.hint(
                "If the machine's memory ran out, set trails.refinement_memory_limit: the process then ends in order, \
                 and says what it needed.",
            ),
            None => error,
        };
        self.with_log(error)
    }

    /// The error with what the process wrote to its log, if anything.
    pub fn with_log(&self, error: TrailsError) -> TrailsError {
        error.confidential(self.log_tail())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_waited_for_no_longer_than_was_said() {
        let begun = Instant::now();
        assert_eq!(await_end(Duration::from_millis(30), || None::<()>), None);
        assert!((0.03..10.0).contains(&begun.elapsed().as_secs_f64()));
    }

    #[test]
    fn what_has_ended_is_not_waited_for() {
        let mut looks = 0;
        let end = await_end(Duration::from_secs(60), || {
            looks += 1;
            (looks == 3).then_some("ended")
        });
        assert_eq!((end, looks), (Some("ended"), 3));
    }
}
