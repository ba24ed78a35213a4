"""Repeated trainings and scores are those recorded, and what was tampered with is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.bench.records import made_up
from trails.bench.building import verify
from trails.bench.building.build import build
from trails.bench.building.score_all import score
from trails.bench.protocol import Protocol
from trails.bench.store import Store
from trails.errors import InvalidInput
from trails.tfmem import get_tfmem


def tamper(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    for part in (folder / "parts").glob(f"{name}-*.parquet"):
        pq.write_table(change(pq.read_table(part)), part)


def raised(column: str, by: float, where: str, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = np.array(table[where].to_pylist()) == value
        changed = np.where(rows, table[column].to_numpy() + by, table[column].to_numpy())
        at = table.schema.get_field_index(column)
        return table.set_column(at, column, pa.array(changed, table.schema.field(at).type))

    return change


def test_what_was_recorded_is_repeated_and_what_was_tampered_with_is_found(protocol: Protocol, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    build(protocol, folder, 3, seeds=(1,), processes=1)
    score(protocol, folder, tfmems=[get_tfmem("naswot"), get_tfmem("params")], processes=1)
    names = [one.architecture for one in verify.verify(protocol, folder, 3, processes=1)]
    assert len(set(names)) == 3
    # Far less than what two seeds differ by: AUCs of one curve, and scores of one architecture.
    tamper(folder, "curve", raised("valid_auc", 1e-5, "place", 1))
    tamper(folder, "score", raised("score", 1e-6, "place", 2))
    done = verify.verify(protocol, folder, 3, processes=1)
    assert [one.sound() for one in done] == [True, False, False]
    assert all(one.same_machine for one in done) and [one.scored for one in done] == [4, 4, 4]
    assert done[0].auc < 1e-7 and done[0].scores == 0.0
    assert done[1].auc == pytest.approx(1e-5, rel=0.1) and done[1].sound(1e-4)
    # Recorded elsewhere, digits may differ more.
    tamper(folder, "curve", lambda table: table.set_column(12, "machine", pa.array(["other, trails 1"] * len(table))))
    elsewhere = verify.verify(protocol, folder, 3, processes=1)
    assert all(one.sound() and not one.same_machine for one in elsewhere)
    tamper(folder, "curve", raised("test_auc", float("nan"), "epoch", 1))
    assert [one.auc for one in verify.verify(protocol, folder, 2, processes=1)] == [float("inf")] * 2
    tamper(folder, "curve", lambda table: table.filter(pc.field("epoch") < 3))
    assert not verify.verify(protocol, folder, 1, processes=1)[0].sound()


def test_some_are_drawn_by_seed_and_too_many_are_refused(tmp_path: Path) -> None:
    made_up(tmp_path / "small", 3, seeds=(1, 2))
    store = Store(tmp_path / "small")
    drawn = {seed: verify._chosen(store, 100, 2, seed) for seed in range(8)}
    assert drawn == {seed: verify._chosen(store, 100, 2, seed) for seed in range(8)}
    assert len({tuple(chosen) for chosen in drawn.values()}) > 1
    assert {training.seed for chosen in drawn.values() for training in chosen} == {1, 2}
    assert all(len({training.place for training in chosen}) == 2 for chosen in drawn.values())
    with pytest.raises(InvalidInput, match="4 architectures cannot be repeated of the 3"):
        verify._chosen(store, 100, 4, 0)


def test_what_was_recorded_in_a_stack_may_differ_as_stacks_do(protocol: Protocol, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    build(protocol, folder, 2, seeds=(1,), processes=1, stacked=2)
    tamper(folder, "curve", raised("valid_auc", 1e-3, "seed", 1))
    done = verify.verify(protocol, folder, 2, processes=1)
    assert [(one.same_machine, one.stacked, one.sound()) for one in done] == [(True, True, True)] * 2
    tamper(folder, "curve", raised("valid_auc", 0.05, "place", 1))
    assert [one.sound() for one in verify.verify(protocol, folder, 2, processes=1)] == [True, False]
