"""What a user says about a checkpoint beside its place: which epoch, which networks, which side.

``--generator`` and ``--discriminator`` take a specification, or two joined by a slash, A2B's first::

    resnet:padding=zero,upsampling=bilinear     a known architecture; what is not said is inferred from the tensors
    none                                        of discriminators: they are not even read
    package.module:factory                      a function or class that makes the network, also with :KEY=VALUE,...

The last form imports code: it is read only from what a user has given in this call, never from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ganprune.errors import UserError, did_you_mean, reason
from ganprune.settings.fields import Settings, setting
from ganprune.specs import given_parameters, load_function

if TYPE_CHECKING:
    from torch import nn

SIDES = ("A2B", "B2A")
OTHER = {"A2B": "B2A", "B2A": "A2B"}
BACKWARDS = "BtoA"
NONE = "none"  # the specification of discriminators that are left out
KNOWN = {"generator": ("resnet", "unet"), "discriminator": ("patch", NONE)}
KINDS_HELP = "What the {}s are: {}, or package.module:factory (imported); A2B/B2A if they differ.  [default: read off]"


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(Settings):
    """How a checkpoint is to be read.

    Attributes:
        epoch: of ``EPOCH_net_G_A.pth``; None for "latest".
        generator, discriminator: specifications; None to infer everything.
        side: what a generator is that is the only one there; None for what its name says, or A2B.
        trained: the ``--direction`` of the training. After "BtoA", the files of the usual names hold the other sides.
        only: the one side to prune; None for all that there are.

    Raises:
        UserError: more than two specifications, an empty one, an unknown name or side.
    """

    epoch: str | None = setting(None, "Epoch of EPOCH_net_G_A.pth.  [default: latest]")
    generator: str | None = setting(None, KINDS_HELP.format("generator", "resnet or unet:KEY=VALUE,..."))
    discriminator: str | None = setting(
        None, KINDS_HELP.format("discriminator", "patch:KEY=VALUE,..., none (left out)")
    )
    side: str | None = setting(None, "A2B or B2A: what a lone generator is.  [default: by its name]", choices=SIDES)
    trained: str | None = setting(
        None, "AtoB or BtoA: the --direction that the networks were trained with.  [default: AtoB]",
        choices=("AtoB", BACKWARDS),
    )  # fmt: skip
    only: str | None = setting(
        None, "A2B or B2A: prune that generator; the other stays as it is.", choices=SIDES, common=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side is not None and self.trained is not None:
            remedy = "--side says all of a lone generator."
            raise UserError("--trained", f"{self.trained} with --side {self.side}", "one of the two", remedy)
        for part, known in KNOWN.items():
            for text in (self.specification(part, side) for side in SIDES):
                name = (text or "").partition(":")[0]
                said = name in known and not (text or "").startswith(f"{NONE}:")
                if text is not None and not said and not is_reference(part, text):
                    expected = f"{', '.join(known)}, or package.module:factory"
                    raise UserError(part, text, expected, did_you_mean(name, known))

    def specification(self, part: str, side: str) -> str | None:
        """Return what is said about the "generator" or "discriminator" of a side."""
        text = getattr(self, part)
        if text is None:
            return None
        parts = [each.strip() for each in text.split("/")]
        if len(parts) > 2 or not all(parts):
            expected = "one specification, or A2B's and B2A's joined by a slash"
            raise UserError(part, text or "''", expected, f"Correct --{part}.")
        return parts[0] if side == SIDES[0] else parts[-1]

    def leaves_out(self, part: str, side: str) -> bool:
        """Return whether that network is not wanted."""
        return self.specification(part, side) == NONE

    def without_discriminators(self) -> CheckpointOptions:
        """Return the same options for whoever has no use for discriminators."""
        return replace(self, discriminator=NONE)

    def factory(self, part: str, side: str) -> str | None:
        """Return the reference to code that makes the network, if that is what is said."""
        text = self.specification(part, side)
        return text if text is not None and is_reference(part, text) else None

    def to_json(self) -> dict[str, str]:
        """Return what is given."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Any, given: Mapping[str, str | None]) -> CheckpointOptions:
        """Return the options of a run's file, whose references to code must have been given again by the caller.

        Args:
            data: what :meth:`to_json` wrote.
            given: "generator" and "discriminator", as the caller gives them now; None for what is left out.

        Raises:
            UserError: the file's are no such options, or code was not given again, or other code.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(data, Mapping) or any(not isinstance(value, str) for value in data.values()):
            raise UserError("checkpoint options of the run", str(data), "names and texts", "Restore the file.")
        for name in data:
            if name not in known:
                raise UserError("checkpoint option of the run", name, "a known one", did_you_mean(name, known))
        options = cls(**data)
        for part in KNOWN:
            saved, now = data.get(part), given.get(part)
            if now is not None and now != saved:
                expected = f"{saved}, as the run began" if saved else "nothing, as the run began"
                raise UserError(f"--{part}", now, expected, "Leave it out, or start a new run.")
            if now is None and saved is not None and any(is_reference(part, text) for text in saved.split("/")):
                found = f"{saved} from the run's file"
                raise UserError(part, found, "it on the command line too", f"Add --{part} {saved}")
        return options


def is_reference(part: str, text: str) -> bool:
    """Return whether a specification names code: ``package.module:factory``."""
    name, _, rest = text.strip().partition(":")
    first = rest.partition(":")[0]
    return name not in KNOWN[part] and bool(first) and "=" not in first


def make_network(part: str, text: str) -> nn.Module:
    """Return a new network of what ``package.module:factory``, with ``:KEY=VALUE,...`` or without, names.

    It knows its factory's reference.

    Raises:
        UserError: there is no such thing, it takes other arguments, it fails, or it makes something else.
    """
    from torch import nn
    from torch.nn.parameter import is_lazy

    module, _, rest = text.strip().partition(":")
    name, _, options = rest.partition(":")
    function = load_function(part, text, f"{module}:{name}")
    arguments = given_parameters(part, f"{module}:{name}", function, options)
    try:
        network = function(**arguments)
    except Exception as error:  # anything may go wrong in code that we did not write
        found = f"{text} ({type(error).__name__}: {reason(error)})"
        raise UserError("factory", found, "a function that makes a network", "Correct it.") from error
    if not isinstance(network, nn.Module):
        found = f"{text}, which returns {type(network).__name__}"
        raise UserError("factory", found, "a torch.nn.Module", "Return the network.")
    if lazy := [name for name, parameter in network.named_parameters() if is_lazy(parameter)]:
        found, remedy = f"{text}, whose {lazy[0]} has no size yet", "Let the factory pass an image through it once."
        raise UserError("factory", found, "a network with its tensors", remedy)
    network.factory_reference = text  # type: ignore[assignment]
    return network
