//! The bridge: an interpreter in the backend, started on first use, and typed calls into `trails.bridge`.
//!
//! What crosses by name is a struct here and a class of the same name in `trails.bridge`, with the same fields, which
//! `tests/core/test_bridge.py` compares: a struct that goes there becomes a dict, one that comes from there is read by
//! attribute.

use std::cell::{Cell, OnceCell};
use std::ffi::CString;
use std::path::Path;

use numpy::PyArray1;
use pgrx::prelude::*;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};
use trails_model::Reading;

use crate::error::{code_of, Result, TrailsError};
use crate::reader::columns::{Column, Values};
use crate::{installed, interrupts, settings, watching};

/// Items of a list that are taken over between two looks at the caller: a few milliseconds.
const EXTRACTED_AT_ONCE: usize = 4096;

thread_local! {
    static BRIDGE: OnceCell<Py<PyModule>> = const { OnceCell::new() };
    /// The interpreter of this session is ours; an environment that was found wanting is tried again.
    static STARTED: Cell<bool> = const { Cell::new(false) };
}

/// Blocks every signal while it lives, for this thread and for those that libraries start meanwhile: PostgreSQL's
/// handlers must only ever run on the backend's own thread.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn new() -> Self {
        // SAFETY: a set of signals is plain numbers, for which zeros are valid; both lie in this frame, and the mask
        // that is changed is this thread's.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the mask is the one that this thread had before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

fn start(virtualenv: &Path) -> Result<Py<PyModule>> {
    // SAFETY: it may be asked at any time, also before there is an interpreter.
    if unsafe { pyo3::ffi::Py_IsInitialized() } != 0 && !STARTED.get() {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this session already runs another Python interpreter (plpython3u)",
        )
        .hint("Open a new session and call Trails there before any plpython3u function."));
    }
    let _blocked = SignalsBlocked::new();
    // One thread a backend: scores are made of small matrices, and sessions share the machine.
    for name in ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
        std::env::set_var(name, "1");
    }
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"] {
        std::env::remove_var(name);
    }
    std::env::set_var("PYTHONDONTWRITEBYTECODE", "1");
    std::env::set_var("PYTHONNOUSERSITE", "1");
    Python::initialize();
    STARTED.set(true);
    let bridge = Python::attach(|py| import_bridge(py, virtualenv).map_err(|e| explain(py, e)))?;
    interrupts::survive_exit();
    Ok(bridge)
}

/// Makes the embedded interpreter see what the virtual environment's own interpreter sees, and imports the bridge.
fn import_bridge(py: Python<'_>, virtualenv: &Path) -> PyResult<Py<PyModule>> {
    let locals = PyDict::new(py);
    locals.set_item("environment", virtualenv.to_string_lossy())?;
    let code = CString::new(
        "import os, site, sys\n\
         version = f'python{sys.version_info.major}.{sys.version_info.minor}'\n\
         packages = os.path.join(environment, 'lib', version, 'site-packages')\n\
         if not os.path.isdir(packages):\n\
         \x20   raise ModuleNotFoundError(f'No module named trails: {environment} has no packages for {version}', name='trails')\n\
         sys.path[:] = [p for p in sys.path if p and 'dist-packages' not in p and 'site-packages' not in p]\n\
         site.addsitedir(packages)\n\
         sys.executable = os.path.join(environment, 'bin', 'python')\n",
    )
    .expect("the code holds no NUL byte");
    py.run(&code, Some(&locals), Some(&locals))?;
    Ok(py.import("trails.bridge")?.unbind())
}

/// Runs Python, detached before and after, and turns whatever it raised into one error.
pub fn call<T>(body: impl for<'py> FnOnce(&Bound<'py, PyModule>) -> PyResult<T>) -> Result<T> {
    installed::check()?;
    let module = match BRIDGE.with(|b| b.get().map(|m| Python::attach(|py| m.clone_ref(py)))) {
        Some(module) => module,
        None => {
            let module = start(&settings::virtualenv()?)?;
            BRIDGE.with(|b| {
                let _ = b.set(Python::attach(|py| module.clone_ref(py)));
            });
            module
        }
    };
    let outcome = Python::attach(|py| body(module.bind(py)).map_err(|e| explain(py, e)));
    Python::attach(|_| drop(module));
    interrupts::resume();
    outcome
}

/// The callback with which long Python work stays interruptible.
pub fn check<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyCFunction>> {
    let interrupted = py.import("trails.errors")?.getattr("Interrupted")?.unbind();
    PyCFunction::new_closure(
        py,
        Some(c"check"),
        None,
        move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            let py = args.py();
            if interrupts::pending() && py.detach(interrupts::poll) {
                return Err(PyErr::from_value(interrupted.bind(py).call0()?));
            }
            Ok(())
        },
    )
}

/// The callback that long Python work tells how many architectures it has scored.
pub fn told<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyCFunction>> {
    let scored = |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        watching::run::scored(args.get_item(0)?.extract()?);
        Ok(())
    };
    PyCFunction::new_closure(py, Some(c"told"), None, scored)
}

/// Items of a list that may hold millions, with a look at the caller between some thousands of them.
pub fn extract_all<'py, T: FromPyObjectOwned<'py>>(list: &Bound<'py, PyList>) -> PyResult<Vec<T>> {
    let check = check(list.py())?;
    let mut items = Vec::with_capacity(list.len());
    for (place, item) in list.iter().enumerate() {
        if place % EXTRACTED_AT_ONCE == 0 {
            check.call0()?;
        }
        items.push(item.extract().map_err(Into::into)?);
    }
    Ok(items)
}

/// A Python object that lives longer than one call. It is let go of while attached to the interpreter, also when an
/// error ends the statement, so that its memory is free at once.
pub struct Held(Option<Py<PyAny>>);

impl Held {
    pub fn new(object: Bound<'_, PyAny>) -> Self {
        Self(Some(object.unbind()))
    }

    pub fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.as_ref().expect("it is there until it is dropped").bind(py)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        Python::attach(|_| drop(self.0.take()));
    }
}

/// A column whose buffers have become NumPy's, without a copy.
#[derive(IntoPyObject)]
pub struct ArrayColumn<'py> {
    pub name: String,
    pub kind: &'static str,
    pub data: Bound<'py, PyAny>,
    /// 1 where a cell is NULL; None without NULLs.
    pub nulls: Option<Bound<'py, PyAny>>,
    /// Of `id:value` columns; None where all are 1.
    pub values: Option<Bound<'py, PyAny>>,
    /// How its texts were read, where it is a column of texts.
    pub reading: Option<&'static str>,
}

pub fn array(py: Python<'_>, column: Column) -> PyResult<ArrayColumn<'_>> {
    let kind = column.kind().name();
    let reading = column.reading().map(Reading::name);
    let nulls = column.nulls.map(|mask| PyArray1::from_vec(py, mask).into_any());
    let mut values = None;
    let data = match column.values {
        Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => PyArray1::from_vec(py, v).into_any(),
        Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => PyArray1::from_vec(py, v).into_any(),
        Values::Float32(v) => PyArray1::from_vec(py, v).into_any(),
        Values::Float64(v) | Values::Interval(v) => PyArray1::from_vec(py, v).into_any(),
        Values::Text { hashes, .. } => PyArray1::from_vec(py, hashes).into_any(),
        Values::IdValue(v) => {
            values = v.values.map(|v| PyArray1::from_vec(py, v).into_any());
            PyArray1::from_vec(py, v.ids).into_any()
        }
        Values::Key { .. } => return Err(PyValueError::new_err("keys are not learnt from")),
    };
    Ok(ArrayColumn { name: column.name, kind, data, nulls, values, reading })
}

pub fn arrays(py: Python<'_>, columns: Vec<Column>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for column in columns {
        list.append(array(py, column)?)?;
    }
    Ok(list)
}

fn text_of(value: &Bound<'_, PyAny>, attribute: &str) -> Option<String> {
    value.getattr(attribute).ok()?.extract::<Option<String>>().ok()?
}

/// One error for people: the message and what to do next, and the traceback for those who run the server.
fn explain(py: Python<'_>, error: PyErr) -> TrailsError {
    let value = error.value(py);
    if let (Some(sqlstate), Some(message)) = (text_of(value, "sqlstate"), text_of(value, "message")) {
        let mut told = TrailsError::new(code_of(&sqlstate), settings::veiled(message));
        told.detail = text_of(value, "detail").map(settings::veiled);
        told.hint = text_of(value, "hint").map(settings::veiled);
        return told;
    }
    if error.is_instance_of::<PyMemoryError>(py) {
        let message = "out of memory in the interpreter of this session";
        return TrailsError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, message)
            .detail(value.to_string())
            .hint("Read fewer rows or columns, for instance a view with a sample, or a smaller batch_size.");
    }
    let kind = value.get_type().name().map(|n| n.to_string()).unwrap_or_else(|_| "exception".into());
    let trace = error.traceback(py).and_then(|t| t.format().ok()).unwrap_or_default();
    let told = TrailsError::external(settings::veiled(format!("Python raised {kind}: {value}")))
        .confidential(trace.trim_end());
    if error.is_instance_of::<pyo3::exceptions::PyImportError>(py) {
        let environment = settings::virtualenv().map(|p| p.display().to_string()).unwrap_or_default();
        let hint = format!("Mend the virtual environment: {environment}/bin/pip install 'trails[train]'");
        return told.hint(settings::veiled(hint));
    }
    told
}
