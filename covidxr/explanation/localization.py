"""Localization of attributions: in radiologists' boxes, in the lungs, and in lung zones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from covidxr.cards import Localization, ModelCard, Pointing
from covidxr.metrics.intervals import mean_interval, proportion_interval
from covidxr.records import Labels

Maps = npt.NDArray[np.floating]
"""(N, S, S) attributions; negative values are evidence against the class."""
Masks = npt.NDArray[np.bool_]
"""(N, S, S) true inside the boxes, or inside the lungs."""


@dataclass(frozen=True, slots=True)
class HeatMapLocation:
    """Location of one attribution in the lungs. Right and left are the patient's."""

    in_lungs: float
    """Share of the positive attribution inside the lungs."""
    lungs: float
    """Lung area as a share of the image."""
    zone: str
    """Zone with most of the attribution, such as `right lower`; empty where the lungs have none."""
    in_zone: float
    """Its share of the attribution inside the lungs."""


def pointing_hits(maps: Maps, masks: Masks) -> npt.NDArray[np.bool_]:
    """Return (N,) whether the maximum of each attribution is inside its mask (pointing game).

    Zhang et al. 2018, "Top-down neural attention by excitation backprop", IJCV 126:1084, section
    4.2, but without its tolerance of 15 pixels. A plateau points to its pixel nearest to its
    centroid; an attribution without positive values misses.
    """
    hits = np.zeros(len(maps), dtype=np.bool_)
    for i, (heat, mask) in enumerate(zip(maps, masks, strict=True)):
        if heat.max() > 0:
            top = np.argwhere(heat == heat.max())
            row, column = top[((top - top.mean(axis=0)) ** 2).sum(axis=1).argmin()]
            hits[i] = mask[row, column]
    return hits


def shares_inside(maps: Maps, masks: Masks) -> npt.NDArray[np.float64]:
    """Return the (N,) shares of positive attribution inside the masks; 0 where there is none."""
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
    """Return the pointing-game results of attributions.

    Args:
        maps: (N, S, S).
        masks: (N, S, S).
        constant: (N,) hits of the fixed-point baseline on the same images.
        groups: (N,) of dependent images.

    Raises:
        ConfigError: When there are no images.
    """
    hits = pointing_hits(maps, masks)
    gain = mean_interval(hits.astype(np.float64) - constant, groups)
    share = proportion_interval(hits, groups)
    # Without images, `mean_interval` has raised.
    assert share is not None
    return Pointing(len(hits), share, mean_interval(shares_inside(maps, masks), groups), gain)


def best_localization(card: ModelCard, method: str = "") -> Localization | None:
    """Return the evaluated configuration with the largest gain over the fixed point on val.

    Ties are resolved by the share of attribution inside the boxes. Without a method, the best of
    those that explain a layer, which are fast and evaluated on all images; but if it is not
    significantly better than the fixed point, the best Grad-CAM, which is the best known.

    Args:
        card: Of the model.
        method: Only configurations of this method.

    Returns:
        None where no configuration was evaluated.
    """
    own = [
        one
        for one in card.localisation
        if one.settings and (method == one.settings.method or (not method and one.settings.layer))
    ]
    best = max(own, key=lambda one: (one.val.gain.estimate, one.val.inside.estimate), default=None)
    if not method and best and best.val.gain.low <= 0:
        return best_localization(card, "gradcam") or best
    return best


def smoothed_noise(n: int, size: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return (n, size, size) smoothed noise in [0, 1], with blobs as large as an attribution's."""
    random = np.random.default_rng(seed)
    noise = np.stack(
        [gaussian_filter(random.normal(size=(size, size)), 0.06 * size) for _ in range(n)]
    )
    noise -= noise.min(axis=(1, 2), keepdims=True)
    return np.asarray(noise / noise.max(axis=(1, 2), keepdims=True), dtype=np.float32)


def locate_heat_map(
    heat: npt.NDArray[np.floating], lungs: npt.NDArray[np.bool_]
) -> HeatMapLocation:
    """Locate an attribution (S, S) in the lungs (S, S).

    The lungs are split at the center of their bounding box, and each side into three zones of
    equal height.
    """
    positive = np.maximum(heat, 0).astype(np.float64) * lungs
    in_lungs = float(shares_inside(heat[None], lungs[None])[0])
    if not positive.any():
        return HeatMapLocation(in_lungs, float(lungs.mean()), "", 0.0)
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
    return HeatMapLocation(
        in_lungs, float(lungs.mean()), zone, masses[zone] / float(positive.sum())
    )
