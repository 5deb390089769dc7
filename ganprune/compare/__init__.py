"""``ganprune compare``: search algorithms, operators and settings at equal cost, over several seeds."""

from ganprune.compare.contenders import Contender
from ganprune.compare.runs import Comparison, compare

__all__ = ["Comparison", "Contender", "compare"]
