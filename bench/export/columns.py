"""What every column of the exported tables is: type, unit, and where it is undefined."""

from __future__ import annotations

from collections.abc import Mapping

_WHO = {
    "network": "text: the network's name",
    "norm": "text: l0, l1, l2 or linf, the norm that distances of this line are measured in",
    "attack": "text: the row's name in the suite",
    "image": "integer: index of the image in the split",
}
_DISTANCE = "in the data's own unit, or in widths of the box where features have boxes of their own"
_INTERVAL = "end of the 95 % bootstrap interval of the median"
_QUARTILE = "quartile of the distances of all images, misclassified ones at 0, not found ones infinite"

RECORDS: Mapping[str, str] = {
    "network": _WHO["network"],
    "attack": "text: the row's name in the suite, an attack or a verifier",
    "library": "text: whose implementation",
    "norm": "text: l0, l1, l2 or linf, the norm that the row minimises or bounds",
    "kind": "text: upper (an attack), lower (a certified lower bound), exact (an exact search)",
    "image": _WHO["image"],
    "label": "integer: true class",
    "predicted": "integer: the network's class for the clean image; -1 where its logits are not finite",
    "status": "text: found, not_found, misclassified, invalid, error, timeout or unsupported",
    "adversarial_class": "integer: the network's class for the adversarial example; -1 unless found",
    "distance": f"float: the distance in the row's own norm, {_DISTANCE}; 0 where misclassified, inf where nothing was found",
    "l0": "float: number of changed values of the same example",
    "l1": f"float: L1 distance of the same example, {_DISTANCE}",
    "l2": f"float: L2 distance of the same example, {_DISTANCE}",
    "linf": f"float: Linf distance of the same example, {_DISTANCE}",
    "pixels": "float: number of changed pixels",
    "lower": "float: certified lower bound of the distance in norm; 0 where nothing is proved",
    "best_seen": "float: distance in norm of the nearest adversarial point that passed through the network; empty where nothing was watched",
    "seconds": "float: wall time, in seconds per image",
    "forwards": "float: images passed forward through the network, per image",
    "backwards": "float: images passed backward through the network, per image",
}
CURVES: Mapping[str, str] = {
    "network": _WHO["network"],
    "attack": "text: the decision-based attack",
    "norm": "text: the norm that it minimises",
    "image": _WHO["image"],
    "queries": "integer: queries per image so far",
    "distance": f"float: distance of the nearest adversarial point asked about so far, {_DISTANCE}; inf where there was none",
}
BEST: Mapping[str, str] = {
    **{name: _WHO[name] for name in ("network", "norm", "image")},
    "label": "integer: true class",
    "distance": f"float: the smallest distance of any candidate of the run, {_DISTANCE}; 0 where misclassified, inf where none is known",
    "lower": "float: the largest certified lower bound of the same image; 0 where nothing is certified",
    "exact": "0 or 1: whether bound and distance meet, so that the minimal distance is known",
    "misclassified": "0 or 1: whether the clean image is already wrong",
    "searched": "0 or 1: whether something that minimises this norm was run on the image",
    "adversarial_class": "integer: class of the best candidate; -1 for none",
    "pixels": "float: number of pixels that the best candidate changes; inf for none",
    "attack": "text: whose candidate it is; empty for none",
}
MEDIANS: Mapping[str, str] = {
    **{name: _WHO[name] for name in ("network", "norm")},
    "images": "integer: images attacked or misclassified",
    "misclassified": "integer: clean images that are already wrong",
    "found": "integer: images with a known adversarial example, or misclassified",
    "q1": f"float: first {_QUARTILE}",
    "median": f"float: median of the best known distances, {_DISTANCE}; inf where half or more are not found",
    "q3": f"float: third {_QUARTILE}",
    "median_low": f"float: lower {_INTERVAL}",
    "median_high": f"float: upper {_INTERVAL}",
    "certified": "float: median certified lower bound; empty where the run has none",
    "exact": "integer: images whose minimal distance is known",
    "bounded": "integer: images with a certified bound above 0",
    "pixels": "float: median number of changed pixels, where the norm counts values and there are several channels; else empty",
    "first": "float: fraction of bootstrap resamples in which this network's median is the largest; empty for one that does not compare",
}
ATTACKS: Mapping[str, str] = {
    **{name: _WHO[name] for name in ("network", "attack", "norm")},
    "library": "text: whose implementation",
    "images": "integer: images with a record",
    "misclassified": "integer: clean images that are already wrong",
    "found": "integer: adversarial examples found",
    "not_found": "integer: images on which none was found",
    "failed": "integer: invalid, error or timeout",
    "found_rate": "float: found over attacked images, 0 to 1; empty for none",
    "q1": f"float: first {_QUARTILE}",
    "median": f"float: median distance, {_DISTANCE}; inf where half or more are not found",
    "q3": f"float: third {_QUARTILE}",
    "median_low": f"float: lower {_INTERVAL}",
    "median_high": f"float: upper {_INTERVAL}",
    "mean_found": "float: mean of the finite distances; read it beside found_rate",
    "ratio": "float: median over images of this attack's distance over the best known one; 1 is the best",
    "ratio_low": "float: lower end of its 95 % bootstrap interval",
    "ratio_high": "float: upper end of its 95 % bootstrap interval",
    "optimality": "float: local optimality (arXiv:2404.19460), 0 for doing nothing, 1 for the best known everywhere; empty where not defined",
    "seen_nearer": "float: fraction of watched images on which a nearer adversarial point, by more than 1 %, passed through the network",
    "seconds": "float: mean wall time, in seconds per attacked image",
    "forwards": "float: mean images passed forward, per attacked image",
    "backwards": "float: mean images passed backward, per attacked image",
    "adds": "float: fraction of attacked images on which it is nearer than every attack of its norm that takes less time",
}
ROBUST: Mapping[str, str] = {
    **{name: _WHO[name] for name in ("network", "norm")},
    "eps": f"float: size of the change, {_DISTANCE}",
    "robust_accuracy": "float: fraction of images that no known change of this size makes wrong, 0 to 1",
    "low": "float: lower end of Wilson's 95 % interval",
    "high": "float: upper end of Wilson's 95 % interval",
    "certified": "float: fraction of images with a certified bound above eps; empty where no verifier was run",
}
IMAGES: Mapping[str, str] = {
    "image": _WHO["image"],
    "label": "integer: true class; empty where there is no record of the image",
    "sha256": "text: SHA-256 of its float32 bytes",
    "sha512": "text: SHA-512 of the same bytes; empty where an earlier version made the run",
}
