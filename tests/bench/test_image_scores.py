"""Pictures read and put into batches; recorded cells scored on them, on and on."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.refinement.backend import PYTHON_ROOT
from tools.ray_nodes import Nodes
from trails.bench.image import score_table as image_score_table
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.pictures import read_pictures
from trails.bench.image.scores import score
from trails.bench.image.store import ImageSetting, write
from trails.cli import main
from trails.errors import InvalidInput, UnusableData
from trails.family.cell import nasbench201
from trails.family.cell.networks import measures_of
from trails.family.cell.pixels import DEVIATION, MEAN
from trails.filtering.pool import combine_ranks
from trails.space import picture_space
from trails.tfmem import parse_tfmems

SPACE = picture_space("nasbench201")
# The second and the third are isomorphic: an edge that nothing comes to may do anything.
DESIGNS = ((3, 3, 4, 1, 3, 1), (1, 2, 0, 0, 0, 3), (1, 0, 2, 0, 0, 3), (4, 2, 1, 2, 1, 1))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An archive of 80 pictures of 8 x 8 pixels, in two classes of every split."""
    generator = np.random.default_rng(0)
    with tarfile.open(tmp_path / "pictures.tar.xz", "w:xz") as archive:
        for split, count in (("train", 40), ("test", 3)):
            for number in range(count):
                for name in ("cat", "bird"):
                    content = io.BytesIO()
                    Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(content, "png")
                    member = tarfile.TarInfo(f"./{split}/{name}/{number:04}.png")
                    member.size = len(content.getvalue())
                    content.seek(0)
                    archive.addfile(member, content)
    return tmp_path / "pictures.tar.xz"


@pytest.fixture
def benchmark(tmp_path: Path) -> ImageBenchmark:
    """Four cells of which two are scored as one."""
    architectures, accuracies, published = [], [], []
    for place, design in enumerate(DESIGNS):
        index, text = SPACE.index(design), SPACE.format(design)
        counts = {"parameters": nasbench201.parameters(design), "flops": nasbench201.flops(design)}
        architectures.append({"index": index, "published": str(place), "architecture": text, **counts})
        what = {"dataset": "c10", "epochs": 200, "split": "valid", "runs": "one", "seconds": None}
        accuracies.append({"index": index, "accuracy": 90.0 + place, **what})
        if place == 0:
            what = {"dataset": "c10", "tfmem": "synflow", "score": 1.0, "seconds": 1.0}
            published.append({"row": 0, "index": index, **what})
    tables = {"architecture": architectures, "accuracy": accuracies, "published_score": published}
    write(tmp_path / "nasbench201", ImageSetting("nasbench201", {}), tables)
    return ImageBenchmark(tmp_path / "nasbench201")


def test_pictures_are_read_by_split_and_standardised(pictures: Path, tmp_path: Path) -> None:
    found = read_pictures(pictures)
    assert found.pixels.shape == (80, 3, 8, 8) and found.names == ("bird", "cat")
    assert found.classes.tolist() == [0] * 40 + [1] * 40
    assert read_pictures(pictures, "test").pixels.shape == (6, 3, 8, 8)
    with tarfile.open(pictures) as archive:
        for member in archive.getmembers():
            archive.extract(member, tmp_path / "folder")
    np.testing.assert_array_equal(read_pictures(tmp_path / "folder").pixels, found.pixels)
    batch = found.batch(32, 7)
    assert (batch.x.shape, batch.task, batch.classes) == ((32, 192), "multiclass", 2)
    red = batch.x.reshape(32, 3, 8, 8)[:, 0] * DEVIATION[0] + MEAN[0]
    assert all(any(np.allclose(255 * picture, other) for other in found.pixels[:, 0]) for picture in red)
    np.testing.assert_array_equal(batch.x, found.batch(32, 7).x)
    assert not np.array_equal(batch.x, found.batch(32, 8).x)
    with pytest.raises(InvalidInput, match="a batch of 81 cannot be taken of 80"):
        found.batch(81, 1)


def test_pictures_are_resized_by_area_or_by_lines(pictures: Path) -> None:
    found = read_pictures(pictures)
    half = found.resized(4)
    assert half.pixels.shape == (80, 3, 4, 4) and half.names == found.names and half.classes is found.classes
    means = found.pixels.reshape(80, 3, 4, 2, 4, 2).astype(float).mean((3, 5))
    assert np.abs(half.pixels - means).max() <= 1.0
    twice = found.resized(16).pixels
    assert twice.shape == (80, 3, 16, 16)
    # The corners are those of the picture; between its pixels nothing is brighter or darker than its neighbours.
    np.testing.assert_array_equal(twice[..., 0, 0], found.pixels[..., 0, 0])
    assert (twice.max((2, 3)) <= found.pixels.max((2, 3))).all() and (
        twice.min((2, 3)) >= found.pixels.min((2, 3))
    ).all()
    assert found.resized(8) is found
    with pytest.raises(InvalidInput, match="a side of one pixel or more, not 0"):
        found.resized(0)


def test_pictures_that_do_not_do_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "cat"
    folder.mkdir(parents=True)
    with pytest.raises(InvalidInput, match="holds no pictures of 'train'"):
        read_pictures(tmp_path)
    Image.new("RGB", (8, 8)).save(folder / "0.png")
    Image.new("RGB", (9, 9)).save(folder / "1.png")
    with pytest.raises(UnusableData, match="have different sizes") as refused:
        read_pictures(tmp_path)
    assert "train/cat/0.png has 8 pixels a side, train/cat/1.png 9" in (refused.value.detail or "")
    for wrong in (Image.new("L", (8, 8)), Image.new("RGBA", (8, 8)), Image.new("RGB", (8, 9))):
        wrong.save(folder / "1.png")
        with pytest.raises(UnusableData, match=r"1\.png of .* is not square with three channels"):
            read_pictures(tmp_path)
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes()[:40])
    with pytest.raises(UnusableData, match=r"picture train/cat/1\.png of .* cannot be decoded"):
        read_pictures(tmp_path)
    for side in (60_000, 0):
        # It says of itself that it has billions of pixels, or none.
        head = b"IHDR" + struct.pack(">II5B", side, side, 8, 2, 0, 0, 0)
        forged = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        (folder / "1.png").write_bytes(forged)
        with pytest.raises(UnusableData, match=r"picture train/cat/1\.png of .* cannot be decoded"):
            read_pictures(tmp_path)
    with pytest.raises(InvalidInput, match="there is no"):
        read_pictures(tmp_path / "nowhere")
    (tmp_path / "some.tar").write_text("nothing")
    with pytest.raises(UnusableData, match="is no archive of pictures"):
        read_pictures(tmp_path / "some.tar")


def test_cells_are_scored_on_and_on_and_isomorphic_ones_once(pictures: Path, benchmark: ImageBenchmark) -> None:
    read, metrics = read_pictures(pictures), parse_tfmems("jacflow")
    with pytest.raises(UnusableData, match=r"no cell of .* was scored by 'naswot'"):
        benchmark.scores("jacflow")
    assert score(benchmark, read, metrics, cells=1) == 1
    assert np.isfinite(benchmark.scores("naswot")).sum() in (1, 2)
    assert score(benchmark, read, metrics, cells=99) == 2
    assert score(benchmark, read, metrics, cells=99) == 0
    assert image_score_table.compact(benchmark.folder) == 2 * 3
    assert score(benchmark, read, parse_tfmems("snip+naswot"), cells=99) == 3, "another metric is missing"
    alike = [benchmark.architectures.index(SPACE.format(design)) for design in DESIGNS[1:3]]
    for name in ("naswot", "synflow", "snip"):
        scores = benchmark.scores(name)
        assert scores.shape == (4,) and np.isfinite(scores).all() and scores[alike[0]] == scores[alike[1]]
        first = benchmark.architectures.index(SPACE.format(DESIGNS[0]))
        index = int(SPACE.representatives[SPACE.index(DESIGNS[0])])  # type: ignore[attr-defined]
        measures = measures_of("nasbench201", SPACE.architecture(index), 1, 192, [read.batch(32, 10)])
        # Sums depend on the number of threads, in their last digits.
        assert scores[first] == pytest.approx(measures.of(name), rel=1e-5)
    both = combine_ranks([benchmark.scores("naswot"), benchmark.scores("synflow")], ["higher", "higher"])
    np.testing.assert_array_equal(benchmark.scores("jacflow"), both)
    assert benchmark.scores("params").tolist() == [benchmark.parameters(text) for text in benchmark.architectures]
    assert benchmark.scores("flops").tolist() == [benchmark.flops(text) for text in benchmark.architectures]
    assert benchmark.scoring_seconds("jacflow") > benchmark.scoring_seconds("synflow") > 0
    with pytest.raises(UnusableData, match="with seed 2"):
        benchmark.scores("naswot", batch_seed=2)
    with pytest.raises(InvalidInput, match="are counted, not scored"):
        score(benchmark, read, parse_tfmems("params+flops"), cells=1)
    for cells, processes in ((0, 1), (-1, 1), (1, -1)):
        with pytest.raises(InvalidInput, match="cannot be scored"):
            score(benchmark, read, metrics, cells=cells, processes=processes)


def test_the_command_scores(
    pictures: Path, benchmark: ImageBenchmark, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["bench", "score-cells", "--dataset", "nasbench201", "--folder", str(benchmark.folder.parent)]
    arguments += ["--processes", "1", "--tfmem", "zen+zico", "--published"]
    assert main([*arguments, "--pictures", str(pictures)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1 cells scored; 2 scores\n" and "1 of 1 cells scored" in captured.err
    assert np.isfinite(benchmark.scores("zen")).any() and np.isfinite(benchmark.scores("zico")).any()
    monkeypatch.delenv("TRAILS_DATA", raising=False)
    assert main(arguments) == 2
    assert "no pictures are named" in capsys.readouterr().err


def test_a_cluster_scores_as_this_machine_does_and_is_asked_for_what_is_missing_alone(
    pictures: Path, benchmark: ImageBenchmark, tmp_path: Path
) -> None:
    here = ImageBenchmark(shutil.copytree(benchmark.folder, tmp_path / "here" / "nasbench201"))
    assert score(here, read_pictures(pictures), parse_tfmems("naswot+synflow+zico"), cells=99) == 3
    assert score(benchmark, read_pictures(pictures), parse_tfmems("naswot"), cells=1) == 1
    # Ray wants a process of its own: it changes the working folder and starts threads.
    command = [sys.executable, "-m", "trails", "bench", "score-cells", "--dataset", "nasbench201"]
    command += ["--folder", str(benchmark.folder.parent), "--pictures", str(pictures), "--tfmem", "naswot+synflow+zico"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Nodes((1, 1), environment={"PYTHONPATH": str(PYTHON_ROOT)}) as nodes:
        for said in ("3 cells scored; 9 scores", "0 cells scored; 9 scores"):
            arguments = [*command, "--ray-address", nodes.address]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=240)
            assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr
            assert "UserWarning" not in done.stderr, done.stderr
    for name in ("naswot", "synflow", "zico"):
        # Sums depend on the processor, in their last digits.
        np.testing.assert_allclose(benchmark.scores(name), here.scores(name), rtol=1e-5)


def test_an_address_of_a_cluster_that_is_none_is_told(pictures: Path, benchmark: ImageBenchmark) -> None:
    with pytest.raises(InvalidInput, match="is not the address of a Ray cluster"):
        score(benchmark, read_pictures(pictures), parse_tfmems("naswot"), cells=1, ray_address="nowhere")
