import random
from collections import Counter, defaultdict

import pytest

from data_prep.splits import SPLITS, Item, grouped_split, leave_out_split, random_split


def items(seed=0):
    """Three classes from two sources of very different size, in groups of one to six."""
    rng = random.Random(seed)
    found, group = [], 0
    for source, size in (("large", 400), ("small", 40)):
        for label in ("Covid", "Normal", "Pneumonia"):
            left = size
            while left > 0:
                group += 1
                for _ in range(min(left, rng.choice([1, 1, 1, 2, 6]))):
                    found.append(Item(f"k{len(found)}", label, source, f"g{group}"))
                    left -= 1
    return found


def by_group(found, split):
    sides = defaultdict(set)
    for item, side in zip(found, split, strict=True):
        sides[item.group].add(side)
    return sides


def test_groups_stay_whole():
    found = items()
    assert all(len(sides) == 1 for sides in by_group(found, grouped_split(found)).values())


def test_ratios_hold_within_every_class_and_source():
    found = items()
    split = grouped_split(found)
    totals = Counter((item.source, item.label) for item in found)
    counts = Counter((i.source, i.label, side) for i, side in zip(found, split, strict=True))
    for source, label, side in ((*stratum, side) for stratum in totals for side in SPLITS):
        wanted = dict(zip(SPLITS, (0.7, 0.1, 0.2), strict=True))[side] * totals[source, label]
        assert abs(counts[source, label, side] - wanted) <= 6  # the largest group


@pytest.mark.parametrize("split", [grouped_split, random_split])
def test_order_does_not_matter_and_the_seed_does(split):
    found = items()
    shuffled = random.Random(5).sample(found, len(found))
    one = dict(zip((i.key for i in found), split(found, seed=1), strict=True))
    two = dict(zip((i.key for i in shuffled), split(shuffled, seed=1), strict=True))
    assert one == two
    assert split(found, seed=1) != split(found, seed=2)


def test_split_is_the_same_on_every_machine_and_python():
    found = [Item(f"k{i}", "Covid", "a", f"g{i}") for i in range(10)]
    assert " ".join(side[:2] for side in grouped_split(found)) == GROUPED
    assert " ".join(side[:2] for side in random_split(found)) == RANDOM


# Written down once; a change here means that every published split changes.
GROUPED = "va tr tr tr tr te tr te tr tr"
RANDOM = "tr tr tr va te tr te tr tr tr"


def test_random_split_is_eighty_twenty_with_validation_from_the_eighty():
    assert Counter(random_split(items())) == {"train": 924, "validation": 132, "test": 264}


def test_random_split_tears_groups_apart():
    found = items()
    assert any(len(sides) > 1 for sides in by_group(found, random_split(found)).values())


def test_three_groups_of_a_class_reach_all_three_splits():
    found = [Item(f"k{i}", "Covid", "a", f"g{i}") for i in range(3)]
    assert set(grouped_split(found)) == set(SPLITS)


def test_many_sources_of_one_image_each_still_fill_all_splits():
    found = [Item(f"k{i}", "Covid", f"s{i}", f"g{i}") for i in range(40)]
    assert Counter(grouped_split(found)) == {"train": 28, "validation": 4, "test": 8}


def test_a_source_left_out_is_all_of_test():
    found = items()
    split = leave_out_split(found, "small")
    sides = defaultdict(set)
    for item, side in zip(found, split, strict=True):
        sides[item.source].add(side)
    assert sides == {"small": {"test"}, "large": {"train", "validation"}}


def test_what_resembles_a_source_left_out_is_not_trained_on():
    found = [*items(), Item("twin", "Covid", "large", "shared")]
    found.append(Item("other", "Covid", "small", "shared"))
    split = leave_out_split(found, "small")
    assert split[-2:] == [None, "test"]
