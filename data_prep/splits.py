"""Train, validation, test: which image goes where. Pure functions of content and seed.

Nothing here depends on the order of the files, on the machine or on Python's own hash.
"""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

SPLITS = ("train", "validation", "test")
RATIOS = (0.7, 0.1, 0.2)
SEED = 1337
# When several splits are equally hungry, the first group of a rare stratum goes to train, the
# second to test, the third to validation.
_PREFERENCE = (0, 2, 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """What a split needs to know of an image.

    Attributes:
        key: identifies the image wherever it lies (digest of its bytes and its name).
        label: class.
        source: hospital or collection.
        group: images of one group stay together.
    """

    key: str
    label: str
    source: str
    group: str


def grouped_split(
    items: Sequence[Item],
    ratios: Sequence[float] = RATIOS,
    seed: int = SEED,
) -> list[str]:
    """Split by whole groups, close to the ratios within every class and every class x source.

    Groups are dealt out in an order drawn from their names and the seed, each to the split that
    is furthest behind its share of the group's classes and sources.

    Args:
        items: the images.
        ratios: shares of train, validation and test; their sum is 1.
        seed: any integer.

    Returns:
        The split of each image.
    """
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    totals = Counter(stratum for item in items for stratum in _strata(item))
    placed: list[Counter] = [Counter() for _ in SPLITS]
    chosen = {}
    for name in sorted(groups, key=lambda name: _draw(seed, name)):
        counts = Counter(stratum for item in groups[name] for stratum in _strata(item))

        def hunger(split: int, counts: Counter = counts) -> float:
            """Missing share of the target, weighted by what the group brings."""
            return sum(
                number * (1 - placed[split][stratum] / (ratios[split] * totals[stratum]))
                for stratum, number in counts.items()
            )

        best = max((s for s in _PREFERENCE if ratios[s] > 0), key=hunger)
        placed[best].update(counts)
        chosen[name] = SPLITS[best]
    return [chosen[item.group] for item in items]


def random_split(
    items: Sequence[Item],
    ratios: Sequence[float] = RATIOS,
    seed: int = SEED,
) -> list[str]:
    """Split image by image, as the original project did: near-duplicates fall on both sides.

    The original had 80% train and 20% test. Test is the same 20% here, and validation, needed
    for early stopping, is carved from the 80%: the ratios 70/10/20 give exactly that.

    Args:
        items: the images.
        ratios: shares of train, validation and test.
        seed: any integer.
    """
    order = sorted(range(len(items)), key=lambda index: _draw(seed, items[index].key))
    test = round(ratios[2] * len(items))
    validation = round(ratios[1] * len(items))
    result = ["train"] * len(items)
    for rank, index in enumerate(order[: test + validation]):
        result[index] = "test" if rank < test else "validation"
    return result


def leave_out_split(
    items: Sequence[Item],
    source: str,
    ratios: Sequence[float] = RATIOS,
    seed: int = SEED,
) -> list[str | None]:
    """Put one source whole into test, and the others by groups into train and validation.

    Args:
        items: the images.
        source: the one that is left out of training.
        ratios: train and validation keep their proportion.
        seed: any integer.

    Returns:
        The split of each image; None for images of other sources that share a group with the
        one left out, which may be neither trained on nor counted as that source.
    """
    touched = {item.group for item in items if item.source == source}
    rest = [index for index, item in enumerate(items) if item.group not in touched]
    kept = ratios[0] + ratios[1]
    shares = (ratios[0] / kept, ratios[1] / kept, 0.0)
    result: list[str | None] = ["test" if item.source == source else None for item in items]
    split = grouped_split([items[index] for index in rest], shares, seed)
    for index, name in zip(rest, split, strict=True):
        result[index] = name
    return result


def _strata(item: Item) -> tuple[tuple[str, ...], ...]:
    return (item.label,), (item.label, item.source)


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
