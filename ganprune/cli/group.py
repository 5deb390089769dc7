"""The command group and how it reports mistakes."""

from __future__ import annotations

import errno
from typing import Any

import click

from ganprune import __version__
from ganprune.errors import UserError, did_you_mean

FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Commands(click.Group):
    """A command group that prints a :class:`UserError` as one message and exits with status 2."""

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
