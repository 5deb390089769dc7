"""What a run was begun with, and what of it may change on resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganprune.data.sizes import Framing
from ganprune.errors import UserError
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import CONFIG, SUMMARY, RunDirectory, changes, refuse_changes
from ganprune.runs.files import check_format
from ganprune.settings.evolve import EvolveSettings

FORMAT = 1  # of config.json


RESUMABLE = ("evolve", "finetune")


COMMANDS = (*RESUMABLE, "pick", "baseline")


CONFIG_TYPES: dict[str, tuple[type, ...]] = {
    "checkpoint": (str, type(None)), "data": (str, type(None)), "size": (int, list), "device": (str,),
    "threads": (int,), "settings": (dict,),
}  # fmt: skip


BEFORE = {"width_slope": 0.0}  # what runs were searched with that know no such setting


MAY_GROW = ("generations", "max_evaluations", "max_seconds")


def grow(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that are larger than a run's own, and may be.

    Raises:
        UserError: others differ from the run's; each is named.
    """
    networks = {"epoch": None, "only": None, **config.get("networks", {})}
    fields = ("checkpoint", "data", "size", "load_size", "threads")
    saved = {**config["settings"], **{name: config.get(name) for name in fields}}
    saved |= {name: networks[name] for name in ("epoch", "only")}
    asked = {**options, **{name: _resolved(options[name]) for name in ("checkpoint", "data") if name in options}}
    grown = {name: new for name, old, new in changes(saved, asked) if _may_become(name, old, new)}
    given = {f"--{name.replace('_', '-')}": value for name, value in asked.items() if name not in grown}
    refuse_changes(
        {f"--{name.replace('_', '-')}": value for name, value in saved.items()}, given, "the run began",
        f"Leave out what differs, or start a new run; only {', '.join(MAY_GROW)} may be raised.",
    )  # fmt: skip
    return grown


def _may_become(name: str, old: Any, new: Any) -> bool:
    return name in MAY_GROW and old is not None and new > old


def _resolved(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def read_config(directory: RunDirectory) -> tuple[dict[str, Any], EvolveSettings]:
    """Return the configuration that a run of ``evolve``, ``finetune``, ``pick`` or ``baseline`` was begun with.

    Raises:
        UserError: the file is damaged, or another program's or command's.
    """
    config, path = directory.read_json(CONFIG), directory.path(CONFIG)
    command = config.get("command") if isinstance(config, dict) else None
    if command not in COMMANDS:
        found = f"{directory.directory} (of ganprune {command})" if command else f"{path} without a command"
        raise UserError("run", found, "a run of ganprune evolve", "Check the path.")
    check_format({"format": FORMAT, **config}, FORMAT, path)  # the first ones had none
    for name, kinds in CONFIG_TYPES.items():
        value = config.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool) or name not in config:
            shown = repr(value) if name in config else "nothing"
            raise UserError(f"{name} in {path}", shown, "what the run began with", "Restore the file.")
    try:
        return config, EvolveSettings(**{**BEFORE, **config["settings"]})
    except TypeError as error:
        raise UserError(f"settings in {path}", str(error), "the settings of a run", "Restore the file.") from error


def configured_task(config: Mapping[str, Any], device: str, factories: Mapping[str, str | None] | None = None) -> Task:
    """Load the checkpoint and the images that a run was begun with.

    Args:
        config: of the run.
        device: where the networks go.
        factories: "generator" and "discriminator" as the caller gives them again, where code makes these.
    """
    networks = CheckpointOptions.from_json(config.get("networks", {}), factories or {})
    return load_task(_path(config["checkpoint"]), _path(config["data"]), Framing.from_json(config), device, networks)


def open_finished(path: str | Path) -> RunDirectory:
    """Open a run that has come to its end.

    Raises:
        UserError: there is no run, or it was interrupted.
    """
    directory = RunDirectory.open(path)
    config, _ = read_config(directory)
    if not directory.exists(SUMMARY):
        again = config["command"] in RESUMABLE
        remedy = f"Finish it first: ganprune {config['command']} --resume {path}" if again else "Make it anew."
        raise UserError("run", f"{path} (unfinished)", "a finished run", remedy)
    return directory


def run_networks(config: Mapping[str, Any], given: CheckpointOptions) -> CheckpointOptions:
    """Return how a run's checkpoint is to be read; the caller gives factories again, and nothing else."""
    for name in ("epoch", "only"):
        if getattr(given, name) is not None:
            found = f"{getattr(given, name)} with a run"
            raise UserError(f"--{name}", found, "a checkpoint", "The run keeps what it was begun with; leave it out.")
    factories = {"generator": given.generator, "discriminator": given.discriminator}
    return CheckpointOptions.from_json(config.get("networks", {}), factories)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
