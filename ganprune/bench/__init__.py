"""``ganprune bench``: how fast this machine evaluates individuals, against the published procedure."""

from ganprune.bench.case import make_subject
from ganprune.bench.measure import bench
from ganprune.bench.published import published_evaluation, use_pytorchs_layers

__all__ = ["bench", "make_subject", "published_evaluation", "use_pytorchs_layers"]
