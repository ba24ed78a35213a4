"""`trails.filtering_phase` on pictures that lie in the database: as the core scores them, as the caller reads them."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.sql.stub import Stub
from tests.sql.tables import children, query, runs, shared_memory, wait_until
from tests.sql.test_filtering_phase import refused
from tests.sql.test_interrupts import Running
from tests.timing import within
from trails.family.cell.pixels import DEVIATION, MEAN
from trails.filtering.cells import deal
from trails.space import picture_space
from trails.tfmem import parse_tfmems
from trails.tfmem.registry import ZEN

Pixels = NDArray[np.uint8]

SIDE, COUNT, CLASSES = 8, 40, ("bird", "cat", "dog")
QUICK = "space => 'nasbench201', tfmem => 'naswot', n => 2, batch_size => 8"
LONG = "SELECT * FROM trails.filtering_phase('pics', 'label', space => 'nasbench201', tfmem => 'jacflow', n => 15000)"
COLUMNS = "architecture, score, scores, parameters, flops, seconds"


def noise(count: int = COUNT, side: int = SIDE) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (count, 3, side, side), np.uint8)


def encoded(pixels: Pixels, form: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).convert(mode).save(file, form)
    return file.getvalue()


def fill(session: Any, table: str, rows: list[tuple[Any, ...]], picture: str = "bytea", label: str = "text") -> None:
    """A table of id, image and label."""
    query(session, f"CREATE TABLE {table} (id int PRIMARY KEY, image {picture}, label {label})")
    with session.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)", rows)


def usual(count: int = COUNT, side: int = SIDE) -> list[tuple[Any, ...]]:
    return [(i + 1, encoded(picture), CLASSES[i % 3]) for i, picture in enumerate(noise(count, side))]


# The process's own way to a batch, which it tells instead of scoring: PyTorch takes seconds to be imported.
READ = """
import numpy as np
from trails.errors import TrailsError
from trails.filtering.cells import deal, metrics_of
from trails.refinement.cells import read_pictures
from trails.refinement.protocol import Events, parse_first

ready()
request = parse_first(json.dumps(receive()))
try:
    labels = np.array([picture.label for picture in request.pictures])
    asked = request.filtering
    pictures = read_pictures(request)
    batches, notices = deal(pictures, labels, request.classes, metrics_of(asked), asked.batch_size, asked.seed)
    x = batches[0].x
    told = {"sums": (x * np.linspace(1, 2, x.shape[1])).sum(1).tolist(), "labels": batches[0].y.tolist(),
            "classes": batches[0].classes}
    send("scored", scored=0, failed=0, notices=[*notices, "read " + json.dumps(told)])
except TrailsError as error:
    Events.to_fd(1).error(error)
"""


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    """A superuser's session in a database with 40 PNGs of three classes, whose scores need no more than one core."""
    connection = connect()
    query(connection, "SET trails.refinement_threads = 1")
    fill(connection, "pics", usual())
    return connection


@pytest.fixture
def reading(session: Any, stub: Stub) -> Any:
    """The same, with processes that read and do not score."""
    query(session, "SET trails.virtualenv = %s", str(stub.path))
    stub.script(READ)
    return session


def ranked(session: Any, arguments: str, source: str = "pics") -> list[tuple[Any, ...]]:
    session.notices.clear()
    return query(session, f"SELECT {COLUMNS} FROM trails.filtering_phase('{source}', 'label', {arguments})")


def told(session: Any) -> str:
    return "".join(session.notices)


def read(session: Any, arguments: str = QUICK, source: str = "pics") -> dict[str, Any]:
    """The batch that cells would be scored on."""
    assert ranked(session, arguments, source) == []
    batch: dict[str, Any] = json.loads(told(session).split("NOTICE:  read ")[1].splitlines()[0])
    return batch


def refusal(session: Any, arguments: str = QUICK, source: str = "pics", target: str = "'label'") -> tuple[str, str]:
    return refused(session, f"SELECT * FROM trails.filtering_phase('{source}', {target}, {arguments})")


@pytest.mark.parametrize(("space", "tfmem"), [("nasbench201", "naswot+synflow+snip+zen"), ("nasbench101", "jacflow")])
def test_scores_are_those_of_the_core(session: Any, space: str, tfmem: str) -> None:
    arguments = f"space => '{space}', tfmem => '{tfmem}', n => 4, k => 4, batch_size => 20, seed => 5"
    rows = ranked(session, arguments + ", sampler => 'random'")
    cells, metrics = picture_space(space), parse_tfmems(tfmem, (ZEN,))
    flat = np.stack([(p / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(DEVIATION, (3, 1, 1)) for p in noise()])
    # All pictures are drawn, because there are no more; classes are numbered by the alphabet.
    (batch,), _ = deal(flat.reshape(COUNT, -1), np.arange(COUNT) % 3, 3, metrics, 20, 5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for architecture, _, scores, parameters, flops, seconds in rows:
            design = cells.parse(architecture)
            assert cells.format(design) == architecture and seconds > 0
            own = cells.family.scoring.initialise(metrics, design, 3 * SIDE * SIDE, 5)
            for metric in metrics:
                assert scores[metric.name] == pytest.approx(own(metric, [batch]), rel=1e-4)
            assert (parameters, flops) == (cells.parameters(design, 192), cells.flops(design, 192))
    finally:
        torch.set_num_threads(threads)
    assert {cells.index(cells.parse(row[0])) for row in rows} == set(cells_drawn(space, 4, 5))
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert "40 of 40 pictures of 3 classes were drawn" in told(session)
    assert f"4 architectures scored by {tfmem}" in told(session)


def cells_drawn(space: str, n: int, seed: int) -> list[int]:
    from trails.filtering.samplers import make_sampler

    return make_sampler("random", picture_space(space), seed, lambda index: 0.0).ask(n)


def test_the_form_of_pictures_does_not_matter(reading: Any) -> None:
    pixels = noise()
    standard = (pixels / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(DEVIATION, (3, 1, 1))
    number = {name: place for place, name in enumerate(CLASSES)}
    forms: dict[str, tuple[str, list[Any]]] = {
        "raw": ("bytea", [p.tobytes() for p in pixels]),
        "shorts": ("smallint[]", [p.ravel().tolist() for p in pixels]),
        "cubes": ("integer[]", [p.tolist() for p in pixels]),
        "reals": ("real[]", [p.tolist() for p in standard]),
        "doubles": ("double precision[]", [p.ravel().tolist() for p in standard]),
    }
    expected = read(reading)
    assert expected["classes"] == 3 and set(expected["labels"]) == {0, 1, 2}
    for name, (kind, pictures) in forms.items():
        # Labels that are numbers in the same order are the same classes.
        rows = [(i + 1, picture, 10 * number[CLASSES[i % 3]] - 10) for i, picture in enumerate(pictures)]
        fill(reading, name, rows, kind, "bigint")
        found = read(reading, source=name)
        assert found["sums"] == pytest.approx(expected["sums"], rel=1e-4) and found["labels"] == expected["labels"]


@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        ("int", [-5, 10, 9], [0, 2, 1]),
        ("text", ["-5", "10", "9"], [0, 1, 2]),
        ("char(5)", ["b ", "a", "b"], [1, 0, 1]),
        ("boolean", [True, False, True], [1, 0, 1]),
        ("label_of_pictures", ["x", "b", "x"], [1, 0, 1]),
    ],
)
def test_labels_are_numbered_in_their_order(reading: Any, kind: str, labels: list[Any], classes: list[int]) -> None:
    query(reading, "CREATE TYPE label_of_pictures AS ENUM ('x', 'b')")
    fill(reading, "three", [(i, p.tobytes(), labels[i]) for i, p in enumerate(noise(3))], label=kind)
    found = read(reading, QUICK.replace("8", "3"), "three")
    assert found["classes"] == len(set(classes)) and sorted(found["labels"]) == sorted(classes)


def test_classes_are_those_of_the_whole_table(reading: Any) -> None:
    query(reading, "INSERT INTO pics SELECT 100 + i, image, 'c' || i FROM pics, generate_series(1, 300) i WHERE id = 1")
    assert read(reading)["classes"] == 303
    assert "16 of 340 pictures of 303 classes were drawn" in told(reading)


def test_the_seed_decides_which_pictures_are_drawn(reading: Any) -> None:
    query(reading, "CREATE VIEW many AS SELECT p.* FROM pics p, generate_series(1, 3)")
    first, again, other = (read(reading, f"{QUICK}, seed => {seed}", "many") for seed in (1, 1, 2))
    assert first == again and set(first["sums"]) != set(other["sums"])
    assert "16 of 120 pictures" in told(reading)


def test_any_relation_holds_pictures(reading: Any) -> None:
    expected = read(reading)
    made = {
        "view": "CREATE VIEW other AS SELECT * FROM pics",
        "materialized view": "CREATE MATERIALIZED VIEW other AS SELECT * FROM pics",
        "partitioned table": "CREATE TABLE other (extra int, label text, image bytea, id int) PARTITION BY RANGE (id);"
        "CREATE TABLE low (id int, image bytea, label text, extra int);"
        "ALTER TABLE other ATTACH PARTITION low FOR VALUES FROM (0) TO (20);"
        "CREATE TABLE high PARTITION OF other FOR VALUES FROM (20) TO (100);"
        "INSERT INTO other SELECT 1, label, image, id FROM pics",
        "domain": "CREATE DOMAIN picture AS bytea; CREATE TABLE other (image picture, label varchar(9));"
        "INSERT INTO other SELECT image, label FROM pics",
    }
    for kind, statements in made.items():
        query(reading, statements)
        # Which are drawn depends on the order of the rows, which is the same in all of these.
        assert read(reading, source="other") == expected, kind
        query(reading, f"DROP {kind if kind in ('view', 'materialized view') else 'table'} other CASCADE")


def test_pictures_are_fetched_wherever_they_are_stored(reading: Any) -> None:
    pixels = noise(12, 32) // 128
    fill(reading, "inline", [(i + 1, p.tobytes(), i % 2) for i, p in enumerate(pixels)], label="int")
    query(
        reading,
        """
        CREATE TABLE outside (image bytea, label int);
        ALTER TABLE outside ALTER image SET STORAGE EXTERNAL;
        INSERT INTO outside SELECT image || ''::bytea, label FROM inline ORDER BY id;
        CREATE TABLE numbers AS
        SELECT (SELECT array_agg(get_byte(image, i) ORDER BY i) FROM generate_series(0, 3071) i) AS image, label
        FROM inline ORDER BY id;
        """,
    )
    how = "SELECT DISTINCT pg_column_size(image) < 3072, pg_column_compression(image) IS NULL FROM "
    assert query(reading, how + "inline") == [(True, False)], "compressed in the row"
    assert query(reading, how + "outside") == [(False, True)], "as it is, out of line"
    assert query(reading, "SELECT DISTINCT pg_column_compression(image) IS NULL FROM numbers") == [(False,)]
    expected = read(reading, source="inline")
    assert read(reading, source="outside") == read(reading, source="numbers") == expected


def test_other_columns_are_left_out_and_told_of(reading: Any) -> None:
    query(reading, 'ALTER TABLE pics ADD made timestamptz DEFAULT now(), ADD "Odd" jsonb, ADD thumbnail bytea')
    code, said = refusal(reading)
    assert code == "42702" and "2 columns that may hold pictures: image, thumbnail" in said and "features" in said
    assert read(reading, QUICK + ", features => '{image}'") and "left out" not in told(reading)
    code, said = refusal(reading, QUICK + ", features => '{image,image}'")
    assert code == "22023" and 'feature "image" is named twice' in said
    code, said = refusal(reading, QUICK + ", features => '{image,label}'")
    assert code == "22023" and 'the target "label" is among the features' in said
    query(reading, "ALTER TABLE pics DROP thumbnail")
    assert read(reading) and 'networks for pictures read these alone: made, "Odd"' in told(reading)


def test_rows_without_a_picture_or_a_class_are_left_out_and_counted(reading: Any) -> None:
    expected = read(reading)
    query(reading, "INSERT INTO pics SELECT 100 + i, NULL, 'fish' FROM generate_series(1, 3) i")
    query(reading, "INSERT INTO pics SELECT 200 + i, 'no picture', NULL FROM generate_series(1, 2) i")
    assert read(reading) == expected, "fish is no class"
    assert "WARNING:  2 rows have no target and were left out" in told(reading)
    assert "WARNING:  3 rows have no picture and were left out" in told(reading)


def test_a_batch_is_smaller_where_few_pictures_differ(reading: Any) -> None:
    query(reading, "INSERT INTO pics SELECT 100 + i, image, label FROM pics, generate_series(1, 20) i WHERE id = 1")
    assert len(read(reading, QUICK.replace("8", "64"))["sums"]) == COUNT
    assert "batch_size is reduced to 40: only 40 different pictures were found" in told(reading)


SPOILT: list[tuple[str, bytes, str, str]] = [
    ("damaged", encoded(noise(1)[0])[:70], "22000", "cannot be decoded"),
    ("no picture at all", b"hello", "22000", "cannot be decoded"),
    ("another size", encoded(noise(1, 16)[0]), "22000", "has 16"),
    ("one channel", encoded(noise(1)[0], mode="L"), "22000", "not square with three channels"),
    ("four channels", encoded(noise(1)[0], mode="RGBA"), "22000", "not square with three channels"),
    ("too many pixels", encoded(np.zeros((3, 300, 300), np.uint8)), "22000", "300 pixels a side"),
    ("too many bytes", bytes(3_000_000), "54000", "holds a picture of 2.9 MB, and 2 MB are the most"),
]


def test_a_picture_that_does_not_do_is_named(reading: Any) -> None:
    for what, content, sqlstate, words in SPOILT:
        query(reading, "INSERT INTO pics VALUES (77, %s, 'cat')", content)
        # All are drawn.
        code, said = refusal(reading, QUICK.replace("8", "21"))
        assert code == sqlstate and words in said and "(id = 77)" in said and "public.pics" in said, what
        query(reading, "DELETE FROM pics WHERE id = 77")
    query(reading, "INSERT INTO pics VALUES (77, NULL, 'cat')")
    assert read(reading)["classes"] == 3


ARRAYS = [
    ("real[]", "array_fill('NaN'::real, '{192}')", "22000", "nan, which is no finite number"),
    ("float8[]", "array_fill('Infinity'::float8, '{3,8,8}')", "22000", "inf, which is no finite number"),
    ("float8[]", "array_fill(-1e300::float8, '{192}')", "22000", "-1e+300, which is no finite number"),
    ("smallint[]", "array_fill(256, '{192}')::smallint[]", "22000", "256: whole numbers of pixels are 0 to 255"),
    ("integer[]", "array_fill(7, '{8,8,3}')", "22000", "8 x 8 x 3"),
    ("integer[]", "array_fill(7, '{191}')", "22000", "not square with three channels"),
    ("integer[]", "'{}'", "22000", "not square with three channels"),
    ("integer[]", "array_fill(7, '{191}') || NULL::int", "22004", "an array with NULLs"),
    ("real[]", "array_fill(NULL::real, '{192}')", "22004", "an array with NULLs"),
]


def test_an_array_that_does_not_do_is_named(reading: Any) -> None:
    for kind, value, sqlstate, words in ARRAYS:
        good = f"array_fill(1::int, '{{192}}')::{kind}"
        query(
            reading,
            f"CREATE TABLE arrays (image {kind}, label int);"
            f"INSERT INTO arrays VALUES ({good}, 1), ({good}, 2), ({value}, 3)",
        )
        code, said = refusal(reading, source="arrays")
        assert code == sqlstate and words in said and "row 3" in said, value
        query(reading, "DROP TABLE arrays")


def peak_of(session: Any) -> int:
    """Bytes that its backend has had in memory at most."""
    status = Path(f"/proc/{session.info.backend_pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_labels_take_no_memory(reading: Any, connect: Callable[..., Any]) -> None:
    # Made in another backend, which needs a lot of it.
    query(
        connect(),
        f"""
        CREATE TYPE long_label AS ENUM ('{"a" * 63}', '{"b" * 63}');
        CREATE VIEW many AS SELECT image, (enum_range(NULL::long_label))[1 + i % 2] AS label
        FROM (SELECT image FROM pics WHERE id = 1) p, generate_series(1, 400000) i;
        CREATE TABLE wordy AS SELECT image, repeat('x', 60000000) AS label FROM pics WHERE id = 1;
        """,
    )
    query(reading, "SELECT count(label), max(label) FROM many")
    assert read(reading)["classes"] == 3
    before = peak_of(reading)
    assert read(reading, QUICK.replace("8", "1").replace("naswot", "synflow"), "many")["classes"] == 2
    assert peak_of(reading) - before < 15_000_000, "of enums"
    code, said = refusal(reading, source="wordy")
    assert code == "54000" and "more than 1000 bytes" in said
    assert peak_of(reading) - before < 50_000_000, "of a text that is compressed"


def test_what_cannot_be_scored_is_refused(reading: Any) -> None:
    query(
        reading,
        """
        CREATE VIEW numbers AS SELECT id, length(image) AS a, label FROM pics;
        CREATE VIEW same AS SELECT p.image, label FROM (SELECT image FROM pics WHERE id = 1) p, pics;
        CREATE VIEW one AS SELECT image, 'cat' AS label FROM pics;
        CREATE VIEW nobody AS SELECT * FROM pics WHERE id < 0;
        CREATE VIEW valued AS SELECT image, 0.5::float8 AS label FROM pics;
        CREATE VIEW wordy AS SELECT image, repeat('x', 2000) AS label FROM pics;
        CREATE VIEW unique_labels AS SELECT image, id * 1000 + i AS label FROM pics, generate_series(1, 300) i;
        """,
    )
    for source, sqlstate, words in (
        ("numbers", "22023", ["no column of pictures", "a", "bytea"]),
        ("same", "22000", ["too few pictures: 1 different", "2 are needed"]),
        ("one", "22000", ['target "label" of public.one has one class only']),
        ("nobody", "22000", ["no row with a picture and a class"]),
        ("valued", "42804", ["double precision, which names no classes"]),
        ("wordy", "54000", ["more than 1000 bytes"]),
        ("unique_labels", "54000", ["more than 10000 different values"]),
    ):
        code, said = refusal(reading, QUICK.replace("naswot", "jacob_cov"), source)
        assert code == sqlstate and all(word in said for word in words), said
    for arguments, target, sqlstate, words in (
        (QUICK, "NULL", "22023", ["need a target"]),
        (QUICK, "'nothing'", "42703", ["nothing"]),
        (QUICK + ", features => '{nothing}'", "'label'", "42703", ["nothing"]),
        (QUICK + ", features => '{id}'", "'label'", "22023", ["no column of pictures", "id"]),
        (QUICK.replace("naswot", "magic"), "'label'", "22023", ["magic", "zen"]),
        (QUICK.replace("n => 2", "n => 0"), "'label'", "22023", ["n must be at least 1"]),
        (QUICK + ", k => 3", "'label'", "22023", ["k = 3"]),
        (QUICK + ", sampler => 'luck'", "'label'", "22023", ["luck", "evolution"]),
        (QUICK.replace("8", "2000"), "'label'", "22023", ["2000", "1024"]),
        (QUICK + ", budget => '1 s'", "'label'", "53400", ["budget of 1 s", "10 s"]),
        (QUICK + ", budget => '-1 s'", "'label'", "53400", ["budget"]),
        ("n => 3, budget => '10 s'", "'label'", "22023", ["without a budget"]),
    ):
        code, said = refusal(reading, arguments, target=target)
        assert code == sqlstate and all(word in said for word in words), said
    assert read(reading), "the session goes on"


TRAINING = [
    "SELECT * FROM trails.model_selection('numbers', 'label', space => 'nasbench201')",
    "SELECT * FROM trails.model_selection_workloads('numbers', 'label', 10, 2, space => 'nasbench201')",
    "SELECT * FROM trails.refinement_phase('numbers', 'label', ARRAY['|none~0|'], 1, '10 s', space => 'nasbench201')",
    "SELECT * FROM trails.profile_refinement('numbers', 'label', ARRAY['IO.1'], space => 'nasbench101')",
    "SELECT * FROM trails.profile_filtering('numbers', 'label', space => 'nasbench101')",
    "SELECT * FROM trails.coordinator(0.1, 1, '60 s', space => 'nasbench101')",
]


def test_nothing_trains_networks_for_pictures(session: Any) -> None:
    query(session, "CREATE VIEW numbers AS SELECT id, length(image) AS a, id % 7 AS b, label FROM pics")
    query(session, "CREATE VIEW pictures_alone AS SELECT image, label FROM pics")
    # A table of pictures has no column to learn from, which would say less.
    alone = [statement.replace("'numbers'", "'pictures_alone'") for statement in TRAINING]
    for statement in dict.fromkeys([*TRAINING, *alone]):
        code, said = refused(session, statement)
        assert code == "22023" and "of networks for pictures, not for the columns of a table" in said, statement
        assert "not trained here" in said and "trails.bench.open('nasbench" in said and "filtering_phase" in said


def test_rights_and_row_level_security_apply(reading: Any, stub: Stub, connect: Callable[..., Any]) -> None:
    alice = connect(role="alice")
    query(reading, f"GRANT trails_user TO alice; ALTER ROLE alice SET trails.virtualenv = '{stub.path}'")
    alice = connect(role="alice")
    code, said = refusal(alice)
    assert code == "42501" and "pics" in said
    query(reading, "GRANT SELECT (image) ON pics TO alice")
    assert refusal(alice)[0] == "42501", "a label that may not be read"
    query(reading, "GRANT SELECT (label) ON pics TO alice")
    # Neither id, which would name rows, nor the whole table.
    assert read(alice) == read(reading)
    query(reading, "INSERT INTO pics VALUES (77, 'no picture', 'cat')")
    assert "row 41." in refusal(alice, QUICK.replace("8", "21"))[1]
    query(
        reading,
        "DELETE FROM pics WHERE id = 77;"
        "ALTER TABLE pics ENABLE ROW LEVEL SECURITY; CREATE POLICY low ON pics FOR SELECT TO alice USING (id <= 9);"
        "CREATE VIEW low AS SELECT * FROM pics WHERE id <= 9",
    )
    few = QUICK.replace("8", "4")
    seen = read(alice, few)
    assert "8 of 9 pictures" in told(alice)
    assert seen == read(reading, few, "low") != read(reading, few)


def test_the_budget_ends_scoring_with_the_best_so_far(session: Any) -> None:
    began = time.monotonic()
    rows = ranked(session, "space => 'nasbench201', tfmem => 'jacflow', n => 15000, k => 5, budget => '8 s'")
    assert within(time.monotonic() - began, 8 * 1.03, 0.5)
    held = re.search(r"the budget held (\d+) of 15000 architectures: the best of these are ranked", told(session))
    assert held is not None and len(rows) == min(5, int(held[1])), "as many as a busy machine leaves time for"
    with open(f"/proc/{session.info.backend_pid}/maps") as maps:
        assert "libtorch" not in maps.read(), "PyTorch is never imported by a backend"
    # How many the space has the process alone knows.
    code, said = refusal(session, QUICK.replace("n => 2", "n => 15626"))
    assert code == "22023" and "15625" in said


def test_a_budget_that_reading_takes_is_an_error(reading: Any) -> None:
    slowly = "CASE WHEN pg_sleep(0.5) IS NOT NULL THEN label END AS label"
    query(reading, f"CREATE VIEW slow AS SELECT image, {slowly} FROM pics")
    began = time.monotonic()
    code, said = refusal(reading, QUICK + ", budget => '2 s'", "slow")
    assert code == "53400" and "public.slow" in said
    assert within(time.monotonic() - began, 2 * 1.03, 0.7)
    assert not children(reading.info.backend_pid)


def test_a_budget_that_scoring_one_cell_exceeds_is_an_error(reading: Any, stub: Stub) -> None:
    stub.script("ready(); receive()\nwhile True:\n    time.sleep(0.5)\n    send('alive')")
    began = time.monotonic()
    code, said = refusal(reading, QUICK + ", budget => '2 s'")
    assert code == "53400" and "budget of 2 s" in said and "what was left did not hold the scoring of one" in said
    assert within(time.monotonic() - began, 2 * 1.03, 0.7)
    assert not children(reading.info.backend_pid)


@pytest.mark.parametrize("moment", [0.1, 5.0])
def test_a_cancel_ends_it_at_once_and_leaves_nothing(session: Any, connect: Callable[..., Any], moment: float) -> None:
    witness, running = connect(), Running(session, LONG)
    time.sleep(moment)
    started = children(running.backend)
    asked = time.monotonic()
    query(witness, "SELECT pg_cancel_backend(%s)", running.backend)
    running.join(30)
    assert isinstance(running.error, psycopg2.Error) and running.error.pgcode == "57014"
    assert within(running.ended - asked, 0.2, 0.8)
    wait_until(lambda: not any(map(runs, started)), 5)
    assert not children(running.backend) and not shared_memory(running.backend)
    query(session, "SET statement_timeout = '1 s'")
    began = time.monotonic()
    assert refused(session, LONG)[0] == "57014" and within(time.monotonic() - began, 1.2, 0.8)
    assert query(session, "SELECT 1") == [(1,)] and not children(running.backend)


FAULTS = {
    "dies": ("ready(); receive(); os.kill(os.getpid(), signal.SIGKILL)", "38000", "was killed (signal 9)"),
    "ends": ("ready(); receive()", "38000", "ended with exit code 0"),
    "dies of what it reads": ("os._exit(7)", "38000", "ended with exit code 7"),
    "sends what is no event": ("ready(); receive(); os.write(1, b'{\\n')", "38000", "a line that is not an event"),
    "sends half": (
        "ready(); receive(); send('ranked', rows=[{'architecture': 'x'}])",
        "38000",
        "a line that is not an event",
    ),
}


@pytest.mark.parametrize(("script", "sqlstate", "words"), FAULTS.values(), ids=FAULTS)
def test_a_process_that_fails_costs_one_error(reading: Any, stub: Stub, script: str, sqlstate: str, words: str) -> None:
    stub.script(script)
    code, said = refusal(reading)
    assert code == sqlstate and words in said
    assert not children(reading.info.backend_pid) and not shared_memory(reading.info.backend_pid)


def test_the_process_is_told_what_is_wanted_and_no_more(reading: Any, stub: Stub) -> None:
    query(reading, "SET trails.progress = 'epochs'")
    stub.script(
        "ready(); receive(); send('progress', done=1, total=2); send('progress', done=3, total=0)\n"
        "send('scored', scored=0, failed=0, notices=['a word'])"
    )
    assert ranked(reading, QUICK + ", seed => -4, budget => '9 s'") == []
    for word in ("a word", "progress: 1/2 architectures scored", "progress: 3 architectures scored"):
        assert word in told(reading)
    (request,) = stub.requests()
    assert request["filtering"] == {
        "space": "nasbench201", "tfmem": "naswot", "n": 2, "k": 2, "batch_size": 8, "seed": -4, "sampler": None,
    }  # fmt: skip
    pictures = request["pictures"]
    assert (pictures["form"], pictures["classes"], len(pictures["drawn"])) == ("bytes", 3, 16)
    assert len({picture["row"] for picture in pictures["drawn"]}) == 16, "a batch and as many to spare, none twice"
    ids = [int(picture["row"].split("id = ")[1].rstrip(")")) for picture in pictures["drawn"]]
    assert [picture["label"] for picture in pictures["drawn"]] == [(number - 1) % 3 for number in ids]
    assert max(ids) > 16, "not the first of the table"
