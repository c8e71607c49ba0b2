"""ART's attacks with their defects mended: each beside the library's own, never in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.attacks import evasion
from art.utils import check_and_transform_label_format, original_to_tanh, tanh_to_original
from numpy.typing import NDArray

from adapters.art.boundary import GeoDA

Array = NDArray[Any]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants, those of its paper (arXiv:1412.6980)."""


_STEPS = 50
"""How many steps of the mended GeoDA are as long as the distance; with the library's 100 it goes twice as far."""


class _Mended:
    """What the mended attacks share: images in batches, their classes one-hot."""

    estimator: Any
    batch_size: int

    def generate(self, x: Array, y: Array | None = None, **_: Any) -> Array:
        """Candidates for images.

        Args:
            x: (n, ...) images in the classifier's box.
            y: (n,) integers or (n, classes) one-hot, the classes to leave; None for the predicted ones.

        Returns:
            (n, ...) float32; the clean image where nothing adversarial was found.
        """
        if y is None:
            y = self.estimator.predict(x, batch_size=self.batch_size).argmax(axis=1)
        y = check_and_transform_label_format(np.asarray(y), nb_classes=self.estimator.nb_classes)
        x = x.astype(np.float32)
        batches = [slice(i, i + self.batch_size) for i in range(0, len(x), self.batch_size)]
        return np.concatenate([self._candidates(x[batch], y[batch]) for batch in batches])

    def _candidates(self, x: Array, y: Array) -> Array:
        """Candidates for one batch of float32 images and their one-hot classes."""
        raise NotImplementedError


class RepairedCarliniL2(_Mended, evasion.CarliniL2Method):  # type: ignore[misc]  # ART has no type information
    """C&W in L2 (arXiv:1608.04644) with the library's loss, and the paper's optimiser and search.

    What is mended:

    - Adam, as in the paper, instead of a line search along the gradient. The derivative of tanh is 2e-6 at black and
      white pixels; a line search scales all pixels alike and never moves these, Adam scales each by itself.
    - The binary search for the constant keeps a lower and an upper end. The library's lower end is another name for
      the current value, so that it never rises again after a success.
    - The loss has no gradient where the class has already changed. The library's has, and its line search hides it.

    Args:
        classifier, confidence, learning_rate, binary_search_steps, max_iter, initial_const, batch_size: as in the library.
        smoother: images are pulled towards grey by this factor before the inverse of tanh; the library's
            0.999999 puts black and white pixels too far out for the steps that there are.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        confidence: float = 0.0,
        learning_rate: float = 0.05,
        binary_search_steps: int = 6,
        max_iter: int = 300,
        initial_const: float = 1.0,
        batch_size: int = 25,
        smoother: float = 0.9999,
    ) -> None:
        super().__init__(
            classifier,
            confidence=confidence,
            learning_rate=learning_rate,
            binary_search_steps=binary_search_steps,
            max_iter=max_iter,
            initial_const=initial_const,
            batch_size=batch_size,
            verbose=False,
        )
        self._tanh_smoother = smoother

    def _candidates(self, x: Array, y: Array) -> Array:
        return self._minimise(x, y)[0]

    def _minimise(self, x: Array, y: Array, free: Array | None = None) -> tuple[Array, Array]:
        """The nearest adversarial images that were met, with only the ``free`` values moving.

        Returns:
            (n, ...) float32 candidates, and the (n,) constants that found them; the clean image and infinity where
            none did.
        """
        low, high = self.estimator.clip_values
        free = np.ones(x.shape, dtype=bool) if free is None else free
        const = np.full(len(x), self.initial_const)
        lower, upper = np.zeros(len(x)), np.full(len(x), np.inf)
        best, shortest, found_by = x.copy(), np.full(len(x), np.inf), np.full(len(x), np.inf)
        for _ in range(self.binary_search_steps):
            w = original_to_tanh(x, low, high, np.float32(self._tanh_smoother))
            first, second = np.zeros_like(w), np.zeros_like(w)
            succeeded = np.zeros(len(x), dtype=bool)
            for step in range(1, self.max_iter + 1):
                candidates = np.where(free, tanh_to_original(w, low, high), x)
                logits, squares, loss = self._loss(x, candidates, y, const)
                adversarial = loss <= squares
                succeeded |= adversarial
                nearer = adversarial & (squares < shortest)
                best[nearer], shortest[nearer], found_by[nearer] = candidates[nearer], squares[nearer], const[nearer]
                weights = np.where(adversarial, 0.0, const).astype(np.float32)
                gradient = self._loss_gradient(logits, y, x, candidates, w, weights, low, high)
                first = _BETA_1 * first + (1 - _BETA_1) * gradient
                second = _BETA_2 * second + (1 - _BETA_2) * np.square(gradient)
                length = np.sqrt(second / (1 - _BETA_2**step)) + _EPSILON
                w = w - self.learning_rate * first / (1 - _BETA_1**step) / length
            upper, lower = np.where(succeeded, const, upper), np.where(succeeded, lower, const)
            bounded = np.isfinite(upper)
            const = np.where(bounded, (lower + np.where(bounded, upper, 0)) / 2, const * 10)
        return best, found_by


class RepairedCarliniL0(RepairedCarliniL2):
    """C&W in L0 (arXiv:1608.04644, section VI.B) on the mended L2 attack.

    The L2 attack is repeated; after each success the pixels that contribute least to it (gradient times change) are
    fixed to the image's values, until the L2 attack fails. What is mended beside L2: the library fixes a single value
    in each pass, and returns the last image instead of the best.

    Args:
        classifier, confidence, learning_rate, binary_search_steps, max_iter, initial_const, batch_size, smoother: as
            in :class:`RepairedCarliniL2`, for each pass.
        passes: the maximum number of repetitions.
        fraction: of the pixels still free, how many are fixed in a pass; at least one.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        confidence: float = 0.0,
        learning_rate: float = 0.05,
        binary_search_steps: int = 3,
        max_iter: int = 100,
        initial_const: float = 1.0,
        batch_size: int = 25,
        smoother: float = 0.9999,
        passes: int = 40,
        fraction: float = 0.2,
    ) -> None:
        super().__init__(
            classifier,
            confidence=confidence,
            learning_rate=learning_rate,
            binary_search_steps=binary_search_steps,
            max_iter=max_iter,
            initial_const=initial_const,
            batch_size=batch_size,
            smoother=smoother,
        )
        self.passes = passes
        self.fraction = fraction

    def _candidates(self, x: Array, y: Array) -> Array:
        free, best = np.ones(x.shape, dtype=bool), x.copy()
        running = np.arange(len(x))
        for _ in range(self.passes):
            candidates, constants = self._minimise(x[running], y[running], free[running])
            succeeded = np.isfinite(constants)
            running, candidates = running[succeeded], candidates[succeeded]
            if not running.size:
                break
            best[running] = candidates
            contributions = np.abs(self._margin_gradient(candidates, y[running]) * (candidates - x[running]))
            for row, contribution in zip(running, contributions, strict=True):
                (indices,) = np.nonzero(free[row].ravel())
                order = indices[np.argsort(contribution.ravel()[indices], kind="stable")]
                free[row].ravel()[order[: max(1, int(self.fraction * len(order)))]] = False
        return best

    def _margin_gradient(self, x: Array, y: Array) -> Array:
        """Gradient of the own logit minus the largest other one."""
        others = np.where(y > 0, -np.inf, self.estimator.predict(x, batch_size=self.batch_size)).argmax(axis=1)
        own = self.estimator.class_gradient(x, label=y.argmax(axis=1))
        return np.asarray(own - self.estimator.class_gradient(x, label=others)).reshape(x.shape)


class RepairedCarliniLInf(_Mended, evasion.CarliniLInfMethod):  # type: ignore[misc]  # as above
    """C&W in Linf (arXiv:1608.04644, section VI.C) with the library's loss, and the paper's search.

    What is mended:

    - The constant that weighs the class against the distance enters the gradient, where the library leaves it out, and
      the class has no gradient once it has changed. Without the two, pixels whose derivative is above 1 move further
      away from the image for ever.
    - Each search begins where the last one that succeeded ended, as in the paper; the library's begin at the image.
    - A search ends at the first adversarial image below its limit, and the nearest of all is kept; the library looks
      at the last image of a search only, and it takes one image at a time.

    Args:
        classifier, confidence, learning_rate, max_iter, decrease_factor, initial_const, largest_const, const_factor: as
            in the library.
        batch_size: how many images are searched for together.
        smoother: as in :class:`RepairedCarliniL2`.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        confidence: float = 0.0,
        learning_rate: float = 0.05,
        max_iter: int = 100,
        decrease_factor: float = 0.9,
        initial_const: float = 1.0,
        largest_const: float = 20.0,
        const_factor: float = 2.0,
        batch_size: int = 25,
        smoother: float = 0.9999,
    ) -> None:
        super().__init__(
            classifier,
            confidence=confidence,
            learning_rate=learning_rate,
            max_iter=max_iter,
            decrease_factor=decrease_factor,
            initial_const=initial_const,
            largest_const=largest_const,
            const_factor=const_factor,
            batch_size=batch_size,
            verbose=False,
        )
        self._tanh_smoother = smoother

    def _candidates(self, x: Array, y: Array) -> Array:
        """Search below a limit that falls with every success; where a search fails, raise the constant."""
        low, high = self.estimator.clip_values
        w = original_to_tanh(x, low, high, np.float32(self._tanh_smoother))
        best, shortest = x.copy(), np.full(len(x), np.inf)
        tau, const = np.full(len(x), high - low, np.float32), np.full(len(x), self.initial_const, np.float32)
        running = np.arange(len(x))
        while running.size:
            ends, distances = self._descend(x[running], y[running], w[running], tau[running], const[running])
            nearer = distances < shortest[running]
            rows, failed = running[nearer], running[~nearer]
            w[rows], shortest[rows] = ends[nearer], distances[nearer]
            best[rows] = tanh_to_original(w[rows], low, high)
            tau[rows] = self.decrease_factor * np.minimum(tau[rows], shortest[rows])
            const[failed] *= self.const_factor
            running = running[(const[running] < self.largest_const) & (tau[running] > (high - low) / 256)]
        return best

    def _descend(self, x: Array, y: Array, w: Array, tau: Array, const: Array) -> tuple[Array, Array]:
        """Adam from ``w`` on, each image until it is adversarial within its limit.

        Returns:
            (n, ...) where each image was nearest, and its (n,) distances there; infinity where none was adversarial.
        """
        low, high = self.estimator.clip_values
        limits = tau.reshape(-1, *[1] * (x.ndim - 1))
        ends, distances = w.copy(), np.full(len(x), np.inf)
        first, second = np.zeros_like(w), np.zeros_like(w)
        running = np.arange(len(x))
        for step in range(1, self.max_iter + 1):
            candidates = tanh_to_original(w[running], low, high)
            logits = self.estimator.predict(candidates, batch_size=self.batch_size)
            others = np.where(y[running] > 0, -np.inf, logits).argmax(axis=1)
            ahead = (logits * y[running]).sum(axis=1) - logits[np.arange(len(running)), others] + self.confidence
            change = candidates - x[running]
            length = np.abs(change).reshape(len(running), -1).max(axis=1)
            nearer = (ahead < 0) & (length < distances[running])
            ends[running[nearer]], distances[running[nearer]] = w[running[nearer]], length[nearer]
            open_rows = distances[running] >= tau[running]
            running, change, others, ahead = running[open_rows], change[open_rows], others[open_rows], ahead[open_rows]
            if not running.size:
                break
            candidates = candidates[open_rows]
            weights = np.where(ahead < 0, 0, const[running]).reshape(limits[running].shape)
            margin = self.estimator.class_gradient(candidates, label=y[running].argmax(axis=1))
            margin = (margin - self.estimator.class_gradient(candidates, label=others)).reshape(change.shape)
            gradient = weights * margin + np.where(np.abs(change) > limits[running], np.sign(change), 0)
            gradient = gradient * (1 - np.square(np.tanh(w[running]))) * ((high - low) / 2)
            first[running] = _BETA_1 * first[running] + (1 - _BETA_1) * gradient
            second[running] = _BETA_2 * second[running] + (1 - _BETA_2) * np.square(gradient)
            scale = np.sqrt(second[running] / (1 - _BETA_2**step)) + _EPSILON
            w[running] = w[running] - self.learning_rate * first[running] / (1 - _BETA_1**step) / scale
        return ends, distances


class RepairedGeoDA(GeoDA):
    """GeoDA (arXiv:2003.06468) with the library's estimates, and steps that suit the distance.

    What is mended:

    - A step along the gradient is a fiftieth of the present distance; the gradient gives the direction alone. The
      library's is as long as the gradient makes it, whatever the box: in a box of [0, 1] the first step leaves it, and what
      is cut off there turns the direction.
    - An earlier gradient is worth less in each step, as in the authors' code (github.com/thisisalirah/GeoDA), which keeps
      0.7 of it for 0.3 of a new one. The library adds up all, the first, of a few dozen queries, as much as the last.
    - A point that is not adversarial inside the box, or is farther than the present one, is not taken.

    Args:
        estimator, batch_size, norm, sub_dim, max_iter, bin_search_tol, lambda_param, sigma, verbose: as in the library; the
            norm is 2 or "inf".
    """

    kept = 0.7

    def _step(self, x: Array, y: Array, point: Array, grad: Array) -> Array:
        present = self._distance(x, point)
        direction = grad / np.linalg.norm(grad)
        # The library's steps are 5, 10, ... 500 times the gradient; in Linf, times its signs over its length.
        step = present / _STEPS
        found = super()._step(x, y, point, direction * (5 / step if self.norm == "inf" else step / 5))
        found = np.clip(found, self.clip_min, self.clip_max)
        nearer = self._distance(x, found) < present and self._is_adversarial(found, y)
        return found if nearer else point

    def _distance(self, x: Array, point: Array) -> float:
        changes = np.abs(point - x)
        return float(changes.max() if self.norm == "inf" else np.linalg.norm(changes))
