"""What docs/reliability.md claims, measured: kills, workers, memory and mutated inputs.

Each subcommand prints a table and appends what it found to a file in ``--out``; called again it goes on from there::

    python scripts/reliability.py kill --times 50 --out runs/reliability
    python scripts/reliability.py workers --out runs/reliability
    python scripts/reliability.py memory --generations 500 --out runs/reliability
    python scripts/reliability.py fuzz --count 10000 --out runs/reliability

All of it runs at toy size, on one thread, and without a network.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch

from ganprune.assets import TOY_SIZE, default_images, toy_checkpoint
from ganprune.commands.evolve import compress, resume
from ganprune.evolution import coevolve
from ganprune.filters import reconstruction
from ganprune.parallel.engines import LocalEngine
from ganprune.parallel.workers import Workers
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import prepare
from ganprune.pipeline.task import load_task, load_toy
from ganprune.runs.directory import CONFIG, SUMMARY, RunDirectory
from ganprune.settings.evolve import EvolveSettings, make_settings
from ganprune.settings.fields import from_json

sys.path.insert(0, str(Path(__file__).parent))
from fuzzing import make_corpus, try_input

SIDES = ("A2B", "B2A")
FEW = {"trainA": 24, "trainB": 24, "valA": 8, "valB": 8, "testA": 6, "testB": 6}
SMALL = {
    "population": 6, "generations": 4, "validation_images": 8, "calibration_images": 8, "finetune_steps": 12,
    "finetune_batch": 2, "precision": "float32", "features": "none",
}  # fmt: skip


@click.group()
def main() -> None:
    """Measure how reliable ganprune is."""
    torch.set_num_threads(1)


OUT = click.option(
    "--out", type=click.Path(path_type=Path), default="runs/reliability", show_default=True, help="Where findings go."
)


# --- kill


@main.command()
@click.option("--times", default=50, show_default=True, help="Runs that are killed.")
@click.option("--workers", default=1, show_default=True, help="Processes that evaluate.")
@click.option("--generations", default=4, show_default=True, help="More make more kills fall into the search.")
@click.option("--seed", default=1, show_default=True, help="Of the moments.")
@OUT
def kill(times: int, workers: int, generations: int, seed: int, out: Path) -> None:
    """Kill runs with SIGKILL at random moments, resume them, and compare with one that nobody killed."""
    folder = out / f"kill-{workers}-{generations}"
    findings = kills(folder, times=times, workers=workers, seed=seed, generations=generations)
    same = sum(found["identical"] for found in findings)
    killed = [found["kills"] for found in findings]
    reached = {stage: sum(found["reached"].count(stage) for found in findings) for stage in STAGES}
    click.echo(f"{len(findings)} runs, {sum(killed)} kills, {same} identical to the uninterrupted run")
    click.echo("killed while: " + ", ".join(f"{stage} {count}" for stage, count in reached.items()))


STAGES = ("beginning", "searching", "fine-tuning", "finished")


def kills(folder: Path, *, times: int, workers: int = 1, seed: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Return what became of each killed run; those of an earlier call are not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = make_settings("quick", **{**SMALL, **options})
    data = few_images(folder / "data")
    if not (folder / "seconds").exists():
        shutil.rmtree(folder / "whole", ignore_errors=True)
        started = time.perf_counter()
        run_and_kill(data, folder / "whole", settings, 1, None)
        (folder / "seconds").write_text(str(time.perf_counter() - started))
    seconds = float((folder / "seconds").read_text())
    expected = outcome(folder / "whole")
    findings = read_lines(folder / "findings.jsonl")
    for number in range(len(findings), times):
        draw, path = random.Random(f"{seed}:{number}"), folder / "killed"
        shutil.rmtree(path, ignore_errors=True)
        reached: list[str] = []
        while True:
            moment = draw.uniform(0, seconds) if not reached or draw.random() < 0.5 else None
            if not run_and_kill(data, path, settings, workers, moment):
                reached.append(stage_of(path))
            elif reached:
                break
            else:
                shutil.rmtree(path)  # it was through before its time had come: that is no killed run
        findings.append(
            {"number": number, "kills": len(reached), "reached": reached, "identical": outcome(path) == expected}
        )
        add_line(folder / "findings.jsonl", findings[-1])
    return findings[:times]


def few_images(folder: Path) -> Path:
    """Copy some of the shipped images, so that reading them takes no time."""
    if not folder.exists():
        for name, count in FEW.items():
            (folder / name).mkdir(parents=True)
            for path in sorted((default_images() / name).iterdir())[:count]:
                shutil.copy(path, folder / name)
    return folder


def run_or_resume(data: Path, path: Path, settings: EvolveSettings, workers: int) -> None:
    """Begin a toy run, or go on with it."""
    if (path / CONFIG).exists():
        resume(path, workers=workers)
    else:
        compress(
            toy_checkpoint(), data, out=path, settings=settings, size=TOY_SIZE, device="cpu", threads=1,
            workers=workers, dry_run=False,
        )  # fmt: skip


def run_and_kill(data: Path, path: Path, settings: EvolveSettings, workers: int, seconds: float | None) -> bool:
    """Run in a child process, and kill it after so many seconds, if any; return whether it ended by itself.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, __file__, "run-once", str(data), str(path), json.dumps(settings.to_json())]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([*command, str(workers)], stdout=subprocess.PIPE, stderr=errors)
        assert child.stdout is not None
        child.stdout.readline()  # importing takes a while and can't harm a run
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False
        finally:
            child.stdout.close()
        if status:
            errors.seek(0)
            raise RuntimeError(f"status {status}: {errors.read().decode()[-2000:]}")
    return True


@main.command(hidden=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("settings")
@click.argument("workers", type=int)
def run_once(data: Path, path: Path, settings: str, workers: int) -> None:
    """Begin or resume a run: what the child process of ``kill`` does."""
    click.echo("ready")
    run_or_resume(data, path, from_json(EvolveSettings, json.loads(settings)), workers)


def stage_of(path: Path) -> str:
    """Return how far a run had come."""
    if not (path / "state.json").exists():
        return "beginning"
    if (path / SUMMARY).exists():
        return "finished"
    run = RunDirectory(path)
    steps = 2 * (run.read_json(CONFIG)["settings"]["search"]["generations"] + 1)
    return "searching" if run.read_json("state.json")["step"] < steps else "fine-tuning"


def outcome(path: Path) -> dict[str, Any]:
    """Return all of a run that has to be the same, whatever interrupted it: everything but times."""
    run = RunDirectory(path)
    files = ("A2B.safetensors", "B2A.safetensors", "A2B.json", "B2A.json", "evaluations.jsonl", "samples.png")
    found: dict[str, Any] = {name: run.path(name).read_bytes() for name in files}
    log, state, summary = run.read_jsonl("logbook.jsonl"), run.read_json("state.json"), run.read_json(SUMMARY)
    for record in (state, *log):
        record.pop("timing")
    for name in ("seconds", "seconds_search"):
        summary.pop(name)
    for side in summary["sides"].values():
        side.pop("latency_ms")
    left = sorted(file.name for file in path.iterdir() if file.name.startswith(".") or file.name.startswith("training"))
    return {**found, "log": log, "state": state, "summary": summary, "left": left}


# --- workers


@main.command()
@click.option("--individuals", default=120, show_default=True, help="Evaluations that are timed.")
@click.option("--turns", default=3, show_default=True, help="Times that each number of workers has its turn.")
@click.option("--shipped", is_flag=True, help="Time the shipped CycleGAN at 64x64 instead of the toy.")
@OUT
def workers(individuals: int, turns: int, shipped: bool, out: Path) -> None:
    """Compare serial, local and cluster runs, and time one worker against two."""
    out.mkdir(parents=True, exist_ok=True)
    agree = same_everywhere(Path(tempfile.mkdtemp(dir=out)))
    for name, same in agree.items():
        click.echo(f"{name}: {'identical to' if same else 'DIFFERENT FROM'} the serial run")
    rates = scaling(individuals, turns, shipped=shipped)
    for count, rate in rates.items():
        click.echo(f"{count} worker{'s' * (count > 1)} of one thread: {rate:.1f} evaluations a second")
    click.echo(f"ratio {rates[2] / rates[1]:.2f}")
    add_line(out / "workers.jsonl", {"agree": agree, "rates": rates, "shipped": shipped})


def same_everywhere(folder: Path, **options: Any) -> dict[str, bool]:
    """Return, for each way of evaluating, whether its run is the serial one."""
    settings, data = make_settings("quick", **{**SMALL, **options}), few_images(folder / "data")

    def run(name: str, kill: Callable[[], Any] | None = None, **how: Any) -> Any:
        scored: list[Any] = []

        def count(*evaluation: Any) -> None:
            scored.append(evaluation)
            if kill and len(scored) == 9:
                kill()

        path = folder / name.replace(" ", "-")
        compress(
            toy_checkpoint(), data, out=path, settings=settings, size=TOY_SIZE, device="cpu", threads=1,
            reporter=Reporter(evaluation=count), dry_run=False, **how,
        )  # fmt: skip
        return outcome(path)

    serial = run("serial")
    results = {"2 local workers": run("local", workers=2) == serial}
    results["2 local workers, one killed"] = run("local killed", kill_child, workers=2) == serial
    with cluster() as (address, pids):
        results["Dask, 2 workers"] = run("dask", cluster=address) == serial
        results["Dask, 2 workers, one killed"] = (
            run("dask killed", lambda: os.kill(pids[0], signal.SIGKILL), cluster=address) == serial
        )
    return results


def kill_child() -> None:
    """Kill one of this process's worker processes."""
    import multiprocessing

    multiprocessing.active_children()[0].kill()


@contextmanager
def cluster() -> Iterator[tuple[str, list[int]]]:
    """Start a Dask scheduler and two workers of one thread each as processes; give address and the workers' ids."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        local = ["--host", "127.0.0.1", "--no-dashboard"]
        commands = [[*dask, "scheduler", "--scheduler-file", str(file), "--port", "0", *local]]
        worker = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny"]
        commands += [[*dask, *worker, "--local-directory", folder, *local]] * 2
        started = []
        try:
            for command in commands:
                started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            while not file.exists():
                time.sleep(0.1)
            yield str(file), [process.pid for process in started[1:]]
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait()


def scaling(individuals: int, turns: int, *, shipped: bool = False) -> dict[int, float]:
    """Return evaluations a second with one worker and with two, each of one thread; the best of its turns."""
    options = {} if shipped else {"validation_images": 32}
    settings = make_settings("quick", **{"precision": "float32", **options})
    task = load_task(None, None, device="cpu") if shipped else load_toy()
    search = prepare(task, settings, lambda *stage: None)
    toolbox = search.toolboxes["A2B"]
    random.seed(1)
    best = dict.fromkeys((1, 2), 0.0)
    for turn in range(turns):
        for count in best:
            with Workers(search.fitness, LocalEngine(count)) as pool:
                list(pool.map(toolbox.evaluate, toolbox.population(8 * count), [None] * 8 * count))  # they start
                batch = toolbox.population(individuals)
                started = time.perf_counter()
                list(pool.map(toolbox.evaluate, batch, [None] * individuals))
                rate = individuals / (time.perf_counter() - started)
            click.echo(f"turn {turn + 1}, {count}: {rate:.1f}", err=True)
            best[count] = max(best[count], rate)
    return best


# --- memory


@main.command()
@click.option("--generations", default=500, show_default=True)
@OUT
def memory(generations: int, out: Path) -> None:
    """Watch the memory of a long search at toy size, in which every individual is a new one."""
    out.mkdir(parents=True, exist_ok=True)
    found = watch_memory(generations, Path(tempfile.mkdtemp(dir=out)))
    for generation, megabytes, evaluations in found:
        click.echo(f"generation {generation:4d}: {megabytes:7.1f} MB, {evaluations} evaluations and rescores")
    settled = [row for row in found if row[0] >= generations // 5]
    grown, scored = (settled[-1][index] - settled[0][index] for index in (1, 2))
    each = grown * 2**20 / max(scored, 1)
    click.echo(
        f"from generation {settled[0][0]} on: {grown:+.1f} MB for {scored} scores kept, {each:.0f} bytes for each"
    )
    add_line(out / "memory.jsonl", {"generations": generations, "found": found})


def watch_memory(generations: int, folder: Path, every: int = 20) -> list[tuple[int, float, int]]:
    """Return (generation, resident megabytes, scores so far) at regular intervals of a toy search.

    Every individual is a new one, and the caches are held to a megabyte, so that they are full from the beginning.
    """
    options = {"population": 4, "validation_images": 4, "precision": "float32", "calibration_images": 8}
    search = prepare(load_toy(), make_settings("quick", algorithm="random", **options), lambda *stage: None)
    reconstruction.SOLVED_BYTES = 2**20
    for fitness in search.fitness.values():
        fitness.cache_bytes = 2**20
    found: list[tuple[int, float, int]] = []

    def note(progress: Any) -> None:
        if progress.side == SIDES[1] and progress.generation % every == 0:
            found.append((progress.generation, resident(), progress.evaluations + progress.rescores))

    coevolve(search.toolboxes, generations=generations, seed=1, run=folder / "run", callback=note)
    return found


def resident() -> float:
    """Return the megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- fuzz


@main.command()
@click.option("--count", default=10_000, show_default=True, help="Mutated inputs, shared by all loaders.")
@click.option("--first", default=0, show_default=True, help="Number of the first mutation of each loader.")
@OUT
def fuzz(count: int, first: int, out: Path) -> None:
    """Give all loaders mutated inputs; list what is no documented error."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    tried, faults = fuzz_loaders(count, first)
    for name, number in tried.items():
        click.echo(f"{name}: {number}")
    click.echo(f"{sum(tried.values())} inputs in {time.perf_counter() - started:.0f} s, {len(faults)} faults")
    for fault in faults:
        click.echo(fault)
    add_line(out / "fuzz.jsonl", {"tried": tried, "first": first, "faults": faults})
    raise SystemExit(bool(faults))


def fuzz_loaders(count: int, first: int = 0) -> tuple[dict[str, int], list[str]]:
    """Return how many inputs each loader was given, and the faults."""
    with tempfile.TemporaryDirectory() as folder:
        loaders = make_corpus(Path(folder) / "corpus")
        tried, faults = {loader.name: 0 for loader in loaders}, []
        for number in range(count):
            loader, seed = loaders[number % len(loaders)], first + number // len(loaders)
            tried[loader.name] += 1
            fault = try_input(loader, Path(folder) / "corpus", Path(folder) / "copy", seed)
            if fault:
                faults.append(f"{loader.name} {seed}: {fault}")
    return tried, faults


# --- files


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of findings."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record to a file of findings."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
