"""What pages ask of models: which there are, how good one is on rows that the user names, what it goes by.

The registry is read with ``pg_catalog`` as the whole search path. What reads the user's own relation runs along the
role's own search path, as its statements do, and names everything else with its schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trails import model_words
from trails.dashboard.database import Database, Found, Row, rows_of
from trails.errors import InvalidInput, TrailsError
from trails.table.judged import is_loss

_COLUMNS = """
m.model_id, m.name, m.version, pg_get_userbyid(m.owner) AS owner, m.run_id, m.state, m.task, m.architecture, m.source,
m.target, m.classes, m.metrics, m.created, m.deployed, m.threshold, m.owner = trails.caller() AS own
"""

# A model's name stands for its deployed version, else for the latest one.
_NAMES = f"""
SELECT * FROM (
    SELECT DISTINCT ON (m.owner, m.name) {_COLUMNS}, count(*) OVER (PARTITION BY m.owner, m.name) AS versions
    FROM trails.models m WHERE strpos(lower(m.name), lower(%s)) > 0
    ORDER BY m.owner, m.name, m.state = 'deployed' DESC, m.version DESC
) shown WHERE %s OR (NOT own, owner, name) > (%s, %s, %s) ORDER BY NOT own, owner, name LIMIT %s
"""

_VERSIONS = f"""
SELECT {_COLUMNS} FROM trails.models m WHERE m.name = %s AND (%s = '' OR pg_get_userbyid(m.owner) = %s)
ORDER BY m.version DESC
"""

_LEARNT_FROM = """
SELECT r.run_id, coalesce(r.source, m.made_of ->> 'source') AS source,
    coalesce(r.validation, m.made_of ->> 'validation') AS validation, m.relation, r.validation_relation,
    CASE WHEN r.run_id IS NULL THEN m.made_of END AS made_of
FROM trails.models m LEFT JOIN trails.runs r ON r.run_id = m.run_id WHERE m.model_id = %s
"""

# Functions of a view run as whoever reads it: a superuser is offered nothing that others may have made.
_OFFERED = """
SELECT CASE WHEN current_setting('is_superuser') = 'on' THEN coalesce(
    (SELECT c.relowner = trails.caller() FROM pg_class c WHERE c.oid = to_regclass(%s)), false
) ELSE true END AS offered
"""

_RELATION = """
SELECT c.oid::bigint AS oid, pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name,
    trails.relation_identity(c.oid::pg_catalog.regclass) AS identity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)
"""

_FACTS = "SELECT trails.training_facts(%s) AS facts"
_EVALUATE = "SELECT e.* FROM trails.evaluate(%s, %s::pg_catalog.oid::pg_catalog.regclass, %s, %s) e"
_CONFUSION = "SELECT c.* FROM trails.confusion_matrix(%s, %s::pg_catalog.oid::pg_catalog.regclass, %s, %s) c"
_THRESHOLDS = "SELECT t.* FROM trails.threshold_curve(%s, %s::pg_catalog.oid::pg_catalog.regclass, %s) t"
_IMPORTANCE = "SELECT i.* FROM trails.feature_importance(%s, %s::pg_catalog.oid::pg_catalog.regclass, %s) i"

PAGE = 50
"""Models of a list on one page."""

CLASSES_SHOWN = 30
"""Classes of a confusion matrix at most: more cannot be looked at."""


@dataclass(frozen=True)
class Judged:
    """How a version does on the rows of a relation.

    Attributes:
        version: Row of the registry.
        metrics: As of ``trails.evaluate``.
        confusion: As of ``trails.confusion_matrix``; empty for numbers and where there are too many classes.
        threshold: At which two classes were told apart; None: the likelier one was taken.
        thresholds: As of ``trails.threshold_curve``; empty but for two classes.
        importance: As of ``trails.feature_importance``, if it was asked for.
        learnt: ``trained``: these are rows that the model has learnt from; ``compared``: rows on which it was chosen;
            empty: neither is known of them.
        faults: What could not be found out, and why.
    """

    version: Row
    source: str
    metrics: list[Row] = field(default_factory=list)
    confusion: list[Row] = field(default_factory=list)
    threshold: float | None = None
    thresholds: list[Row] = field(default_factory=list)
    importance: list[Row] = field(default_factory=list)
    learnt: str = ""
    faults: tuple[TrailsError, ...] = ()


def list_models(database: Database, name: str = "", after: tuple[bool, str, str] | None = None) -> Found:
    """One row for every name, that of its deployed or latest version; ``versions`` says how many there are.

    Args:
        database: Where.
        name: What the names contain.
        after: Of the last one before: whether it is the role's own, its owner, and its name.

    Returns:
        The role's own first; one more than a page holds if there are more.
    """
    own, owner, last = after or (True, "", "")
    return database.find(_NAMES, name, after is None, not own, owner, last, PAGE + 1)


def versions(database: Database, name: str, owner: str = "") -> Found:
    """All versions of a model, the latest first; without ``owner`` the role's own, else the only other one's.

    Raises:
        InvalidInput: Several roles have a model of that name, none of them this one.
    """
    found = database.find(_VERSIONS, name, owner, owner)
    owners = {row["owner"] for row in found.rows}
    if len(owners) > 1:
        own = [row for row in found.rows if row["own"]]
        if not own:
            raise InvalidInput("several roles have a model of that name", hint="Go to it from the list of models.")
        return Found(own)
    return found


def learnt_from(database: Database, version: Row) -> Row | None:
    """What is known of the run that made a version; None if nothing is.

    ``run_id`` is None where the run is gone or another role's; then ``made_of`` is what the model keeps of it.
    ``source`` and ``validation`` are names that the relations had; ``relation`` and ``validation_relation`` tell which
    they are.
    """
    return database.find(_LEARNT_FROM, version["model_id"]).first


def said(database: Database, version: Row) -> list[str]:
    """What a version's file says of its networks and of whether the architecture mattered, in sentences."""
    found = database.find(_FACTS, full_name(version)).first
    return model_words.sentences(found["facts"] or {}) if found else []


def offered(database: Database, learnt: Row | None) -> list[tuple[str, str]]:
    """Relations to evaluate on that a page proposes, with what each is to the model."""
    found = []
    for column, said in (("validation", "the run's validation table"), ("source", "the rows it was trained on")):
        name = learnt[column] if learnt else None
        if name and (asked := database.find(_OFFERED, name).first) and asked["offered"]:
            found.append((name, said))
    return found


def judge(
    database: Database,
    version: Row,
    source: str,
    target: str | None = None,
    threshold: float | None = None,
    importance: bool = False,
) -> Judged:
    """How a version does on a relation.

    Args:
        database: Where.
        version: Row of the registry.
        source: Name of a relation, as the role's statements name it.
        target: The column to compare with; None: the one that the model predicts.
        threshold: Of two classes; None: the version's own.
        importance: Whether the columns' importance is asked for, too, which takes up to ten seconds.

    Raises:
        TrailsError: There is no such relation, or it cannot be evaluated on.
    """
    relation = _relation(database, source)
    named, oid = full_name(version), relation["oid"]
    metrics = database.rows(_EVALUATE, named, oid, target, threshold, own_path=True)
    parts: dict[str, Found] = {}
    if version["task"] != "regression" and len(version["classes"] or ()) <= CLASSES_SHOWN:
        parts["confusion"] = database.find(_CONFUSION, named, oid, target, threshold, own_path=True)
    if version["task"] == "binary":
        parts["thresholds"] = database.find(_THRESHOLDS, named, oid, target, own_path=True)
    if importance:
        parts["importance"] = database.find(_IMPORTANCE, named, oid, target, own_path=True)
    return Judged(
        version,
        relation["name"],
        metrics,
        threshold=version["threshold"] if threshold is None else threshold,
        learnt=_learnt(database, version, relation),
        faults=tuple(found.fault for found in parts.values() if found.fault is not None),
        **{name: found.rows for name, found in parts.items()},
    )


def compare(database: Database, pair: Sequence[Row], source: str) -> list[Judged]:
    """Two versions on the same rows: both statements see one state of the relation.

    Raises:
        TrailsError: There is no such relation, or it cannot be evaluated on.
    """
    relation = _relation(database, source)
    judged = []
    with database.reading(own_path=True) as cursor:
        for version in pair:
            named = full_name(version)
            metrics = rows_of(cursor, _EVALUATE, named, relation["oid"], None, None)
            confusion = []
            if version["task"] != "regression" and len(version["classes"] or ()) <= CLASSES_SHOWN:
                confusion = rows_of(cursor, _CONFUSION, named, relation["oid"], None, None)
            judged.append(Judged(version, relation["name"], metrics, confusion))
    return [
        Judged(one.version, one.source, one.metrics, one.confusion, learnt=_learnt(database, one.version, relation))
        for one in judged
    ]


def full_name(version: Row) -> str:
    """Of one version, whoever owns it, as the functions of the extension take it."""
    return f"{version['owner']}/{version['name']}@{version['version']}"


def _relation(database: Database, source: str) -> Row:
    found = database.rows(_RELATION, source, own_path=True)
    if not found:
        raise InvalidInput(
            "there is no such table or view",
            hint="Write it as in a statement: with its schema, and in quotes where it holds capitals.",
            sqlstate="42P01",
        )
    return found[0]


def _learnt(database: Database, version: Row, relation: Row) -> str:
    run = learnt_from(database, version)
    if run is None:
        return ""
    if relation["identity"] == run["relation"]:
        return "trained"
    return "compared" if run["validation_relation"] and relation["identity"] == run["validation_relation"] else ""


def matrix(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, list[Row]]]]:
    """A confusion matrix as a table has it: the predicted classes, and for each actual one its cells."""
    predicted = list(dict.fromkeys(row["predicted"] for row in rows))
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        lines.setdefault(row["actual"], {})[row["predicted"]] = row
    return predicted, [(actual, [cells[name] for name in predicted]) for actual, cells in lines.items()]


def side_by_side(pair: Sequence[Judged]) -> list[dict[str, Any]]:
    """Metrics of two versions: ``metric``, ``class``, ``values``, ``difference`` and ``better`` (0, 1 or None)."""
    right = {(row["metric"], row["class"]): row["value"] for row in pair[1].metrics}
    lines = []
    for row in pair[0].metrics:
        left, other = row["value"], right.get((row["metric"], row["class"]))
        difference = None if left is None or other is None else other - left
        better = None
        if difference and row["metric"] != "base_rate":
            better = int((difference > 0) != is_loss(row["metric"]))
        lines.append(
            {
                "metric": row["metric"],
                "class": row["class"],
                "values": (left, other),
                "difference": difference,
                "better": better,
            }
        )
    return lines
