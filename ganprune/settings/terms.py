"""The terms of a fine-tune that compare a compact generator with the original, one row each.

A row is a field of :class:`TermSettings`. Its name is that of the term, of its weight and of its loss in logs; it says
what is compared, and by what function. Nothing else knows the terms by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ganprune.settings.fields import Facts, Settings

# What is compared, of the compact generator and of the original. One pass gives all terms of a view what they need.
IMAGE = "image"  # the generators' images
SCORES = "scores"  # what the original's discriminator says of them
SIGHT = "sight"  # what each of its convolutions but the first takes in
IMAGENET = "imagenet"  # the stages of an EfficientNet-Lite1
INSIDE = "inside"  # features of the generators, of different widths
KEPT = "kept"  # means of those channels of the generators that both have
DISCRIMINATOR = (SCORES, SIGHT)  # the views that need one


@dataclass(frozen=True)
class Term:
    """What a row says.

    Attributes:
        view: what is compared.
        distance: "module:name" in :mod:`ganprune.training`. A function of two tensors, the compact generator's and the
            original's, that returns their distance; views of several layers get the mean over these. Or, for what is
            learned or counted on the way, a class that is made of both generators' first batch.
        doc: one line.
    """

    view: str
    distance: str
    doc: str


def term(view: str, distance: str, doc: str) -> Any:
    """Return the field of a :class:`Term`: its weight, 0 or more; 0 leaves it out."""
    return field(default=0.0, metadata={"facts": Facts(low=0), "term": Term(view, distance, doc)})


@dataclass(frozen=True)
class TermSettings(Settings):
    """The weight of each term; all need a teacher. Papers are named where the functions are."""

    distil: float = term(IMAGE, "distances:l1", "L1 distance of the images")
    disa: float = term(SCORES, "distances:squared", "L_DisA, Eq. 5")
    feature_matching: float = term(SIGHT, "distances:relative", "L1 distance of the features")
    features: float = term(INSIDE, "distillation:FeatureDistillation", "distance through trained 1x1 convolutions")
    ssim: float = term(IMAGE, "distances:dissimilarity", "1 - SSIM of the images")
    ssim_scales: float = term(IMAGE, "distances:scaled_dissimilarity", "the same, mean over three scales")
    low: float = term(IMAGE, "distances:coarse", "L1 distance of means over 4x4 pixels")
    high: float = term(IMAGE, "distances:fine", "L1 distance of what these leave out")
    variation: float = term(IMAGE, "distances:variation", "difference of the images' total variations")
    style: float = term(SIGHT, "distances:style", "distance of Gram matrices")
    channels: float = term(SIGHT, "distances:channels", "distance of each image's channel means")
    moments: float = term(SIGHT, "distances:moments", "distance of channel means and mean squares over the batch")
    data_moments: float = term(SIGHT, "moments:DataMoments", "the same over the data set")
    attention: float = term(KEPT, "distances:relative_squared", "distance of the kept channels' mean absolute values")
    imagenet: float = term(IMAGENET, "distances:relative", "L1 distance of the features")
    imagenet_style: float = term(IMAGENET, "distances:style", "distance of Gram matrices")
    imagenet_moments: float = term(IMAGENET, "moments:DataMoments", "means and mean squares over the data set")


TERMS: dict[str, Term] = {each.name: each.metadata["term"] for each in fields(TermSettings)}
