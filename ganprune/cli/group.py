"""The command group: options under headings, a short and a full help, and how mistakes are reported."""

from __future__ import annotations

import errno
from typing import Any

import click

from ganprune import __version__
from ganprune.errors import UserError, did_you_mean
from ganprune.memory import keep_memory

FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


OTHER = "Options"  # the heading of the options that stand under no other, which come last


class Option(click.Option):
    """An option that stands under a heading of ``--help``.

    Args:
        heading: which.
        common: whether ``--help`` of a :class:`Folded` command shows it, and not only ``--help-all``.
    """

    def __init__(self, *names: Any, heading: str = OTHER, common: bool = True, **rest: Any):
        super().__init__(*names, **rest)
        self.heading, self.common = heading, common


class Command(click.Command):
    """A command whose options stand under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record and self.shows(parameter, ctx):
                sections.setdefault(getattr(parameter, "heading", OTHER), []).append(record)
        for heading, records in sorted(sections.items(), key=lambda section: section[0] == OTHER):
            with formatter.section(heading):
                formatter.write_dl(records)

    def shows(self, parameter: click.Parameter, ctx: click.Context) -> bool:
        """Return whether the help lists an option."""
        return True


class Folded(Command):
    """A command of many options: ``--help`` shows the common ones, ``--help-all`` all."""

    def __init__(self, *arguments: Any, **rest: Any):
        super().__init__(*arguments, **rest)
        self.params.append(
            click.Option(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_show_all,
                help="Show all options, not only the common ones.",
            )
        )  # fmt: skip

    def shows(self, parameter: click.Parameter, ctx: click.Context) -> bool:
        return ctx.meta.get("help-all", False) or getattr(parameter, "common", True)


def _show_all(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    if given:
        ctx.meta["help-all"] = True
        click.echo(ctx.get_help())
        ctx.exit()


class Commands(click.Group):
    """A command group that prints a :class:`UserError` as one message and exits with status 2."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(f"unknown command {name!r}. {did_you_mean(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.errno not in FULL_OR_FORBIDDEN:
                raise
            place = f"{error.filename} " if error.filename else ""
            click.echo(f"Error: {place}can't be written ({error.strerror}). Make room, or choose another.", err=True)
            ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ganprune")
def main() -> None:
    """Co-evolutionary filter pruning of CycleGANs: both generators, several times smaller and faster."""
    keep_memory()
