"""What a run was begun with, and what of it may change when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganprune.data.sizes import Framing
from ganprune.data.values import WHITE
from ganprune.errors import UserError
from ganprune.metrics.features import NONE
from ganprune.models.options import CheckpointOptions
from ganprune.pipeline.task import Task, load_task
from ganprune.runs.directory import CONFIG, SEARCHED, SUMMARY, RunDirectory, changes, refuse_changes
from ganprune.runs.files import check_format
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import flat, from_json, settings_in

FORMAT = 2  # of config.json
PATHS = ("checkpoint", "data", "inception_weights")  # resolved, where they are given once more
FOUND_BY = ("epoch", "side", "trained", "only")  # which networks of a checkpoint are which
RESUMABLE = ("evolve", "finetune")
COMMANDS = (*RESUMABLE, "pick", "baseline")
CONFIG_TYPES: dict[str, tuple[type, ...]] = {
    "checkpoint": (str, type(None)), "data": (str, type(None)), "size": (int, list), "device": (str,),
    "threads": (int,), "settings": (dict,), "networks": (dict,),
}  # fmt: skip
MAY_GROW = [setting.name for setting in settings_in(EvolveSettings) if setting.facts.may_grow]


def read_config(directory: RunDirectory, *commands: str) -> tuple[dict[str, Any], EvolveSettings]:
    """Return the configuration that a run was begun with, and the settings in it.

    Args:
        directory: of the run.
        commands: those that may have begun it; none for ``evolve``, ``finetune``, ``pick`` or ``baseline``.

    Raises:
        UserError: the file is damaged, or another program's or command's.
    """
    config, path = directory.read_json(CONFIG), directory.path(CONFIG)
    command = config.get("command") if isinstance(config, dict) else None
    if command not in (commands or COMMANDS):
        found = f"{directory.directory} (of ganprune {command})" if command else f"{path} without a command"
        raise UserError("run", found, f"a run of ganprune {(commands or COMMANDS)[0]}", "Check the path.")
    check_format(config, FORMAT, path)
    for name, kinds in CONFIG_TYPES.items():
        value = config.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool) or name not in config:
            shown = repr(value) if name in config else "nothing"
            raise UserError(f"{name} in {path}", shown, "what the run began with", "Restore the file.")
    try:
        return config, from_json(EvolveSettings, _of_today(config["settings"]))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"settings in {path}", str(error), "the settings of a run", "Restore the file.") from error


def _of_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return saved settings without what earlier versions had: features of a classifier, which ranked damage wrong."""
    measures = settings.get("measures")
    if isinstance(measures, dict) and measures.get("features") in ("auto", "shipped"):
        return {**settings, "measures": {**measures, "features": NONE}}
    return dict(settings)


def configured_task(config: Mapping[str, Any], device: str, factories: Mapping[str, str | None] | None = None) -> Task:
    """Load the checkpoint and the images that a run was begun with.

    Args:
        config: of the run.
        device: where the networks go.
        factories: "generator" and "discriminator" as the caller gives them again, where code makes these.
    """
    networks = CheckpointOptions.from_json(config["networks"], factories or {})
    return load_task(config["checkpoint"], config["data"], Framing.from_json(config), device, networks)


def grow(config: Mapping[str, Any], settings: EvolveSettings, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that are larger than a run's own, and may be.

    Raises:
        UserError: others differ from the run's; each is named.
    """
    saved = {name: config.get(name) for name in ("checkpoint", "data", "size", "load_size", "threads")}
    saved |= {"values": config.get("values"), "background": config.get("background", WHITE)}
    saved["no_pairs"] = config.get("pairs") is False
    saved |= {name: config["networks"].get(name) for name in FOUND_BY}
    saved |= flat(settings)
    places = {name: str(Path(options[name]).resolve()) for name in PATHS if options.get(name)}
    asked = {**options, **places}
    if "pairs" in asked:
        asked["no_pairs"] = not asked.pop("pairs")
    grown = {
        name: new for name, old, new in changes(saved, asked) if name in MAY_GROW and old is not None and new > old
    }
    refuse_changes(
        _as_options(saved), _as_options({name: value for name, value in asked.items() if name not in grown}),
        "the run began", f"Leave out what differs, or start a new run; only {', '.join(MAY_GROW)} may be raised.",
    )  # fmt: skip
    return grown


def _as_options(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"--{name.replace('_', '-')}": value for name, value in values.items()}


def open_finished(path: str | Path) -> RunDirectory:
    """Open a run that has come to its end.

    Raises:
        UserError: there is no run, or it was interrupted.
    """
    directory = RunDirectory.open(path)
    command = read_config(directory)[0]["command"]
    if not directory.exists(SUMMARY):
        remedy = f"Finish it first: ganprune {command} --resume {path}" if command in RESUMABLE else "Make it anew."
        raise UserError("run", f"{path} (unfinished)", "a finished run", remedy)
    return directory


def open_searched(path: str | Path) -> tuple[RunDirectory, str | None]:
    """Open a run that has generators: one that has come to its end, or one whose search has.

    Returns:
        The run, and what there is to say about generators that are not its last; None where they are.

    Raises:
        UserError: there is no run, or it was interrupted in its search.
    """
    directory = RunDirectory.open(path)
    command = read_config(directory)[0]["command"]
    if directory.exists(SUMMARY) or not directory.exists(SEARCHED):
        return open_finished(path), None
    finetuned = _searched(directory)["finetuned"]
    state = "fine-tuned, not evaluated" if finetuned else "as the search left them, not fine-tuned"
    again = f"ganprune {command} --resume {path}"
    return directory, f"{path} is unfinished: its generators are {state}. Finish it: {again}"


def read_summary(directory: RunDirectory) -> dict[str, Any]:
    """Return the summary of a run that :func:`open_searched` opened; before its end what the search knew of it."""
    summary = directory.read_json(SUMMARY) if directory.exists(SUMMARY) else _searched(directory)["summary"]
    if not isinstance(summary, dict):
        raise UserError(str(directory.path(SUMMARY)), "no summary", "that of a run", "Restore the file.")
    return summary


def _searched(directory: RunDirectory) -> dict[str, Any]:
    found = directory.read_json(SEARCHED)
    if not isinstance(found, dict) or not {"finetuned", "bits", "summary"} <= found.keys():
        raise UserError(str(directory.path(SEARCHED)), "other entries", "what a search left", "Restore the file.")
    return found


def has_generators(directory: RunDirectory, bits: Mapping[str, str]) -> bool:
    """Return whether a run holds generators that are worth more than untuned ones of these packed bits: those of its
    end, or the same ones fine-tuned."""
    if directory.exists(SUMMARY):
        return True
    found = _searched(directory) if directory.exists(SEARCHED) else {"finetuned": False}
    return bool(found["finetuned"]) and found["bits"] == dict(bits)


def run_networks(config: Mapping[str, Any], given: CheckpointOptions) -> CheckpointOptions:
    """Return how a run's checkpoint is to be read; the caller gives factories again, and nothing else."""
    for name in FOUND_BY:
        if getattr(given, name) is not None:
            found = f"{getattr(given, name)} with a run"
            raise UserError(f"--{name}", found, "a checkpoint", "The run keeps what it was begun with; leave it out.")
    factories = {"generator": given.generator, "discriminator": given.discriminator}
    return CheckpointOptions.from_json(config["networks"], factories)
