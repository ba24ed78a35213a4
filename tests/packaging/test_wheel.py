"""The wheel and the sdist hold what they should, and run where nothing but them is installed."""

from __future__ import annotations

import email
import re
import tarfile
import tomllib
import zipfile
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import trails
from tests.packaging.conftest import BASE, Built, Environment
from trails.extras import EXTRA

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "python" / "README.md").read_text()

_FIT = """
import numpy as np, trails
X = np.random.default_rng(0).normal(size=(300, 3))
try:
    trails.ModelSelector(budget=8, isolated=ISOLATED).fit(X, X[:, 0] > 0)
except ImportError as error:
    print(type(error).__name__, error, error.hint, sep="|")
"""


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def metadata(wheel: Path) -> Message:
    [text] = [data for name, data in contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(text)


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    assert built.wheel.name == f"trails-{trails.__version__}-py3-none-any.whl"
    inside = {name for name in contents(built.wheel) if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT / "python"))
        for path in (ROOT / "python" / "trails").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == sources
    assert {"trails/limits.toml", "trails/py.typed", "trails/dashboard/static/style.css"} <= inside


def test_the_sdist_gives_the_same_wheel(built: Built) -> None:
    assert built.again.name == built.wheel.name
    assert contents(built.again) == contents(built.wheel)
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "pyproject.toml", "python/README.md", "PKG-INFO"} <= names
    assert not [name for name in names if name.startswith(("tests", "build", "pg_extension"))]


def test_the_metadata_say_what_it_is(built: Built) -> None:
    told = metadata(built.wheel)
    assert (told["Name"], told["Version"]) == ("trails", trails.__version__)
    assert told["Requires-Python"] == PROJECT["requires-python"]
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    assert bytes(told.get_payload(decode=True)).decode().strip() == README.strip()
    assert set(told.get_all("Provides-Extra", [])) == PROJECT["optional-dependencies"].keys()
    assert set(told.get_all("Classifier", [])) == set(PROJECT["classifiers"])
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents(built.wheel))


def test_the_description_has_no_link_that_leads_nowhere() -> None:
    assert not re.findall(r"\]\((?!https?://)", README), "a package index has none of the repository's files"


def test_every_extra_is_explained() -> None:
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| `\w+` \|", README, re.MULTILINE))))
    rest = re.search(r"^The extras (.*) are for those who work on Trails", README, re.MULTILINE)
    assert rest is not None
    assert told | set(re.findall(r"`(\w+)`", rest[1])) == PROJECT["optional-dependencies"].keys()


def test_errors_name_the_extra_that_brings_a_package() -> None:
    brought = packages_distributions()
    for module, extra in EXTRA.items():
        wanted = {re.split(r"[^\w.-]", line)[0].lower() for line in PROJECT["optional-dependencies"][extra]}
        assert wanted & {name.lower() for name in brought[module]}, f"{module} does not come with {extra}"


def test_what_is_always_installed_is_what_is_declared() -> None:
    assert tuple(sorted(BASE)) == tuple(sorted(PROJECT["dependencies"]))


def test_the_installed_package_runs_without_anything_else(base: Environment) -> None:
    done = base.run(base.python, "-c", "import trails, trails.bridge; print(trails.__version__, trails.__file__)")
    version, _, file = done.stdout.strip().partition(" ")
    assert (done.returncode, version) == (0, trails.__version__), done.stderr
    assert Path(file).is_relative_to(base.folder)
    for command in ([base.folder / "bin" / "trails"], [base.python, "-m", "trails"]):
        done = base.run(*command, "--version")
        assert (done.returncode, done.stdout.strip()) == (0, f"trails {trails.__version__}"), done.stderr
        done = base.run(*command, "--help")
        assert done.returncode == 0 and "select" in done.stdout and "data-service" in done.stdout, done.stderr
    for name in ("load", "select", "bench", "dashboard", "data-service"):
        done = base.run(base.folder / "bin" / "trails", name, "--help")
        assert done.returncode == 0 and f"trails {name}" in done.stdout, done.stderr


def test_without_torch_architectures_are_scored(base: Environment) -> None:
    code = (
        "from trails.filtering import rank_space; from trails.space import parse_space\n"
        "print(rank_space(parse_space('mlp3x10'), 50, 4, 25).scored)"
    )
    done = base.run(base.python, "-c", code)
    assert done.stdout.strip() == "1000", done.stderr


def test_without_torch_training_says_what_to_install(base: Environment) -> None:
    wanted = (
        "MissingPackage|torch and safetensors are not installed|"
        "Install what is missing: python -m pip install 'trails[train]'"
    )
    for isolated in ("True", "False"):
        done = base.run(base.python, "-c", _FIT.replace("ISOLATED", isolated))
        assert done.stdout.strip() == wanted, done.stderr


def test_without_an_extra_every_command_says_what_to_install(base: Environment) -> None:
    command = base.folder / "bin" / "trails"
    for arguments, extra in (
        (("dashboard",), "dashboard"),
        (("data-service",), "service"),
        (("bench", "train", "--dataset", "breast_cancer"), "bench"),
    ):
        done = base.run(command, *arguments)
        [line] = done.stderr.strip().splitlines()[-1:]
        assert done.returncode in (1, 2) and line.startswith("trails: error: "), (arguments, done.stderr)
        assert f"trails[{extra}" in line, (arguments, line)
        assert "Traceback" not in done.stderr


def test_the_example_of_the_description_runs(trained: Environment) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    # No machine is too busy for a plan without a budget.
    shorter = example.replace("budget=20", "budget=None, k=1, u=1")
    assert shorter != example
    done = trained.run(trained.python, "-c", f"{shorter}\nimport trails; print(trails.__file__)")
    assert done.returncode == 0, done.stderr
    *_, file = done.stdout.strip().splitlines()
    assert Path(file).is_relative_to(trained.folder), "the package of the tests' environment was taken"
    assert "validation_metric" in done.stdout
