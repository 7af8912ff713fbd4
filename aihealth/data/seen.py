"""What a release was trained and validated on, as hashes, so that no figure is measured on it.

Of each image two things are kept: a salted digest of its group, which finds the same data prepared
again, and a code of 256 signs, which finds the same picture recompressed or rescaled. A sign says
on which side of a random plane the Laplacian of the image's 16 x 16 thumbnail lies, less the mean
of all (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002). From 256
signs of planes that differ from release to release no image can be rebuilt.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aihealth import images
from aihealth.data.parallel import in_order
from aihealth.data.prepared import Images
from aihealth.errors import UserError

SIDE = 16  # of a thumbnail, pixels
BITS = 256
# Codes of near-duplicates (thumbnails that correlate above 0.99) differ in fewer signs than this.
NEAR = 28
_NUMBERS = (SIDE - 2) ** 2  # of a thumbnail's Laplacian
_GROUP_BYTES = 8
_CHUNK = 256  # images compared at a time


@dataclasses.dataclass(frozen=True)
class Seen:
    """Hashes of images.

    Attributes:
        salt: 16 bytes, drawn anew where a chain of trainings begins.
        mean: float32 `(196,)`, the mean of the Laplacians, each of mean 0 and length 1.
        codes: uint8 `(n, 32)`, 256 signs for each image.
        groups: uint8 `(m, 8)`, a digest for each group.
    """

    salt: bytes
    mean: np.ndarray
    codes: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Images], before: "Seen | None" = None) -> "Seen":
        """Hash the images that a release was trained and validated on.

        Args:
            parts: the splits.
            before: what the weights that the training started from had seen; it is kept.
        """
        laplacians = np.concatenate([_laplacians(part) for part in parts])
        if before is None:
            salt = np.random.default_rng().bytes(16)
            before = cls(
                salt,
                laplacians.mean(0).astype(np.float32),
                np.zeros((0, BITS // 8), np.uint8),
                np.zeros((0, _GROUP_BYTES), np.uint8),
            )
        codes = before._codes(laplacians)
        groups = before._digests(np.concatenate([part.groups for part in parts]))
        return dataclasses.replace(
            before,
            codes=np.unique(np.concatenate([before.codes, codes]), axis=0),
            groups=np.unique(np.concatenate([before.groups, groups]), axis=0),
        )

    def contains(self, part: Images) -> np.ndarray:
        """Which images, or near-duplicates of them, are among these.

        Args:
            part: images; a group of which one image is among them counts as a whole.

        Returns:
            bool `(n,)`.
        """
        known = {row.tobytes() for row in self.groups}
        found = np.array([row.tobytes() in known for row in self._digests(part.groups)], bool)
        own = np.unpackbits(self.codes, axis=1).astype(np.float32)
        asked = np.unpackbits(self._codes(_laplacians(part)), axis=1).astype(np.float32)
        for start in range(0, len(asked), _CHUNK):
            rows = asked[start : start + _CHUNK]
            equal = rows @ own.T + (1 - rows) @ (1 - own).T
            found[start : start + _CHUNK] |= (equal > BITS - NEAR).any(axis=1)
        return np.isin(part.groups, part.groups[found])

    def save(self, path: str | Path) -> None:
        """Write plain arrays, no pickle."""
        np.savez_compressed(
            path,
            salt=np.frombuffer(self.salt, np.uint8),
            mean=self.mean,
            codes=self.codes,
            groups=self.groups,
        )

    @classmethod
    def load(cls, path: str | Path) -> "Seen":
        """Read what `save` wrote.

        Raises:
            UserError: the file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = cls(
                    arrays["salt"].tobytes(), arrays["mean"], arrays["codes"], arrays["groups"]
                )
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files.
            raise UserError(f"{path} is damaged; download the release again") from error
        shapes = found.mean.shape, found.codes.shape[1:], found.groups.shape[1:]
        kinds = found.mean.dtype.kind, found.codes.dtype, found.groups.dtype
        if (
            shapes != ((_NUMBERS,), (BITS // 8,), (_GROUP_BYTES,))
            or kinds != ("f", np.uint8, np.uint8)
            or not np.isfinite(found.mean).all()
            or len(found.salt) != 16
        ):
            raise UserError(f"{path} is damaged; download the release again")
        return found

    def _codes(self, laplacians: np.ndarray) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(b"planes" + self.salt).digest()[:8])
        planes = np.random.default_rng(seed).standard_normal((_NUMBERS, BITS))
        return np.packbits((laplacians - self.mean) @ planes > 0, axis=1)

    def _digests(self, groups: np.ndarray) -> np.ndarray:
        digests = [
            hashlib.blake2b(group.encode(), key=self.salt, digest_size=_GROUP_BYTES).digest()
            for group in np.unique(groups)
        ]
        numbers = np.unique(groups, return_inverse=True)[1]
        table = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _GROUP_BYTES)
        return table[numbers]


def _laplacians(part: Images) -> np.ndarray:
    """float64 `(n, 196)`, each of mean 0 and length 1; thumbnails themselves are all alike."""
    small = list(in_order(lambda pixels: images.prepare(pixels, SIDE), part.pixels))
    x = np.array(small, np.float64).reshape(-1, SIDE, SIDE)
    beside = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    flat = (4 * x[:, 1:-1, 1:-1] - beside).reshape(-1, _NUMBERS)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
