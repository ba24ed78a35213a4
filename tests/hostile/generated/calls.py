"""Calls made by rule: every argument NULL, every function on a bad source, every sort of model name, every metric."""

from __future__ import annotations

from tests.hostile.case import Case, answers, refused

_SPACE = {"space": "'mlp4x20'", "seed": "1"}
_ROWS = {"source": "'base'", "target": "'bought'"}
_SCORING = {"batch_size": "32", "tfmem": "'expressflow'"}

# Calls with every argument that must be given.
_ARGUMENTS = {
    "model_selection": _ROWS | _SPACE | _SCORING | {"budget": "'6 s'", "refinement": "'sh'"},
    "submit": _ROWS | _SPACE | _SCORING | {"budget": "'6 s'", "refinement": "'sh'"},
    "wait": {"run": "1"},
    "withdraw": {"run": "1"},
    "purge_runs": {"older_than": "'1 day'", "keep": "0", "with_models": "false"},
    "refinement_phase": _ROWS | _SPACE | {"architectures": "'{64-64-64-64}'", "budget": "'6 s'", "refinement": "'sh'"},
    "model_selection_workloads": _ROWS | _SPACE | _SCORING | {"n": "5", "k": "1", "refinement": "'sh'"},
    "profile_refinement": _ROWS | _SPACE,
    "filtering_phase": {"source": "'base'"} | _SPACE | _SCORING,
    "profile_filtering": {"source": "'base'"} | _SPACE | _SCORING,
    "coordinator": {
        "score_seconds": "1",
        "epoch_seconds": "1",
        "budget": "'60 s'",
        "only_phase1": "false",
        "space": "'mlp4x20'",
    },
    "resume": {"run": "1", "budget": "'6 s'"},
    "retrain": {"model": "'m'", "budget": "'6 s'", "deploy": "'never'"},
    "describe_columns": {"source": "'base'"},
    "benchmark_reading": {"source": "'base'", "repeats": "1", "reader": "'receiver'"},
    "benchmark_filtering_latency_in_db": {"n": "1", "dataset": "'base'", "batch_size": "8"},
    "profile_prediction": {"model": "'m'", "source": "'base'", "repeats": "1"},
    "evaluate": {"model": "'m'", "source": "'base'"},
    "confusion_matrix": {"model": "'m'", "source": "'base'"},
    "threshold_curve": {"model": "'m'", "source": "'base'"},
    "best_threshold": {"model": "'m'", "source": "'base'", "metric": "'f1'"},
    "feature_importance": {
        "model": "'m'",
        "source": "'base'",
        "repeats": "1",
        "sample_rows": "10",
        "seed": "1",
        "budget": "'1 s'",
    },
    "explain": {"model": "'m'", "source": "'base'", "samples": "2", "seed": "1"},
    "partial_dependence": {
        "model": "'m'",
        "source": "'base'",
        "feature": "'hour'",
        "points": "2",
        "sample_rows": "10",
        "seed": "1",
    },
    "drift": {"model": "'m'", "source": "'base'", "threshold": "0.1"},
    "export_model": {"model": "'m'", "format": "'safetensors'"},
    "import_model": {"name": "'x'", "weights": "trails.export_model('m')", "deploy": "true"},
    "grant_model": {"name": "'m'", "grantee": "'public'"},
    "revoke_model": {"name": "'m'", "grantee": "'public'"},
    "deploy": {"model": "'m'"},
    "rollback": {"name": "'m'"},
    "drop_model": {"model": "'m'", "all_versions": "true"},
    "drop_run": {"run": "1", "checkpoint_only": "false"},
    "encoding": {"model": "'m'"},
    "stop": {"run": "1"},
    "cancel": {"run": "1"},
}

# What NULL is not refused as an argument for.
_OTHERWISE = {
    ("resume", "run"): ("42704|22023", ""),
    ("export_model", "model"): ("42704|22023", ""),
    ("deploy", "model"): ("22023|42704", ""),
    ("drift", "model"): ("42704", ""),
    ("evaluate", "model"): ("42704", ""),
    ("confusion_matrix", "model"): ("42704", ""),
    ("threshold_curve", "model"): ("42704", ""),
    ("best_threshold", "model"): ("42704", ""),
    ("feature_importance", "model"): ("42704", ""),
    ("explain", "model"): ("42704", ""),
    ("partial_dependence", "model"): ("42704", ""),
    ("rollback", "name"): ("22023|42704", ""),
    ("revoke_model", "grantee"): ("22023|00000", ""),
    ("drop_model", "all_versions"): ("22023|42P08", ""),
    ("grant_model", "name"): ("22023", ""),
    ("revoke_model", "name"): ("22023", ""),
}


def _call(function: str, given: dict[str, str], missing: str) -> str:
    arguments = ", ".join(f"{name} => {'NULL' if name == missing else value}" for name, value in given.items())
    return f"SELECT * FROM trails.{function}({arguments})"


def _null(function: str, given: dict[str, str], name: str) -> Case:
    states, word = _OTHERWISE.get((function, name), ("22023", name))
    return refused(f"{function} with a {name} of NULL", _call(function, given, name), states, word)


NULLS = [_null(function, given, name) for function, given in _ARGUMENTS.items() for name in given]

# Functions that take a source, and what comes after it.
_ON_SOURCE = {
    "model_selection": ", 'bought', '6 s'",
    "refinement_phase": ", 'bought', '{64-64-64-64}', 1, '6 s'",
    "model_selection_workloads": ", 'bought', 5, 1",
    "profile_refinement": ", 'bought'",
    "filtering_phase": ", 'bought', n => 5",
    "profile_filtering": ", 'bought'",
    "describe_columns": "",
    "benchmark_reading": "",
}

_SOURCES = {
    "an index": ("'an_index'", "42809"),
    "an OID of nothing": ("4294967295::pg_catalog.oid", "42P01"),
    "an empty table": ("'empty_one'", "22000|42703|00000"),
    "a table without columns": ("'bare'", "22000|22023|42703|00000"),
    "a materialised view without rows": ("'not_filled'", "55000"),
}

SOURCES = [
    refused(f"{function} on {what}", f"SELECT * FROM trails.{function}({source}{rest})", states)
    for function, rest in _ON_SOURCE.items()
    for what, (source, states) in _SOURCES.items()
]

_NAMES = {
    "at": "'@'",
    "only a version": "'@1'",
    "version 0": "'m@0'",
    "a version of NULL": "'m@NULL'",
    "a version that is not there": "'m@77'",
    "a negative version": "'m@-1'",
    "a broken version": "'m@1.0'",
    "a version of 20 digits": "'m@99999999999999999999'",
    "a version of 200,000 digits": "'m@' || repeat('9', 200000)",
    "two versions": "'m@1@1'",
    "a role and nothing": "'postgres/'",
    "nobody's": "'/m'",
    "another role's": "'hostile_bob/m'",
    "a role's that is not there": "'nobody_at_all/m'",
    "10 MB": "repeat('m', 10000000)",
    "a pattern": "'m%'",
    "a capital": "'M'",
    "a padded name": "'m '",
    "quotes": "'\"m\"'",
    "a composed name": "'m' || chr(769)",
}

_BY_NAME = {
    "predicting with": "SELECT trails.predict_score({}, b) FROM base b LIMIT 1",
    "deploying": "SELECT * FROM trails.deploy({})",
    "finding": "SELECT * FROM trails.find_model({})",
    "dropping": "SELECT trails.drop_model({})",
    "exporting": "SELECT trails.export_model({})",
    "granting": "SELECT trails.grant_model({}, 'public')",
}

NAMES = [
    refused(f"{doing} a model called {what}", statement.format(name), "42704|22023", hint=True)
    for doing, statement in _BY_NAME.items()
    for what, name in _NAMES.items()
]

_EVERY_METRIC = """
SELECT count(*) FILTER (WHERE f.score IN ('NaN', 'Infinity', '-Infinity')), count(DISTINCT t.tfmem) > 15
FROM trails.tfmems() t, LATERAL trails.filtering_phase({}, 'bought', n => 10, k => 10, tfmem => t.tfmem::trails.tfmem) f
"""

_AWKWARD = """
CREATE TABLE awkward AS SELECT id, 0.5 AS level, CASE WHEN id % 20 = 0 THEN amount END AS mostly_null, hour,
    NULL::text AS nothing, bought FROM base LIMIT 40;
CREATE VIEW narrow AS SELECT hour, bought FROM base;
"""

METRICS = [
    answers(f"every metric on {what}, finite or NULL", _EVERY_METRIC.format(source), [(0, True)], preparing=_AWKWARD)
    for what, source in {"an awkward table": "'awkward'", "one column": "'narrow'"}.items()
]

CASES = NULLS + SOURCES + NAMES + METRICS
