"""What workers are sent once: objects too large to travel with every call, known by the hash of their content.

A :class:`Portable` object pickles to its address, the SHA-256 of the payload that it was packed into and its name
there: a hundred bytes instead of all networks and images. Whoever has installed that payload gets the object at that
address. A payload is made and read by the processes of one run; none is ever read from a file.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganprune.errors import UserError

_installed: dict[str, Mapping[str, Portable]] = {}  # in this process, by digest


class Portable:
    """An object that pickles to its address in a payload.

    Attributes:
        address: (digest, name) while it is packed, else None.
    """

    address: tuple[str, str] | None = None

    def travelling(self) -> dict[str, Any]:
        """Return the attributes that a worker needs; caches may be left out."""
        return {name: value for name, value in vars(self).items() if name != "address"}

    def __reduce__(self) -> tuple[Any, ...]:
        if self.address is None:
            expected = "workers that have its networks and images"
            remedy = "Use the map of ganprune.parallel.workers.Workers, or --workers."
            raise UserError(type(self).__name__, "a call in another process", expected, remedy)
        return at_address, self.address


@dataclass(frozen=True)
class Payload:
    """Portable objects as bytes.

    Attributes:
        digest: SHA-256 of the bytes.
        data: the bytes.
    """

    digest: str
    data: bytes


def pack(objects: Mapping[str, Portable]) -> Payload:
    """Turn objects into a payload and give each its address; what they share is in it once.

    The objects stay at that address in this process until :func:`release`.

    Raises:
        UserError: a network's class can't be found by other processes.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(dict(objects))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            "workers", f"networks that other processes can't have ({error})", "classes defined at the top of a module",
            "Define them there, or leave out --workers.",
        ) from error  # fmt: skip
    data = buffer.getvalue()
    payload = Payload(hashlib.sha256(data).hexdigest(), data)
    _keep(payload.digest, objects)
    return payload


def install(payload: Payload) -> None:
    """Make a payload's objects known in this process.

    Raises:
        UserError: the bytes are not those that were sent.
    """
    found = hashlib.sha256(payload.data).hexdigest()
    if found != payload.digest:
        expected = f"content {payload.digest[:12]}"
        raise UserError("payload of a worker", f"content {found[:12]}", expected, "Start the workers again.")
    if payload.digest not in _installed:
        _keep(payload.digest, pickle.loads(payload.data))


def _keep(digest: str, objects: Mapping[str, Portable]) -> None:
    for name, packed in objects.items():
        packed.address = digest, name
    _installed[digest] = dict(objects)


def release(digest: str) -> None:
    """Forget a payload in this process; its objects are without an address again."""
    for packed in _installed.pop(digest, {}).values():
        packed.address = None


def at_address(digest: str, name: str) -> Any:
    """Return the object at an address.

    Raises:
        UserError: this process has no such payload.
    """
    if digest not in _installed:
        found = f"none with content {digest[:12]}"
        raise UserError("payload of a worker", found, "the one that is asked for", "Start it again.")
    return _installed[digest][name]


class _Pickler(pickle.Pickler):
    """Pickles portable objects whole."""

    def reducer_override(self, packed: Any) -> Any:
        if isinstance(packed, Portable):
            return copyreg.__newobj__, (type(packed),), packed.travelling()  # type: ignore[attr-defined]
        return NotImplemented
