"""Command line of the experiments.

python -m benchmarks                      list them
python -m benchmarks NAME                 run one, going on from what it already wrote, and draw it
python -m benchmarks NAME --dataset all   the same on every dataset that it knows
python -m benchmarks NAME --quick         a reduced run of under two minutes
python -m benchmarks NAME --draw          draw again from what was recorded
python -m benchmarks NAME --publish       copy the finished run's figures into docs/study
python -m benchmarks --all --quick        run every experiment, and say at the end what became of each
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import _publishing, _together, harness, plots
from tools.server import ServerError
from trails.errors import InvalidInput, TrailsError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Runs an experiment and draws its figures."
    )
    parser.add_argument("name", nargs="?", help="the experiment; without it, all are listed")
    parser.add_argument("--all", action="store_true", help="run every experiment, going on when one fails")
    parser.add_argument("--only-records", action="store_true", help="of all, those that look recorded curves up")
    parser.add_argument("--dataset", help="which data, where the experiment uses any; all for each that it knows")
    parser.add_argument("--quick", action="store_true", help="a reduced run of under two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="only draw again what was recorded")
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on")
    parser.add_argument("--publish", action="store_true", help="copy the figures into docs/study")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where results are written")
    options = parser.parse_args(arguments)

    try:
        _check(options)
        if options.all or (options.name is not None and options.dataset == "all" and not options.draw):
            return _run_many(options)
        if options.name is None:
            return _list()
        module = harness.load(options.name)
        if options.draw:
            return _draw_again(module, options)
        document = harness.run(
            module,
            results=options.results,
            dataset=options.dataset,
            quick=options.quick,
            seed=options.seed,
            fresh=options.fresh,
        )
        print("\n".join([*harness.summary(module, document), *_drawn(module, document, options.publish)]))
    except TrailsError as error:
        print(f"error: {error.message}", file=sys.stderr)
        for label, text in (("detail", error.detail), ("hint", error.hint)):
            if text is not None:
                print(f"{label}: {text}", file=sys.stderr)
        return 1
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.all and options.name is not None:
        raise InvalidInput(f"--all runs every experiment, {options.name} among them", hint="Leave one of them away.")
    if options.only_records and not options.all:
        raise InvalidInput("--only-records chooses among all experiments", hint="Give --all too.")
    if options.publish:
        _publishing.check_publishable(options.quick, options.seed)


def _list() -> int:
    experiments = harness.experiments()
    width = max(map(len, experiments))
    for name, sentence in experiments.items():
        print(f"{name:{width}}  {sentence}")
    return 0


def _run_many(options: argparse.Namespace) -> int:
    names = list(harness.experiments()) if options.all else [options.name]
    passed = [f"--{name}" for name in ("quick", "fresh", "draw", "publish") if getattr(options, name)]
    lines, sound = _together.run_all(
        names,
        dataset=options.dataset,
        only_records=options.only_records,
        options=[*passed, "--seed", str(options.seed)],
        results=options.results.resolve(),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print("\n".join(lines))
    return 0 if sound else 1


def _drawn(module: harness.Experiment, document: harness.Document, publish: bool) -> list[str]:
    figures = plots.draw_files(module, document)
    lines = [f"rows: {document.path}", *(f"figure: {figure}" for figure in figures)]
    return lines + (_publishing.publish(document, figures) if publish else [])


def _draw_again(module: harness.Experiment, options: argparse.Namespace) -> int:
    folder = options.results / options.name
    documents = [harness.Document.read(file) for file in sorted(folder.glob("*.json"))]
    if options.dataset not in (None, "all"):
        documents = [document for document in documents if document.settings["dataset"] == options.dataset]
    if options.publish:
        documents = [one for one in documents if not one.quick and one.settings["seed"] == options.seed]
    if not documents:
        print(f"error: nothing is recorded in {folder}", file=sys.stderr)
        return 1
    for document in documents:
        print("\n".join(_drawn(module, document, options.publish)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
