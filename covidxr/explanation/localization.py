"""Whether heat maps lie where they should: in the radiologists' boxes, in the lungs, and in which part of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from covidxr.cards import Localisation, ModelCard, Pointing
from covidxr.metrics.intervals import mean_interval, proportion_interval
from covidxr.records import Labels

Maps = npt.NDArray[np.floating]
"""(N, S, S) heat maps; below 0 is what speaks against the class."""
Masks = npt.NDArray[np.bool_]
"""(N, S, S) true inside the boxes, or inside the lungs."""


@dataclass(frozen=True, slots=True)
class MapFacts:
    """Where one map lies. Right and left are the patient's: the patient's right is the picture's left.

    in_lungs: share of the positive part of the map that lies in the lungs.  lungs: share of the picture that is lung.
    zone: the sixth of the lungs that holds most of what lies in them, `right lower`; empty when nothing does.  in_zone: how much
    of what lies in the lungs it holds.
    """

    in_lungs: float
    lungs: float
    zone: str
    in_zone: float


def pointing_hits(maps: Maps, masks: Masks) -> npt.NDArray[np.bool_]:
    """(N,) whether the highest point of each map lies in its mask, with no tolerance; a map with nothing above 0 misses.

    A plateau, such as a cell of a coarse map, points to the pixel in it that is nearest to its mean place.
    Zhang et al. 2018, "Top-down neural attention by excitation backprop", IJCV 126:1084, section 4.2, there with 15 pixels.
    """
    hits = np.zeros(len(maps), dtype=np.bool_)
    for i, (heat, mask) in enumerate(zip(maps, masks, strict=True)):
        if heat.max() > 0:
            top = np.argwhere(heat == heat.max())
            row, column = top[((top - top.mean(axis=0)) ** 2).sum(axis=1).argmin()]
            hits[i] = mask[row, column]
    return hits


def shares_inside(maps: Maps, masks: Masks) -> npt.NDArray[np.float64]:
    """(N,) share of the positive part of each map that lies in its mask; 0 where nothing is positive."""
    positive = np.maximum(maps, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2))
    inside: npt.NDArray[np.float64] = (positive * masks).sum(axis=(1, 2))
    share: npt.NDArray[np.float64] = np.divide(
        inside, total, out=np.zeros_like(total), where=total > 0
    )
    return share


def pointing(
    maps: Maps, masks: Masks, constant: npt.NDArray[np.bool_], groups: Labels | None = None
) -> Pointing:
    """Return how well maps find the masks, beside the hits (N,) of the constant map on the same pictures.

    Raises ConfigError when there are none.
    """
    hits = pointing_hits(maps, masks)
    gain = mean_interval(hits.astype(np.float64) - constant, groups)
    share = proportion_interval(hits, groups)
    assert share is not None  # or there would be no gain
    return Pointing(len(hits), share, mean_interval(shares_inside(maps, masks), groups), gain)


def best_localisation(card: ModelCard, method: str = "") -> Localisation | None:
    """Return the kind of map of a method that gains most on the constant map on val; None if none was measured.

    Where two gain the same, the one with more of its positive part in the boxes. Without a method, the best of those that explain a
    layer, which take no longer than a prediction and were judged on all pictures; but if even that may be no better than the
    constant map, the best Grad-CAM, the one that readers know.
    """
    own = [
        one
        for one in card.localisation
        if one.settings and (method == one.settings.method or (not method and one.settings.layer))
    ]
    best = max(own, key=lambda one: (one.val.gain.estimate, one.val.inside.estimate), default=None)
    if not method and best and best.val.gain.low <= 0:
        return best_localisation(card, "gradcam") or best
    return best


def noise_maps(n: int, size: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return (n, size, size) maps of smoothed noise in [0, 1], blobs about as large as those of a heat map."""
    random = np.random.default_rng(seed)
    noise = np.stack(
        [gaussian_filter(random.normal(size=(size, size)), 0.06 * size) for _ in range(n)]
    )
    noise -= noise.min(axis=(1, 2), keepdims=True)
    return np.asarray(noise / noise.max(axis=(1, 2), keepdims=True), dtype=np.float32)


def map_facts(heat: npt.NDArray[np.floating], lungs: npt.NDArray[np.bool_]) -> MapFacts:
    """Say where one map (S, S) lies, by its lungs (S, S).

    The lungs are split by the vertical middle of their bounding box, then each side into three bands of its own height.
    """
    positive = np.maximum(heat, 0).astype(np.float64) * lungs
    in_lungs = float(shares_inside(heat[None], lungs[None])[0])
    if not positive.any():
        return MapFacts(in_lungs, float(lungs.mean()), "", 0.0)
    columns = np.flatnonzero(lungs.any(axis=0))
    middle = (columns[0] + columns[-1] + 1) // 2
    masses: dict[str, float] = {}
    for side, own in (("right", np.s_[:, :middle]), ("left", np.s_[:, middle:])):
        rows = np.flatnonzero(lungs[own].any(axis=1))
        if not len(rows):
            continue
        bands = np.linspace(rows[0], rows[-1] + 1, 4).round().astype(int)
        for band, start, end in zip(("upper", "middle", "lower"), bands, bands[1:], strict=False):
            masses[f"{side} {band}"] = float(positive[own][start:end].sum())
    zone = max(masses, key=lambda name: masses[name])
    return MapFacts(in_lungs, float(lungs.mean()), zone, masses[zone] / float(positive.sum()))
