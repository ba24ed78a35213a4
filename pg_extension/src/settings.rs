//! Every setting of the extension, in one place.

mod fences;

use std::ffi::{c_int, CStr, CString};
use std::path::PathBuf;
use std::sync::OnceLock;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use pgrx::pg_sys;

pub use self::fences::{
    check_budget, filtering_threads, less_for_filtering, less_for_refinement, max_queued_runs, max_runs,
    refinement_memory_limit, refinement_threads,
};

use self::fences::{FILTERING_THREADS, REFINEMENT_MEMORY_LIMIT, REFINEMENT_THREADS};
use crate::error::{Result, TrailsError};

/// How much a running statement tells the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum Progress {
    #[name = c"off"]
    Off,
    #[name = c"phases"]
    Phases,
    #[name = c"epochs"]
    Epochs,
}

static VIRTUALENV: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static DEVICE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"auto"));
static RAY_ADDRESS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static RAY_GPUS: GucSetting<f64> = GucSetting::<f64>::new(0.0);
static MODEL_CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64);
/// Its default depends on the machine.
static READING_MEMORY_LIMIT: OnceLock<GucSetting<i32>> = OnceLock::new();
static PROGRESS: GucSetting<Progress> = GucSetting::<Progress>::new(Progress::Phases);

/// Registers the settings; called once when the library is loaded.
pub fn define() {
    // Code runs from this path, so only a superuser may name it.
    GucRegistry::define_string_guc(
        c"trails.virtualenv",
        c"Python virtual environment that holds the package trails.",
        c"An absolute path that the server's user can read. Takes effect in new sessions.",
        &VIRTUALENV,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"trails.device",
        c"Device that refinement trains on: auto, cpu, cuda, cuda:N or several with commas.",
        c"auto takes every CUDA device that there is, else the CPU.",
        &DEVICE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.refinement_threads",
        c"CPU threads of the refinement process; 0 takes every core.",
        c"",
        &REFINEMENT_THREADS,
        0,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.refinement_memory_limit",
        c"Memory that the refinement process may use; 0 sets no limit.",
        c"A run that needs more ends with what had finished, or with an error, and the server is not troubled.",
        &REFINEMENT_MEMORY_LIMIT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MB,
    );
    // A fence, not a default: what a backend takes is taken from all.
    GucRegistry::define_int_guc(
        c"trails.reading_memory_limit",
        c"Memory that a statement's rows may take in the backend; 0 sets no limit.",
        c"A relation that does not fit is an error. The default is half of the machine's memory.",
        READING_MEMORY_LIMIT.get_or_init(|| GucSetting::<i32>::new(half_of_memory())),
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
    // The cluster's workers run code that the server's user sends them, so only a superuser may name it.
    GucRegistry::define_string_guc(
        c"trails.ray_address",
        c"Ray cluster that trains the candidates, as host:port; empty trains them on this machine.",
        c"",
        &RAY_ADDRESS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"trails.ray_gpus",
        c"GPUs that a trial reserves on the Ray cluster; a fraction lets trials share one.",
        c"",
        &RAY_GPUS,
        0.0,
        64.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.filtering_threads",
        c"CPU threads that score architectures in the backend; 0 takes every core.",
        c"Scores do not depend on it.",
        &FILTERING_THREADS,
        0,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.model_cache_size",
        c"Memory for models that a session has predicted with; 0 keeps none from one statement to the next.",
        c"Models used least recently go first. One that is larger alone is read again by every statement.",
        &MODEL_CACHE_SIZE,
        0,
        1 << 20,
        GucContext::Userset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_enum_guc(
        c"trails.progress",
        c"What a running selection reports as NOTICE: off, phases or epochs.",
        c"",
        &PROGRESS,
        GucContext::Userset,
        GucFlags::default(),
    );
    fences::define();
    // A name that is misspelt is an error from here on.
    // SAFETY: the text ends in a NUL byte and is copied; called once, when the library is loaded.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"trails".as_ptr()) };
}

/// The virtual environment, checked to be one; the error names the commands that make one.
pub fn virtualenv() -> Result<PathBuf> {
    let path = VIRTUALENV.get().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    if path.is_empty() {
        return Err(TrailsError::configuration("trails.virtualenv is not set").hint(
            "As a superuser: ALTER SYSTEM SET trails.virtualenv = '/path/to/environment'; \
             SELECT pg_reload_conf(); then open a new session.",
        ));
    }
    let python = PathBuf::from(&path).join("bin/python");
    if !python.exists() {
        let shown = veiled(path);
        return Err(TrailsError::configuration(format!(
            "the virtual environment \"{shown}\" (setting trails.virtualenv) has no bin/python that the server can read"
        ))
        .hint(format!(
            "Make it with: python3 -m venv {shown} && {shown}/bin/pip install 'trails[train]', \
             readable by the server's user."
        )));
    }
    Ok(PathBuf::from(path))
}

/// Whether the client may see settings that are for superusers: the caller must have the right, and so must the role that
/// logged in, whom a function with its owner's rights would show them.
pub fn visible() -> bool {
    let right = pg_sys::Oid::from(pg_sys::ROLE_PG_READ_ALL_SETTINGS);
    // SAFETY: looks into variables and caches of the backend's one thread, within the calling transaction.
    unsafe {
        [pg_sys::GetUserId(), pg_sys::GetSessionUserId()].into_iter().all(|role| pg_sys::has_privs_of_role(role, right))
    }
}

/// A text for the client. Where the virtual environment lies is left out for those who may not see it.
pub fn veiled(text: String) -> String {
    let Some(path) = VIRTUALENV.get().map(|p| p.to_string_lossy().into_owned()).filter(|p| !p.is_empty()) else {
        return text;
    };
    let real = std::fs::canonicalize(&path).ok().map(|p| p.to_string_lossy().into_owned());
    if !(text.contains(&path) || real.as_ref().is_some_and(|real| text.contains(real))) || visible() {
        return text;
    }
    real.into_iter().chain([path]).fold(text, |text, path| text.replace(&path, "<trails.virtualenv>"))
}

pub fn device() -> String {
    DEVICE.get().map(|d| d.to_string_lossy().into_owned()).unwrap_or_else(|| "auto".into())
}

/// In bytes; as much as can be named where there is no limit.
pub fn reading_memory_limit() -> usize {
    match READING_MEMORY_LIMIT.get().map_or(0, GucSetting::get) {
        0 => usize::MAX,
        megabytes => (megabytes as usize) << 20,
    }
}

/// Of the machine, or of the control group that the server runs in, in MB.
fn half_of_memory() -> i32 {
    // SAFETY: sysconf reads constants of the system.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let machine = u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(0);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    i32::try_from(machine.min(group.unwrap_or(u64::MAX)) >> 21).unwrap_or(i32::MAX)
}

/// None trains on this machine.
pub fn ray_address() -> Option<String> {
    RAY_ADDRESS.get().map(|a| a.to_string_lossy().trim().to_owned()).filter(|a| !a.is_empty())
}

pub fn ray_gpus() -> f64 {
    RAY_GPUS.get()
}

/// In bytes.
pub fn model_cache_size() -> usize {
    (MODEL_CACHE_SIZE.get() as usize) << 20
}

pub fn progress() -> Progress {
    PROGRESS.get()
}

/// Whole numbers and switches (0 is off) among the server's own settings that have another value for a while.
pub struct Overridden {
    nest_level: c_int,
}

impl Overridden {
    pub fn begin() -> Self {
        // SAFETY: it counts a level of settings up, which `end` or the end of the transaction takes away.
        Self { nest_level: unsafe { pg_sys::NewGUCNestLevel() } }
    }

    pub fn set(&self, name: &CStr, value: c_int) {
        let value = CString::new(value.to_string()).expect("a number holds no NUL byte");
        // SAFETY: both texts end in NUL bytes and are copied by the server, which checks the value.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }

    /// Puts the session's own values back. On an error the end of the transaction, or of the subtransaction, does it.
    pub fn end(self) {
        // SAFETY: the level is the one that `begin` counted up; `self` is gone, so that it is ended once.
        unsafe { pg_sys::AtEOXact_GUC(true, self.nest_level) };
    }
}
