"""Models times epochs per second: ours against a good one-by-one loop and against a DataLoader loop."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.harness import Context, Document, Row, run_pinned

DATASETS = ("frappe", "uci_diabetes", "criteo")
MODELS = 16
BATCH = 2048
SETS = {
    "narrow": "each layer 8 to 64 wide, sampled",
    "sample": "the whole space, sampled",
    "planned": "what a 60 s budget would train",
    "widest": "the 16 best scores",
}
LOOPS = {
    "dataloader": "DataLoader loop",
    "loop": "good loop: tensors in memory",
    "side": "Trails: side by side",
    "stacked": "Trails: stacked",
}
_CPU_REPEATS, _BATCHES = 2, 12


def run(context: Context) -> None:
    """Time a dozen batches of each model in each loop, loops in turn, in fresh processes."""
    repeats, batches = (1, 6) if context.quick else (_CPU_REPEATS, _BATCHES)
    devices = run_pinned("benchmarks.refinement_speed:devices", cores=2)
    for repeat in range(repeats):
        for name in SETS:
            for device in devices:
                for loop in LOOPS if device == "cpu" else ("loop", "stacked"):
                    if context.recorded(set=name, loop=loop, device=device, repeat=repeat):
                        continue
                    context.say(f"{context.dataset}: {name}, {loop} on {device}, repeat {repeat}")
                    measured = run_pinned(
                        "benchmarks.refinement_speed:measure",
                        cores=2,
                        dataset=context.dataset,
                        models=name,
                        loop=loop,
                        device=device,
                        batches=batches,
                        seed=context.seed,
                    )
                    context.record({"set": name, "loop": loop, "device": device, "repeat": repeat, **measured})


def devices() -> list[str]:
    """The CPU, and a GPU if there is one."""
    import torch

    return ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]


def measure(dataset: str, models: str, loop: str, device: str, batches: int, seed: int) -> Row:
    """Seconds per batch of 2,048 rows of all models together, and what that is in models times epochs a second."""
    from trails.refinement import process

    process.prepare()  # as the refinement process does; every loop gets it
    import torch

    from benchmarks.selection import TARGET, columns
    from trails.refinement.dataset import prepare

    torch.set_num_threads(2)
    data = prepare(columns(dataset, "train"), columns(dataset, "valid"), TARGET, seed, torch.device(device))
    widths = _widths(dataset, models, seed)
    seconds = {"dataloader": _dataloader, "loop": _loop, "side": _side, "stacked": _stacked}[loop](
        data, widths, batches
    )
    per_epoch = seconds * len(data.train) / BATCH
    return {
        "seconds_per_batch": seconds,
        "epochs_models_per_second": MODELS / per_epoch,
        "widths": ["-".join(map(str, one)) for one in widths],
    }


def _widths(dataset: str, models: str, seed: int) -> list[tuple[int, ...]]:
    from benchmarks.selection import TARGET, columns
    from trails.filtering.phase import FilteringRequest, shortlist
    from trails.selection import training_rows
    from trails.space import MlpSpace, parse_space

    space = parse_space("mlp4x20")
    if models in ("sample", "narrow"):
        drawn_from = space if models == "sample" else MlpSpace(4, tuple(w for w in space.choices[0] if w <= 64))
        return [drawn_from.architecture(int(i)) for i in drawn_from.sample(MODELS, seed)]
    train = columns(dataset, "train")
    rows = training_rows(train, TARGET)
    names = shortlist(rows, FilteringRequest("mlp4x20", "expressflow", seed=seed), None).architectures
    best = [space.parse(name) for name in names]
    if models == "planned":
        inputs = 20 * rows.fields
        largest = max(space.parameters(architecture, inputs) for architecture in best)
        best = [a for a in best if space.parameters(a, inputs) <= largest / 8]
    return best[:MODELS]


def _timed(steps: Sequence[Any]) -> float:
    """Median seconds of calls, the first two aside."""
    import time

    seconds = []
    for step in steps:
        before = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds[2:] or seconds)


def _network(data: Any, widths: tuple[int, ...]) -> tuple[Any, Any, Any]:
    import torch

    from benchmarks._tabular_mlp import TabularMlp
    from trails.training.options import Options

    network = TabularMlp(data.encoder.ids, data.encoder.fields, widths, Options().embedding)
    network = network.to(data.train.labels.device)
    return network, torch.optim.Adam(network.parameters(), lr=2e-3, fused=True), torch.nn.BCEWithLogitsLoss()


def _loop(data: Any, widths: Sequence[tuple[int, ...]], batches: int) -> float:
    """One model after another, tensors in memory, fused Adam, two threads."""
    import torch

    rows, total = data.train, 0.0
    for one in widths:
        network, optimiser, loss_of = _network(data, one)
        order = torch.randperm(len(rows), device=rows.labels.device)

        def step(
            number: int, network: Any = network, optimiser: Any = optimiser, loss_of: Any = loss_of, order: Any = order
        ) -> float:
            batch = order[number * BATCH % (len(rows) - BATCH) :][:BATCH]
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(network(rows.ids[batch], None), rows.labels[batch])
            loss.backward()
            optimiser.step()
            return loss.item()

        total += _timed([lambda n=n, step=step: step(n) for n in range(batches)])
    return total


def _dataloader(data: Any, widths: Sequence[tuple[int, ...]], batches: int) -> float:
    """One model after another, batches from a DataLoader over a TensorDataset, as tutorials show it."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    rows, total = data.train, 0.0
    loader = DataLoader(TensorDataset(rows.ids, rows.labels), batch_size=BATCH, shuffle=True)
    for one in widths:
        network, optimiser, loss_of = _network(data, one)
        source = iter(loader)

        def step(
            network: Any = network, optimiser: Any = optimiser, loss_of: Any = loss_of, source: Any = source
        ) -> float:
            ids, labels = next(source)
            optimiser.zero_grad()
            loss = loss_of(network(ids, None), labels)
            loss.backward()
            optimiser.step()
            return loss.item()

        total += _timed([step] * min(batches, len(loader)))
    torch.set_num_threads(2)
    return total


def _side(data: Any, widths: Sequence[tuple[int, ...]], batches: int) -> float:
    """One model to a core, as a run does it without stacking."""
    import threading
    import time

    from trails.refinement.workers import Cores, LocalWorker, Threads
    from trails.training.options import Options

    options, cores = Options(batch=BATCH), Cores(2)
    waiting = list(widths)
    began = time.perf_counter()

    def work() -> None:
        worker = LocalWorker(data, options, 1, cores)
        while waiting:
            one = waiting.pop(0)
            with cores:
                stack, threads = worker.stack([_trial(data, one)]), Threads(cores)
                for number in range(batches):
                    threads.next(None)
                    float(stack.step(worker.batch(number)).sum())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) / batches


def _stacked(data: Any, widths: Sequence[tuple[int, ...]], batches: int) -> float:
    """All models in one stack on a GPU; on the CPU four at a time, with both cores."""
    import torch

    from trails.refinement.workers import Cores, LocalWorker
    from trails.training.options import Options

    worker = LocalWorker(data, Options(batch=BATCH), 1, Cores(2))
    size = len(widths) if worker.device.type == "cuda" else 4
    total = 0.0
    for start in range(0, len(widths), size):
        with worker.cores:
            stack = worker.stack([_trial(data, one) for one in widths[start : start + size]])
            torch.set_num_threads(2)
            total += _timed([lambda n=n, stack=stack: float(stack.step(worker.batch(n)).sum()) for n in range(batches)])
    return total


def _trial(data: Any, widths: tuple[int, ...]) -> Any:
    from trails.family import MLP
    from trails.refinement.protocol import Candidate
    from trails.refinement.trial import Trial
    from trails.training.options import Options

    return Trial.of(MLP, Candidate(MLP.format(widths), widths, None), data.shape(Options()), 1)


def _median(document: Document, name: str, loop: str, device: str = "cpu") -> float | None:
    rows = document.select(set=name, loop=loop, device=device)
    return statistics.median(row["epochs_models_per_second"] for row in rows) if rows else None


def summarise(document: Document) -> list[str]:
    """Per set of models: models times epochs a second of each loop, and ratios."""
    gpu = any(row["device"] != "cpu" for row in document.rows)
    lines = [f"{document.settings['dataset']}, {MODELS} models, batches of {BATCH}; models x epochs a second:"]
    for name, sentence in SETS.items():
        loop, loader = _median(document, name, "loop"), _median(document, name, "dataloader")
        ours = [_median(document, name, mode) for mode in ("side", "stacked")]
        if loop is None or loader is None or None in ours:
            continue
        side, stacked = (value for value in ours if value is not None)
        best = max(side, stacked)
        lines.append(
            f"  {name:8} DataLoader {loader:.2f}, loop {loop:.2f}, side by side {side:.2f}, stacked {stacked:.2f}: "
            f"{best / loop:.2f} times the good loop, {best / loader:.1f} times the DataLoader loop ({sentence})"
        )
        if gpu:
            fast = _median(document, name, "stacked", "cuda:0") or 0.0
            lines.append(f"           GPU, stacked: {fast:.1f}, {fast / loop:.0f} times the CPU's good loop")
    return [*lines, *([] if gpu else ["  no GPU was there"])]


def draw(document: Document) -> Mapping[str, Figure]:
    """A panel for each set of models, a bar for each loop."""
    figure, axes = plots.panels(len(SETS), width=2.6, height=3.0)
    for axis, name in zip(axes, SETS, strict=True):
        for place, loop in enumerate(LOOPS):
            value = _median(document, name, loop)
            if value is None:
                continue
            axis.bar(place, value, color=plots.COLOURS[place], width=0.7)
            each = [row["epochs_models_per_second"] for row in document.select(set=name, loop=loop, device="cpu")]
            axis.plot([place] * len(each), each, "o", color="black", markersize=2)
        axis.set_title(name)
        axis.set_xticks(
            range(len(LOOPS)), ["DataLoader", "good loop", "side by side", "stacked"], rotation=30, ha="right"
        )
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("models x epochs per second, CPU")
    return {"": figure}
