"""What ``ganprune finetune`` does: a finished run's compact generators, fine-tuned further in a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganprune.errors import UserError
from ganprune.filters.saving import read_description
from ganprune.models.weights import weights_digest
from ganprune.pipeline.config import configured_task, open_searched, read_config, read_summary
from ganprune.pipeline.job import Job, begin
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import load_pair
from ganprune.pipeline.task import Task
from ganprune.runs.directory import CONFIG, RunDirectory, refuse_changes
from ganprune.settings.fields import changed, flat

# The options of ``ganprune finetune``, and the settings that they are.
OPTIONS = {
    "objective": "finetune", "steps": "finetune_steps", "batch": "finetune_batch", "average": "finetune_average",
    "seed": "seed",
}  # fmt: skip


def finetune_run(
    path: str | Path,
    out: str | Path,
    *,
    objective: str = "distil",
    steps: int = 1000,
    batch: int = 4,
    average: float = 0.0,
    seed: int = 1,
    factories: Mapping[str, str | None] | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    dry_run: bool = True,
) -> RunDirectory:
    """Fine-tune a finished run's compact generators further, into a run directory of its own.

    Args:
        path: the run; one that was interrupted after its search will do.
        out: a new directory.
        objective: "distil", "features" or "cyclegan", with weights or without; see ``EvolveSettings.finetune``.
        steps: training steps; the rate decays over the second half.
        batch: images of each domain per step.
        average: decay of a running average of the weights, the result then; 0 for none.
        seed: of everything random.
        factories: "generator" and "discriminator" again, where the run's are made by code.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.
        dry_run: whether every stage is tried once, on a few images, before any long work.

    Raises:
        UserError: ``path`` holds no run whose search is done, or ``out`` holds one already.
        Interrupted: Ctrl-C or SIGTERM; :func:`resume_finetune` goes on.
    """
    source, unfinished = open_searched(path)
    reporter = reporter or Reporter()
    if unfinished:
        reporter.note(unfinished)
    config, settings = read_config(source)
    given = {"objective": objective, "steps": steps, "batch": batch, "average": average, "seed": seed}
    settings = changed(settings, **{OPTIONS[name]: value for name, value in given.items()})
    job = begin(
        "finetune", settings, lambda: configured_task(config, device, factories),
        began_with=config, out=out, threads=threads, reporter=reporter, dry_run=dry_run,
    )  # fmt: skip
    origin = _digest(source, job.task)
    with job.claim(out) as directory:
        facts = {"from": str(source.directory.resolve()), "from_sha256": origin}
        directory.write_json(CONFIG, {**config, **job.configuration(**facts)})
        job.reporter.directory.append(directory.directory)
        return _train_and_finish(job, directory, source)


def resume_finetune(
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    factories: Mapping[str, str | None] | None = None,
    device: str | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Go on with an interrupted ``finetune``, exactly as if it had not been interrupted.

    Args:
        path: its directory.
        options: objective, steps, batch, average, seed and threads that were given once more; they have to be its own.
        factories: "generator" and "discriminator" again, where the run's are made by code.
        device: None for its own. On another one results may differ in their last digits.
        reporter: whom to tell how far it is.

    Raises:
        UserError: there is none, it is in use, or the run that it began from, or the options, are others.
        Interrupted: Ctrl-C or SIGTERM.
    """
    directory, reporter = RunDirectory.open(path), reporter or Reporter()
    with directory.locked():
        reporter.directory.append(directory.directory)
        config, settings = read_config(directory, "finetune")
        saved = {name: flat(settings)[field] for name, field in OPTIONS.items()} | {"threads": config["threads"]}
        refuse_changes(saved, options or {}, "the run began", "Leave out what differs, or start a new run.")
        for name in ("from", "from_sha256"):
            if not isinstance(config.get(name), str):
                found, where = f"nothing under {name!r}", str(directory.path(CONFIG))
                raise UserError(where, found, "what the fine-tune began from", "Restore the file, or begin anew.")
        source, _ = open_searched(config["from"])
        job = begin(
            "finetune", settings, lambda: configured_task(config, device or config["device"], factories),
            began_with=config, threads=config["threads"], reporter=reporter,
        )  # fmt: skip
        if _digest(source, job.task) != config["from_sha256"]:
            raise UserError(
                str(source.directory), "other generators than when this began", "those", "Restore them, or begin anew."
            )
        return _train_and_finish(job, directory, source)


def _digest(source: RunDirectory, task: Task) -> str:
    """Return the digest of a run's compact generators."""
    return weights_digest(load_pair(source, "cpu", task.cyclegan, task.networks))


def _train_and_finish(job: Job, directory: RunDirectory, source: RunDirectory) -> RunDirectory:
    """Fine-tune, evaluate and write everything into ``directory``."""
    summary = read_summary(source)
    compact = load_pair(source, job.task.device, job.task.cyclegan, job.task.networks)
    bits = {name: read_description(source.path(name))["bits"] for name in compact}
    found = {name: {key: summary["sides"][name][key] for key in ("algorithm", "search")} for name in compact}
    summary.pop("finetune", None)
    summary = job.tune_and_save(directory, compact, bits, {**summary, "sides": found})
    facts = {"finetune_seconds": job.seconds, "finetuned_from": str(source.directory.resolve())}
    job.finish(directory, compact, {**summary, **facts})
    return directory
