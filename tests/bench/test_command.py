"""The commands from training to repeating, as they are typed."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trails.bench import protocol as protocols
from trails.bench.protocol import Protocol
from trails.cli import main


def test_a_benchmark_is_trained_scored_merged_and_repeated(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protocols, "PROTOCOLS", MappingProxyType({"small": protocol}))
    folder = ["--dataset", "small", "--folder", str(tmp_path)]

    def bench(action: str, *arguments: str) -> tuple[int, str]:
        status = main(["bench", action, *arguments, *folder])
        said = capsys.readouterr()
        return status, said.out if status == 0 else said.err

    assert bench("score")[0] == 2 and bench("merge")[0] == 2
    assert not (tmp_path / "small").exists()
    assert bench("train", "--architectures", "2", "--seeds", "1", "--processes", "1") == (0, "2 trained; 2 recorded\n")
    assert bench("score", "--tfmem", "jacflow", "--batch-seeds", "2", "--processes", "1") == (
        0,
        "6 scores computed\n",
    )
    assert bench("score", "--tfmem", "jacflow", "--batch-seeds", "2", "--processes", "1") == (
        0,
        "0 scores computed\n",
    )
    for action in ("score", "verify", "time"):
        assert bench(action, "--processes", "-1")[0] == 2
    assert bench("merge") == (0, "6 epochs recorded\n")
    status, said = bench("verify", "--architectures", "2", "--processes", "1")
    assert status == 0 and said.endswith("2 of 2 are as recorded\n") and "3 scores 0 off" in said

    file = tmp_path / "small" / "curve.parquet"
    table = pq.read_table(file)
    at = table.schema.get_field_index("test_auc")
    pq.write_table(table.set_column(at, "test_auc", pa.array(table["test_auc"].to_numpy() + 0.01)), file)
    status, said = bench("verify", "--architectures", "2", "--processes", "1")
    assert status == 1 and "2 of 2 repeated trainings are not what" in said
    assert bench("verify", "--architectures", "2", "--processes", "1", "--tolerance", "0.02")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "--dataset", "nothing"],
        ["score", "--dataset", "frappe", "--batch-seeds", "0"],
        ["score", "--dataset", "frappe", "--tfmem", "magic"],
        ["train", "--dataset", "frappe", "--device", "quantum"],
        ["train", "--dataset", "frappe", "--device", "cuda:99"],
        ["train", "--dataset", "frappe", "--seeds", "0"],
        ["train", "--dataset", "frappe", "--processes", "-1"],
        ["train", "--dataset", "frappe", "--stacked", "-2"],
        ["merge", "--dataset", "frappe"],
        ["verify", "--dataset", "frappe"],
        ["time", "--dataset", "frappe", "--architectures", "0"],
    ],
)
def test_bad_arguments_end_with_status_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments, "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("trails: ") and "Traceback" not in said
