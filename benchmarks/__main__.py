"""Command line of the experiments.

python -m benchmarks                      list them
python -m benchmarks NAME                 run one, going on from what it already wrote, and draw it
python -m benchmarks NAME --quick         a reduced run of under two minutes
python -m benchmarks NAME --draw          draw again from what was recorded
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import harness, plots
from tools.server import ServerError
from trails.errors import TrailsError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Runs an experiment and draws its figures."
    )
    parser.add_argument("name", nargs="?", help="the experiment; without it, all are listed")
    parser.add_argument("--dataset", help="which data, where the experiment uses any")
    parser.add_argument("--quick", action="store_true", help="a reduced run of under two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="only draw again what was recorded")
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where results are written")
    options = parser.parse_args(arguments)

    if options.name is None:
        experiments = harness.experiments()
        width = max(map(len, experiments))
        for name, sentence in experiments.items():
            print(f"{name:{width}}  {sentence}")
        return 0
    try:
        module = harness.load(options.name)
        if options.draw:
            return _draw_again(module, options.results / options.name)
        document = harness.run(
            module,
            results=options.results,
            dataset=options.dataset,
            quick=options.quick,
            seed=options.seed,
            fresh=options.fresh,
        )
        print("\n".join([*harness.summary(module, document), *plots.draw(module, document)]))
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


def _draw_again(module: harness.Experiment, folder: Path) -> int:
    files = sorted(folder.glob("*.json"))
    if not files:
        print(f"error: nothing is recorded in {folder}", file=sys.stderr)
        return 1
    for file in files:
        print("\n".join(plots.draw(module, harness.Document.read(file))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
