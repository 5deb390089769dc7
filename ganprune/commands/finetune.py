"""What ``ganprune finetune`` does: a finished run's compact generators, fine-tuned further in a run of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganprune.device import set_threads
from ganprune.errors import UserError
from ganprune.evolution.individual import Individual
from ganprune.filters.saving import read_description
from ganprune.models.weights import weights_digest
from ganprune.pipeline.checks import check_objectives
from ganprune.pipeline.config import configured_task, open_finished, read_config
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.results import draw_samples, load_pair, make_measures, measure, save_pair, tell_outcome
from ganprune.pipeline.task import Task, check_fingerprint
from ganprune.runs.directory import CONFIG, SUMMARY, RunDirectory, refuse_changes
from ganprune.settings.evolve import EvolveSettings, finetune_settings
from ganprune.training.finetune import drop_state, finetune

OPTIONS = {"objective": "finetune", "steps": "finetune_steps", "batch": "finetune_batch", "seed": "seed"}


def finetune_run(
    path: str | Path,
    out: str | Path,
    *,
    objective: str = "distil",
    steps: int = 1000,
    batch: int = 4,
    seed: int = 1,
    factories: Mapping[str, str | None] | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Fine-tune a finished run's compact generators further, into a run directory of its own.

    Args:
        path: the run.
        out: a new directory.
        objective: "distil", "features" or "cyclegan"; see ``EvolveSettings.finetune``.
        steps: training steps; the rate decays over the second half.
        batch: images of each domain per step.
        seed: of everything random.
        factories: "generator" and "discriminator" again, where the run's are made by code.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads.
        reporter: whom to tell how far it is.

    Raises:
        UserError: ``path`` holds no finished run, or ``out`` holds one already.
        Interrupted: Ctrl-C or SIGTERM; :func:`resume_finetune` goes on.
    """
    source = open_finished(path)
    config, settings = read_config(source)
    settings = replace(settings, finetune=objective, finetune_steps=steps, finetune_batch=batch, seed=seed)
    finetune_settings(settings)
    task = configured_task(config, device, factories)
    check_objectives(task, settings)
    make_measures(task, settings)
    check_fingerprint(task, config)
    directory = RunDirectory.create(out)
    config |= {
        "command": "finetune", "from": str(source.directory.resolve()), "device": str(task.device),
        "threads": set_threads(threads), "settings": settings.to_json(),
        "from_sha256": weights_digest(load_pair(source, "cpu", task.cyclegan, task.networks)),
    }  # fmt: skip
    with directory.locked():
        directory.check_free(CONFIG)
        directory.write_json(CONFIG, config)
        return _continue(directory, source, config, settings, task, reporter)


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
        options: objective, steps, batch, seed and threads that were given once more; they have to be its own.
        factories: "generator" and "discriminator" again, where the run's are made by code.
        device: None for its own. On another one results may differ in their last digits.
        reporter: whom to tell how far it is.

    Raises:
        UserError: there is none, it is in use, or the run that it began from, or the options, are others.
        Interrupted: Ctrl-C or SIGTERM.
    """
    directory = RunDirectory.open(path)
    with directory.locked():
        config, settings = read_config(directory)
        if config["command"] != "finetune":
            raise UserError("resume", f"{path} ({config['command']})", "a run of ganprune finetune", "Check the path.")
        saved = {name: getattr(settings, field) for name, field in OPTIONS.items()} | {"threads": config["threads"]}
        refuse_changes(saved, options or {}, "the run began", "Leave out what differs, or start a new run.")
        set_threads(config["threads"])
        for name in ("from", "from_sha256"):
            if not isinstance(config.get(name), str):
                found, where = f"nothing under {name!r}", str(directory.path(CONFIG))
                raise UserError(where, found, "what the fine-tune began from", "Restore the file, or begin anew.")
        source = open_finished(config["from"])
        task = configured_task(config, device or config["device"], factories)
        if weights_digest(load_pair(source, "cpu", task.cyclegan, task.networks)) != config["from_sha256"]:
            raise UserError(
                str(source.directory), "other generators than when this began", "those", "Restore them, or begin anew."
            )
        return _continue(directory, source, config, settings, task, reporter)


def _continue(
    directory: RunDirectory,
    source: RunDirectory,
    config: Mapping[str, Any],
    settings: EvolveSettings,
    task: Task,
    reporter: Reporter | None,
) -> RunDirectory:
    """Fine-tune, evaluate and write everything into ``directory``."""
    reporter = reporter or Reporter()
    reporter.directory.append(directory.directory)
    started = time.perf_counter()
    summary = source.read_json(SUMMARY)
    check_fingerprint(task, config)
    compact = load_pair(source, task.device, task.cyclegan, task.networks)
    bits = {name: Individual.from_key(read_description(source.path(name))["bits"]) for name in compact}
    reporter.stage(f"fine-tuning {task.whom}, compact", settings.finetune_steps)
    training = finetune_settings(settings)
    outcome = finetune(task.cyclegan, task.images, compact, training, reporter.training, keep=directory.directory)
    tell_outcome(outcome, reporter.stage)
    save_pair(directory, task, compact, bits, settings)
    reporter.stage("evaluating on test images")
    sides = measure(task, settings, compact)
    for name, figures in sides.items():
        figures |= {key: summary["sides"][name][key] for key in ("algorithm", "search")}
    summary.pop("finetune", None)
    summary |= {"sides": sides, "finetune_seconds": time.perf_counter() - started, "finetuned_from": config["from"]}
    draw_samples(directory.path("samples.png"), task, compact)
    directory.write_json(SUMMARY, summary | ({"finetune": outcome} if outcome else {}))
    drop_state(directory.directory)
    return directory
