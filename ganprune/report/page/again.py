"""The command that makes a run again, from its ``config.json``, and its settings in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ganprune.data.sizes import OWN, read_size, size_text
from ganprune.settings.evolve import PRESETS, EvolveSettings, make_settings
from ganprune.settings.fields import flat, settings_in

FINETUNE = {"finetune": "objective", "finetune_steps": "steps", "finetune_batch": "batch", "seed": "seed"}


def command_line(config: Mapping[str, Any], settings: EvolveSettings, out: str) -> str:
    """Return what is typed to make a run again.

    Args:
        config: of the run.
        settings: the same's.
        out: where the run is to go.
    """
    command = str(config.get("command"))
    words = ["ganprune", command]
    if command == "evolve":
        words += [*_task(config), *_settings(settings)]
    elif command == "baseline":
        method = config.get("baseline") or {}
        words += [str(method.get("method")), "--weights", str(method.get("weights")), *_task(config)]
        words += _settings(settings, searches=False)
        words += ["--like", str(config["like"])] if "like" in config else []
    elif command == "pick":
        words += [str(config.get("from")), *_criterion(config.get("criterion") or {})]
        words += ["--finetune-steps", str(settings.finetune.steps)]
    else:
        words.append(str(config.get("from")))
        values = flat(settings)
        words += [word for name, option in FINETUNE.items() for word in (f"--{option}", str(values[name]))]
    words += ["--device", str(config["device"]), "--threads", str(config["threads"]), "--out", out]
    return shlex.join(words)


def _task(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that say what is pruned."""
    for name in ("checkpoint", "data"):
        if config[name] is not None:
            yield from (f"--{name}", str(config[name]))
    size, load = size_text(read_size(config["size"])), config.get("load_size")
    if load is not None:
        yield from ("--crop", size, *(() if load == OWN else ("--load-size", size_text(read_size(load)))))
    elif config["data"] is not None:
        yield from ("--size", size)
    values = config.get("values") or {}
    if set(values) == {"A", "B"}:
        yield from ("--values", "/".join(",".join(f"{number:.10g}" for number in values[domain]) for domain in "AB"))
    if config.get("background") not in (None, "white"):
        yield from ("--background", str(config["background"]))
    if config.get("pairs") is False:
        yield "--no-pairs"
    for name, value in config["networks"].items():
        yield from (f"--{name}", str(value))


def _settings(settings: EvolveSettings, *, searches: bool = True) -> Iterator[str]:
    """Yield the options whose values are not the preset's."""
    preset = settings.preset if settings.preset in PRESETS else "quick"
    if preset != "quick":
        yield from ("--preset", preset)
    usual, values = flat(make_settings(preset)), flat(settings)
    for setting in settings_in(EvolveSettings):
        value, name = values[setting.name], setting.name.replace("_", "-")
        if setting.name == "preset" or value == usual[setting.name] or value is None or not setting.facts.help:
            continue
        if setting.facts.searches and not searches and setting.name != "target_ratio":
            continue
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        else:
            yield from (f"--{name}", f"{value:.10g}" if isinstance(value, float) else str(value))


def _criterion(criterion: Mapping[str, Any]) -> Iterator[str]:
    for name, value in criterion.items():
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield from map(str, value if isinstance(value, (list, tuple)) else [value])


def settings_table(settings: EvolveSettings) -> list[tuple[str, str, str]]:
    """Return (option, value, what it is) of all settings of a run."""
    values = flat(settings)
    return [
        (setting.name.replace("_", "-"), "none" if values[setting.name] is None else str(values[setting.name]),
         setting.facts.help or "")
        for setting in settings_in(EvolveSettings)
    ]  # fmt: skip
