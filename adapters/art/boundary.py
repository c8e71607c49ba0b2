"""ART's GeoDA and Sign-OPT for inputs of any shape, begun at adversarial images that they are given."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from art.attacks import evasion
from numpy.typing import NDArray

Array = NDArray[Any]

FEWEST = 500
"""ART's plan of GeoDA's queries ends for at least so many; for fewer it may recur for ever, or divide none."""

AT_ONCE = 50
"""How many of Sign-OPT's directions are asked about together; each takes as much memory as an image."""


class GeoDA(evasion.GeoDA):  # type: ignore[misc]  # ART has no type information, its classes are Any
    """ART's GeoDA, from a given start, on inputs of any shape.

    The library's ``generate`` needs ``np.mat``, which NumPy 2 does not have. It keeps its basis in a file in the working
    directory, draws starts from noise until one is adversarial, for ever if none is, and takes square pictures alone. It
    is written again here; steps, bisections and the plan of queries are the library's. A gradient is estimated a batch at
    a time, as the library keeps all points of an estimate: gigabytes for large pictures.
    """

    sub_basis: Array | None
    """(pixels of a channel, dimensions) float32, what noise is made of; None where it is white."""

    kept = 1.0
    """What a gradient is worth in the next step, where a new one counts 1: in the library as much."""

    def generate(self, x: Array, y: Array | None = None, x_adv_init: Array | None = None, **_: Any) -> Array:
        """Candidates for images.

        Args:
            x: (n, ...) float32 images in the classifier's box.
            y: (n,) integers, the classes to leave; None for the predicted ones.
            x_adv_init: (n, ...) adversarial images to start from.

        Returns:
            (n, ...) float32.

        Raises:
            ValueError: there are no ``x_adv_init``.
        """
        if x_adv_init is None:
            raise ValueError("GeoDA needs adversarial images to start from: x_adv_init")
        self.clip_min, self.clip_max = self.estimator.clip_values
        # Pictures have low frequencies; the order of features in a table means nothing.
        self.sub_basis = low_frequencies(x.shape[-2:], self.sub_dim) if x.ndim == 4 else None
        classes = self.estimator.predict(x).argmax(axis=1) if y is None else y
        known = np.eye(self.estimator.nb_classes, dtype=np.float32)[classes]
        rows = zip(*(np.split(each, len(x)) for each in (x, known, x_adv_init)), strict=True)
        return np.concatenate([self._from(*row) for row in rows])

    def _from(self, x: Array, y: Array, start: Array) -> Array:
        """A candidate (1, ...) for an image (1, ...) of a one-hot class (1, classes)."""
        point = self._binary_search(x, y, start, tol=self.bin_search_tol)
        grad = np.zeros_like(x)
        for queries in self.q_opt_iter[: self.iterate]:
            grad = self.kept * grad + self._black_grad_batch(point, queries, self.batch_size, y)[0]
            point = self._step(x, y, point, grad)
        return np.clip(point, self.clip_min, self.clip_max)

    def _step(self, x: Array, y: Array, point: Array, grad: Array) -> Array:  # noqa: ARG002 - for the mended attack
        """The next point on the boundary, (1, ...) as all arguments are."""
        return self._binary_search(x, y, self._go_to_boundary(x, y, grad), tol=self.bin_search_tol)

    def _binary_search(self, x: Array, y: Array, x_random: Array, tol: float) -> Array:
        # Neighbouring points of float32 may be farther apart than a small tolerance, where the search would not end.
        finest = float(np.finfo(np.float32).eps) * math.sqrt(x.size)
        return np.asarray(super()._binary_search(x, y, x_random, tol=max(tol, finest)))

    def _black_grad_batch(
        self, x_boundary: Array, q_max: int, batch_size: int, original_label: Array
    ) -> tuple[Array, int]:
        total, signs = np.zeros_like(x_boundary), 0
        for begin in range(0, q_max, batch_size):
            noise = self._sub_noise(min(batch_size, q_max - begin), self.sub_basis)
            answers = self.estimator.predict(x_boundary + np.float32(self.sigma) * noise).argmax(axis=1)
            sign = np.where(answers == original_label.argmax(), np.float32(1), np.float32(-1))
            total[0] -= np.tensordot(sign, noise, 1)
            signs += int(sign.sum())
        return total / np.float32(q_max), signs

    def _sub_noise(self, num_noises: int, basis: Array | None) -> Array:
        if basis is not None:
            return np.asarray(super()._sub_noise(num_noises, basis))
        white = np.random.normal(size=(num_noises, *self.estimator.input_shape))  # noqa: NPY002 - as in the library
        return np.asarray(white * (self.clip_max - self.clip_min), dtype=np.float32)

    def _opt_query_iteration(self, var_nq: int, var_t: int, lambda_param: float) -> tuple[list[int], int]:
        if self.max_iter < FEWEST:
            return [self.max_iter], 1
        plan: tuple[list[int], int] = super()._opt_query_iteration(var_nq, var_t, lambda_param)
        return plan


@functools.lru_cache(maxsize=2)
def low_frequencies(shape: tuple[int, int], most: int) -> Array | None:
    """The basis of a picture's low frequencies, that of the library's GeoDA for square pictures.

    Args:
        shape: height and width.
        most: how many frequencies there are along each side; no side has more than it has pixels.

    Returns:
        (height * width, dimensions) float32, its columns orthonormal, not to be changed; None for all frequencies: they are
        a basis of all pictures, and normal noise is the same in each.
    """
    if most >= max(shape):
        return None
    down, across = (_cosines(size, min(size, most)) for size in shape)
    products: Array = np.einsum("yv,xu->yxuv", down, across)
    basis: Array = products.reshape(len(down) * len(across), -1).astype(np.float32)
    basis.flags.writeable = False
    return basis


def _cosines(size: int, frequencies: int) -> Array:
    """The discrete cosine transform's lowest frequencies: (size, frequencies) float64, its columns orthonormal."""
    angles = np.outer(2 * np.arange(size) + 1, np.arange(frequencies)) * (math.pi / (2 * size))
    columns: Array = np.cos(angles) * math.sqrt(2 / size)
    columns[:, 0] /= math.sqrt(2)
    return columns


class SignOPTAttack(evasion.SignOPTAttack):  # type: ignore[misc]  # as above
    """ART's Sign-OPT, untargeted, whose first direction leads to an adversarial image that it is given.

    The library starts in random directions alone, and returns the clean image where none is adversarial. It refuses
    networks of two classes, and asks about one point at a time where many are known.
    """

    _towards: Array | None = None
    """(...) float32, from the image to its start, until the attack has taken it."""

    def generate(self, x: Array, y: Array | None = None, x_adv_init: Array | None = None, **_: Any) -> Array:
        """Candidates for images.

        Args:
            x: (n, ...) float32 images in the classifier's box.
            y: (n,) integers, the classes to leave; None for the predicted ones.
            x_adv_init: (n, ...) adversarial images: where the first directions lead.

        Returns:
            (n, ...) float32.

        Raises:
            ValueError: there are no ``x_adv_init``.
        """
        if x_adv_init is None:
            raise ValueError("Sign-OPT needs adversarial images to start from: x_adv_init")
        classes = self.estimator.predict(x).argmax(axis=1) if y is None else y
        found = np.empty_like(x)
        for row, (image, label, start) in enumerate(zip(x, classes, x_adv_init, strict=True)):
            self._towards = start - image
            found[row], _, _ = self._attack(image, int(label))
        return found

    def _is_label(self, x_0: Array, label: int | None) -> bool:
        # The first question is about a random direction, in whose place the given one is taken: it is adversarial.
        return self._towards is None and bool(super()._is_label(x_0, label))

    def _fine_grained_binary_search(
        self, x_0: Array, y_0: int, theta: Array, initial_lbd: float, *rest: Any
    ) -> tuple[float, int]:
        if self._towards is not None:
            # The caller keeps ``theta``, an array of its own, as the direction.
            initial_lbd = float(np.linalg.norm(self._towards))
            theta[...] = self._towards / initial_lbd
            self._towards = None
        found: tuple[float, int] = super()._fine_grained_binary_search(x_0, y_0, theta, initial_lbd, *rest)
        return found

    def _sign_grad(
        self, x_0: Array, y_0: int, epsilon: float, theta: Array, initial_lbd: float, *_: Any
    ) -> tuple[Array, int]:
        total, axes = np.zeros(theta.shape, dtype=np.float32), tuple(range(1, theta.ndim + 1))
        for begin in range(0, self.k, AT_ONCE):
            number = min(AT_ONCE, self.k - begin)
            drawn = np.random.randn(number, *theta.shape).astype(np.float32)  # noqa: NPY002 - as in the library
            drawn /= np.sqrt(np.square(drawn).sum(axes, keepdims=True))
            tried = theta + np.float32(epsilon) * drawn
            tried /= np.sqrt(np.square(tried).sum(axes, keepdims=True))
            points = np.clip(x_0 + np.float32(initial_lbd) * tried, self.clip_min, self.clip_max)
            answers = self.estimator.predict(points).argmax(axis=1)
            total += np.tensordot(np.where(answers == y_0, np.float32(1), np.float32(-1)), drawn, 1)
        return total / np.float32(self.k), self.k
