//! The conversation with the refinement process: what it is sent, what it tells, and what counts as its end.
//!
//! It sends a sign of life every second. One that is silent for long has hung and is killed, so that the statement goes on
//! whatever happens to the process: with the best of what had finished, or with one error.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use crate::budget::{budget_to_try, end_of};
use crate::child::{self, Child, ChildMessage};
use crate::error::{Result, TrailsError};
use crate::limits::{
    EVENT_WAIT_SECONDS, FILES_IN_TURN, HEARTBEAT_SECONDS, SILENCE_BEFORE_READY_SECONDS, SILENCE_SECONDS,
    WRITTEN_A_SECOND,
};
use crate::protocol::{self, CellRow, Event, ProfileResult, Request};
use crate::reader::layout::TableLayout;
use crate::run_request::RunRequest;
use crate::run_so_far::RunSoFar;
use crate::watching::run::stop_asked;
use crate::watching::stopping::{heed, stopped, stopped_too_early};
use crate::{progress, settings};

/// A process that lives, and gets little of a busy machine, is not taken for one that hangs.
const _: () = assert!(5.0 * HEARTBEAT_SECONDS <= SILENCE_SECONDS);

/// The longest value that a column can hold.
const LONGEST_VALUE: u64 = 0x3fff_0000;

pub struct Refinement {
    child: Child,
    pub spawned: Instant,
    train: File,
    validation: File,
    checkpoints: [File; FILES_IN_TURN],
    models: [File; FILES_IN_TURN],
    resumed: Option<File>,
    /// When the statement began, and its budget in seconds.
    budget: Option<(Instant, f64)>,
    /// Seconds of the budget that were over when training was asked for.
    spent: Option<f64>,
    /// A guess at what reading, encoding and the least training take, for an error that names a budget.
    work_seconds: f64,
    ready: bool,
    silence: Duration,
}

/// Networks that were scored on pictures.
pub struct ScoredCells {
    /// The best, best first.
    pub rows: Vec<CellRow>,
    pub scored: i64,
    pub failed: i64,
    pub notices: Vec<String>,
}

impl Refinement {
    /// Starts the process; `resumed` holds the checkpoint that it is to go on from.
    pub fn start(virtualenv: &Path, budget: Option<(Instant, f64)>, resumed: Option<File>) -> Result<Self> {
        let (train, validation) = (child::memory_file("trails-train")?, child::memory_file("trails-validation")?);
        let (checkpoints, models) = (files_in_turn("trails-checkpoint")?, files_in_turn("trails-model")?);
        let files: Vec<&File> =
            [&train, &validation].into_iter().chain(&checkpoints).chain(&models).chain(&resumed).collect();
        let spawned = Instant::now();
        let child = Child::start(virtualenv, settings::refinement_threads(), &files)?;
        let (spent, ready, silence) = (None, false, Duration::ZERO);
        Ok(Self {
            child,
            spawned,
            train,
            validation,
            checkpoints,
            models,
            resumed,
            budget,
            spent,
            work_seconds: 0.0,
            ready,
            silence,
        })
    }

    /// The files for the training and the validation columns, with their descriptors in the process.
    pub fn columns(&self) -> ((&File, i32), (&File, i32)) {
        ((&self.train, self.train.as_raw_fd()), (&self.validation, self.validation.as_raw_fd()))
    }

    /// Tells where the rows lie and what is asked of them; `aside` are columns that are no features, and `deadline` is on
    /// the clock that `started` is on.
    pub fn send_rows(
        &mut self,
        request: &RunRequest,
        aside: &[&str],
        started: f64,
        deadline: Option<f64>,
        train: &TableLayout,
        validation: Option<&TableLayout>,
    ) -> Result<()> {
        let ray_address = settings::ray_address();
        let cells = [Some(train), validation].into_iter().flatten().map(TableLayout::cells).sum();
        self.work_seconds = request.work_seconds(train.rows as f64, cells);
        self.send(&Request::Rows(protocol::RowsRequest {
            target: &request.target,
            seed: request.seed,
            started,
            budget: request.budget,
            deadline,
            device: &settings::device(),
            threads: settings::refinement_threads(),
            memory_limit: settings::refinement_memory_limit(),
            ray_address: ray_address.as_deref(),
            ray_gpus: settings::ray_gpus(),
            checkpoints: descriptors(&self.checkpoints),
            models: request.name.as_ref().map(|_| descriptors(&self.models)),
            task: request.task.as_deref(),
            split: request.by.split.as_deref(),
            group_by: request.by.group_by.as_deref(),
            time_by: request.by.time_by.as_deref(),
            weight: request.by.weight.as_deref(),
            aside,
            metric: request.metric.as_deref(),
            options: &request.options(),
            train,
            validation,
        }))
    }

    /// The checkpoint to go on from, as the process finds it.
    pub fn resume(&self) -> Result<Option<protocol::Resume>> {
        let Some(file) = &self.resumed else { return Ok(None) };
        Ok(Some(protocol::Resume { fd: file.as_raw_fd(), length: file.metadata()?.len() }))
    }

    /// Has candidates trained until the result, the end of the budget, or a fault. A fault after the first trained epoch
    /// is returned; one before it is an error.
    pub fn refine(&mut self, request: protocol::RefineRequest<'_>, told: &mut RunSoFar) -> Result<Option<TrailsError>> {
        self.spent = self.budget.map(|(began, _)| began.elapsed().as_secs_f64());
        let outcome = heed(|| self.send(&Request::Refine(request))).and_then(|()| self.follow(told));
        self.child.end();
        match outcome {
            Ok(()) => Ok(None),
            Err(fault) if told.best().is_some() => Ok(Some(fault)),
            Err(fault) if fault == stopped() => Err(stopped_too_early()),
            Err(fault) => Err(fault),
        }
    }

    /// Has the training of architectures timed.
    pub fn profile(&mut self, request: protocol::ProfileRequest<'_>) -> Result<ProfileResult> {
        self.send(&Request::Profile(request))?;
        loop {
            match self.event()? {
                Event::Profile(profiled) => {
                    self.child.end();
                    return Ok(profiled);
                }
                event => RunSoFar::default().note(event),
            }
        }
    }

    /// Has networks scored on pictures until the result, the end of the budget, or a fault, which is an error.
    pub fn score(&mut self, request: protocol::CellsRequest<'_>) -> Result<ScoredCells> {
        let reading = self.budget.map(|(began, _)| began.elapsed().as_secs_f64());
        let outcome = self.send(&Request::Cells(request)).and_then(|()| self.follow_scores());
        self.child.end();
        outcome.map_err(|fault| match reading {
            Some(seconds) if fault.code == PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED => fault
                .detail(format!("Reading took {seconds:.1} s of it; what was left did not hold the scoring of one.")),
            _ => fault,
        })
    }

    fn follow_scores(&mut self) -> Result<ScoredCells> {
        let mut best = Vec::new();
        loop {
            match self.event()? {
                Event::Ranked { rows } => best.extend(rows),
                Event::Progress { done, total } => progress::scored(done, total),
                Event::Scored { scored, failed, notices } => {
                    return Ok(ScoredCells { rows: best, scored, failed, notices });
                }
                event => RunSoFar::default().note(event),
            }
        }
    }

    /// The best model, for the registry; an error if none was written.
    pub fn model(&self, told: &RunSoFar) -> Result<Vec<u8>> {
        let none = || match &told.unkept {
            Some(reason) => TrailsError::external(format!("the refinement process could not write it: {reason}")),
            None => TrailsError::external("the refinement process has written no model")
                .hint("A run that is cut before its first rung ends has none; give it a larger budget."),
        };
        let written = told.model.as_ref().ok_or_else(none)?;
        if let Some(reason) = &told.unkept {
            TrailsError::warning("the model kept is the best of an earlier rung, not the winner of the last")
                .detail(format!("The refinement process could not write that: {reason}"))
                .warn();
        }
        let file = self.models.get(written.which).ok_or_else(none)?;
        if written.length > LONGEST_VALUE {
            return Err(TrailsError::external(format!(
                "the model of {:.0} MB is more than a column holds",
                written.length as f64 / 1e6
            ))
            .hint("Fewer categories make a smaller one: options => '{\"max_categories\": 1000}'."));
        }
        read_beginning(file, written.length)
    }

    /// The survivors of the last finished rung, for the catalogue; None, and a warning, if they cannot be kept.
    pub fn checkpoint(&self, told: &RunSoFar) -> Option<(i32, Vec<u8>)> {
        let saved = told.checkpoint?;
        let read = || -> Result<Vec<u8>> {
            let file =
                self.checkpoints.get(saved.which).ok_or_else(|| TrailsError::external("there is no such file"))?;
            self.check_room(saved.length)?;
            read_beginning(file, saved.length)
        };
        read().map_err(|error| cannot_be_kept(&error)).ok().map(|bytes| (saved.rung, bytes))
    }

    /// Whether the checkpoint that the process went on from can be kept for the new run too.
    pub fn keeps_resumed(&self) -> bool {
        let length = self.resumed.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |m| m.len());
        self.check_room(length).map_err(|error| cannot_be_kept(&error)).is_ok()
    }

    /// Refuses a checkpoint that no column holds, or that cannot be written within what is promised of the budget.
    fn check_room(&self, length: u64) -> Result<()> {
        let megabytes = length as f64 / 1e6;
        if length > LONGEST_VALUE {
            return Err(TrailsError::external(format!("its {megabytes:.0} MB are more than a column holds")));
        }
        let late = self.budget.is_some_and(|(began, budget)| {
            began.elapsed().as_secs_f64() + length as f64 / WRITTEN_A_SECOND > budget * 1.05 + 0.5
        });
        if late {
            return Err(TrailsError::external(format!("writing its {megabytes:.0} MB would exceed the budget")));
        }
        Ok(())
    }

    fn send(&mut self, request: &Request<'_>) -> Result<()> {
        let until = Instant::now() + self.longest_silence();
        let until = self.limit().map_or(until, |limit| until.min(limit));
        if self.child.send(request, until)? {
            return Ok(());
        }
        Err(if self.is_late() { self.late() } else { self.hung() })
    }

    /// Listens until the result.
    fn follow(&mut self, told: &mut RunSoFar) -> Result<()> {
        loop {
            match self.event()? {
                Event::Result { leaderboard, complete, timings, unkept } => {
                    told.unkept = unkept;
                    told.leaderboard = leaderboard;
                    told.complete = complete;
                    told.timings = timings;
                    return Ok(());
                }
                event => told.note(event),
            }
        }
    }

    /// The next event but signs of life. Whatever ends the conversation is an error.
    fn event(&mut self) -> Result<Event> {
        let patience = Duration::from_secs_f64(EVENT_WAIT_SECONDS);
        loop {
            if stop_asked() {
                return Err(stopped());
            }
            let waiting = Instant::now();
            match self.child.next(patience)? {
                ChildMessage::Event(Event::Error(failure)) => return Err(failure.into()),
                ChildMessage::Event(event) => {
                    self.silence = Duration::ZERO;
                    self.ready |= matches!(event, Event::Ready { .. });
                    let last = matches!(
                        event,
                        Event::Result { .. } | Event::Profile(_) | Event::Scored { .. } | Event::Ranked { .. }
                    );
                    if last || !(matches!(event, Event::Alive {}) || self.is_late()) {
                        return Ok(event);
                    }
                }
                ChildMessage::Gone => return Err(self.child.death()),
                ChildMessage::Nothing => {
                    // A backend that was stopped itself, or slept with the machine, must not blame the process.
                    self.silence += waiting.elapsed().min(2 * patience);
                    if self.silence >= self.longest_silence() {
                        return Err(self.hung());
                    }
                }
            }
            if self.is_late() {
                return Err(self.late());
            }
        }
    }

    fn longest_silence(&self) -> Duration {
        Duration::from_secs_f64(if self.ready { SILENCE_SECONDS } else { SILENCE_BEFORE_READY_SECONDS })
    }

    /// A process that does not answer in time is not waited for: the budget is kept without it.
    fn limit(&self) -> Option<Instant> {
        self.budget.map(|(began, budget)| end_of(began, budget))
    }

    fn is_late(&self) -> bool {
        self.limit().is_some_and(|limit| Instant::now() > limit)
    }

    fn hung(&mut self) -> TrailsError {
        let seconds = self.longest_silence().as_secs();
        self.child.kill();
        let error = TrailsError::external(format!("the refinement process hung: no sign of life for {seconds} s"));
        self.child.with_log(error)
    }

    fn late(&mut self) -> TrailsError {
        let budget = self.budget.map_or(0.0, |(_, budget)| budget);
        self.child.kill();
        let error = TrailsError::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!("the refinement process gave no result within the budget of {budget} s"),
        );
        let error = match self.spent {
            Some(spent) => error.detail(format!(
                "Reading, waiting for locks and filtering had taken {spent:.1} s of it when training was to begin."
            )),
            None => error.detail("Reading and waiting for locks took all of it."),
        };
        error.hint(format!(
            "Try budget => '{} s'.",
            budget_to_try(budget, self.spent.unwrap_or(budget), self.work_seconds)
        ))
    }
}

/// Memory that the process writes to in turn.
fn files_in_turn(name: &str) -> Result<[File; FILES_IN_TURN]> {
    let files: Result<Vec<File>> = (0..FILES_IN_TURN).map(|n| child::memory_file(&format!("{name}-{n}"))).collect();
    Ok(files?.try_into().expect("there are as many"))
}

fn descriptors(files: &[File; FILES_IN_TURN]) -> [i32; FILES_IN_TURN] {
    files.each_ref().map(|file| file.as_raw_fd())
}

/// The first bytes of a file that the process has written. A failed allocation must not cost the backend.
fn read_beginning(file: &File, length: u64) -> Result<Vec<u8>> {
    let there = file.metadata()?.len();
    if there < length {
        return Err(TrailsError::external(format!("{there} bytes were written where {length} were told")));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize).map_err(|_| {
        let message = format!("the backend has no memory for its {:.0} MB", length as f64 / 1e6);
        TrailsError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, message)
    })?;
    bytes.resize(length as usize, 0);
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn cannot_be_kept(error: &TrailsError) {
    TrailsError::warning(format!("the checkpoint of the last finished rung cannot be kept: {}", error.message))
        .hint("Without it this run cannot be resumed.")
        .warn();
}
