"""Options that several commands share, those of settings among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganprune.cli.group import Option
from ganprune.data.sizes import Framing, read_size
from ganprune.data.values import Values, read_background
from ganprune.models.options import KNOWN, CheckpointOptions
from ganprune.settings.evolve import EvolveSettings
from ganprune.settings.fields import Setting, settings_in

FOLDER = click.Path(path_type=Path)
TYPES = {"str": str, "int": int, "float": float}

Decorator = Callable[[Any], Any]
option = partial(click.option, cls=Option)
input_option = partial(option, heading="Input")
machine_option = partial(option, heading="Machine")


class SizeType(click.ParamType):
    """A side length, or height and width: ``256`` or ``192x256``."""

    name = "HxW"

    def __init__(self, field: str):
        self.field = field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return read_size(value, self.field)


class TextType(click.ParamType):
    """What a function makes of a text.

    Args:
        name: what the help shows.
        read: raises UserError where the text can't be.
    """

    def __init__(self, name: str, read: Callable[[str], Any]):
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.read(value) if isinstance(value, str) else value


def together(*options: Decorator) -> Decorator:
    """Return one decorator that adds all these options, in their order."""

    def add(command: Any) -> Any:
        for each in reversed(options):
            command = each(command)
        return command

    return add


preset_option = input_option(
    "--preset",
    default="quick",
    show_default=True,
    help="Defaults of all that follows: quick, large (256x256) or paper.",
)
# What take_framing takes out of a command's options; not all commands have all of it.
FRAMED = ("size", "load_size", "crop", "values", "background", "pairs")
size_options = together(
    input_option(
        "--size", type=SizeType("size"), help="Resize images to one side length, or height x width such as 192x256."
    ),
    input_option(
        "--crop", type=SizeType("crop"),
        help="Cut images of this size out of larger ones instead: at random places in training, else the middle.",
    ),
    input_option(
        "--load-size", type=SizeType("load size"), common=False, help="Resize images to this before --crop cuts them."
    ),
)  # fmt: skip
values_options = together(
    input_option(
        "--values", type=TextType("LOW,HIGH", Values.from_text), common=False,
        help="File values that are black and white, of images above 8 bits; A/B if they differ.  "
        "[default: found on the training images]",
    ),
    input_option(
        "--background", type=TextType("COLOUR", read_background), common=False,
        help="What transparent images are put on: white, black or #RRGGBB.  [default: white]",
    ),
)  # fmt: skip
pairs_option = input_option(
    "--no-pairs", "pairs", is_flag=True, flag_value=False, default=None, common=False,
    help="Files of equal names are no pairs: no figures against the truth.",
)  # fmt: skip
image_options = together(size_options, values_options, pairs_option)
machine_options = together(
    machine_option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    machine_option("--threads", type=int, help="CPU threads.  [default: PyTorch's choice]"),
)
worker_options = together(
    machine_option("--workers", type=int, default=1, show_default=True, help="Processes that evaluate."),
    machine_option(
        "--cluster", common=False, help="Dask scheduler whose workers evaluate: tcp://HOST:PORT, or its file."
    ),
)

dry_run_option = machine_option(
    "--dry-run/--no-dry-run", default=True, common=False, show_default=True,
    help="Try every stage once, on a few images, before any long work.",
)  # fmt: skip


def take_framing(options: dict[str, Any]) -> Framing | None:
    """Take the values of :data:`image_options` out of a command's options; None where none of them is given."""
    given = [options.pop(name, None) for name in FRAMED]
    return Framing.from_options(*given) if any(value is not None for value in given) else None


def take_networks(options: dict[str, Any]) -> CheckpointOptions:
    """Take the values of :data:`checkpoint_options` out of a command's options."""
    names = [setting.name for setting in settings_in(CheckpointOptions)]
    return CheckpointOptions(**{name: options.pop(name) for name in names})


def take_task(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :data:`task_options` and of --device out of a command's options, as ``load_task`` has them."""
    places = {name: options.pop(name) for name in ("checkpoint", "data", "device")}
    return {**places, "size": take_framing(options), "networks": take_networks(options)}


def take_factories(options: dict[str, Any]) -> dict[str, str | None]:
    """Take the values of :data:`factory_options` out of a command's options."""
    return {name: options.pop(name) for name in KNOWN}


def setting_options(
    settings: Any,
    heading: str,
    wanted: Callable[[Setting], bool] = lambda setting: True,
    *,
    defaults: Mapping[str, Any] | None = None,
) -> Decorator:
    """Return what adds an option for each setting of a dataclass that has a help text.

    Args:
        settings: the dataclass, with others nested in it.
        heading: what the options of its own fields stand under in ``--help``.
        wanted: says which settings.
        defaults: the command's own, by the names of options, beside the dataclass's; None where a preset gives the
            defaults, so that an option which is left out is None.
    """

    def declare(setting: Setting) -> Decorator:
        name = setting.name.replace("_", "-")
        facts = setting.facts
        shown: dict[str, Any] = {"help": facts.help, "heading": setting.heading, "common": facts.common}
        if defaults is not None:
            shown |= {"default": defaults.get(setting.name, setting.default), "show_default": True}
        elif setting.default is not None and setting.kind != "bool":
            default = setting.default if setting.kind == "str" else f"{setting.default:g}"
            shown["help"] += f"  [quick: {default}]"
        if setting.kind == "bool":
            plain = defaults is not None and not setting.default  # nothing but leaving it out turns it off
            switch = f"--{name}" if plain else f"--{name}/--no-{name}"
            return option(switch, is_flag=True, **{"default": None, **shown})
        return option(f"--{name}", type=TYPES[setting.kind], **shown)

    return together(*(declare(each) for each in settings_in(settings, heading) if each.facts.help and wanted(each)))


# What take_networks takes out of a command's options: how a checkpoint is read.
checkpoint_options = setting_options(CheckpointOptions, "Input", defaults={})
factory_options = setting_options(CheckpointOptions, "Input", lambda setting: setting.name in KNOWN, defaults={})
# What take_task takes out of a command's options: what is pruned.
task_options = together(
    input_option(
        "--data", type=FOLDER, help="Folder with trainA, trainB, testA, testB.  [default: the shipped images]"
    ),
    input_option("--checkpoint", type=FOLDER, help="Folder of a trained CycleGAN.  [default: the shipped one]"),
    image_options,
    checkpoint_options,
)
evolve_options = setting_options(EvolveSettings, "Machine")
unsearched_options = setting_options(EvolveSettings, "Machine", lambda setting: not setting.facts.searches)


def typed(*without: str) -> dict[str, Any]:
    """Return what was given on the command line of the current command, by parameter, but for some."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in without
    }
