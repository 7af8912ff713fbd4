"""Augmentation: each step does what it says, and nothing where it is switched off."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from aihealth.data import lungs
from aihealth.training import augmentation, image_changes
from aihealth.training.dice import Dice

SIZE, SEED = 48, [3, 0]
NOTHING = image_changes.Strength(
    zoom=(1.0, 1.0), aspect=0.0, shift=0.0, rotate=0.0, flip=0.0, match=0.0, equalise=0.0,
    gamma=0.0, contrast=0.0, resample=0.0, local=0.0, noise=0.0, field=0.0, corners=0.0, cutout=0.0,
    border=0.0,
)  # fmt: skip


@pytest.fixture
def images():
    """Eight smooth images of different brightness, uint8 (8, 48, 48)."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = [128 + (20 + 5 * k) * np.sin(7 * x + k) * np.cos(5 * y) + 4 * k for k in range(8)]
    return np.stack(waves).astype(np.uint8)


def changed(images, **options):
    strength = dataclasses.replace(NOTHING, **options)
    return augmentation.augment(tf.constant(images), Dice(SEED), SIZE, strength).numpy()[..., 0]


def test_nothing_switched_on_changes_nothing(images):
    assert np.allclose(changed(images), images, atol=0.01)


@pytest.mark.parametrize("name", augmentation.CHANGES)
def test_every_augmentation_gives_grey_levels_of_the_size_asked_for(images, name):
    change, margin = augmentation.by_name(name, 40)
    side = round(40 * margin)
    images = tf.cast(tf.image.resize(images[..., None], [side, side])[..., 0], tf.uint8)
    out = change(images, Dice(SEED))
    assert out.shape == (8, 40, 40, 1) and out.dtype == tf.float32
    assert np.isfinite(out).all()
    assert out.numpy().min() >= 0 and out.numpy().max() <= 255
    assert np.allclose(out, change(images, Dice([4, 0]))) == (name == "none")


@pytest.mark.parametrize("name", augmentation.CHANGES)
def test_the_same_step_changes_images_alike_and_another_one_does_not(images, name):
    change, _ = augmentation.by_name(name, SIZE, background_swap=0.5)
    first, again, *others = (
        change(tf.constant(images), Dice(seed, index)).numpy()
        for seed, index in (([3, 7], 0), ([3, 7], 0), ([3, 8], 0), ([4, 7], 0), ([3, 7], 1))
    )
    assert np.array_equal(first, again)
    assert not any(np.allclose(first, other) for other in others)


def test_mixed_changes_half_of_the_batch_lightly(images):
    images = np.repeat(images, 4, axis=0)
    change, _ = augmentation.by_name("mixed", SIZE)
    away = np.abs(change(tf.constant(images), Dice(SEED)).numpy()[..., 0] - images).mean((1, 2))
    assert away[:16].mean() < 0.7 * away[16:].mean()


@pytest.mark.parametrize(
    "option",
    [
        {"flip": 1.0}, {"rotate": 20.0}, {"shift": 0.2}, {"zoom": (0.6, 0.7)}, {"gamma": 0.8},
        {"contrast": 0.5}, {"match": 1.0}, {"equalise": 1.0}, {"local": 1.0}, {"noise": 0.2},
        {"resample": 1.0, "smallest": 0.2}, {"field": 0.5}, {"corners": 1.0}, {"cutout": 1.0},
        {"border": 1.0},
    ],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_each_step_changes_images(images, option):
    assert np.abs(changed(images, **option) - images).mean() > 0.1


def test_local_contrast_keeps_the_mean_and_changes_bands_apart(images):
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 6, images.shape), 0, 255)
    out = image_changes.local(tf.constant(noisy[..., None], tf.float32), Dice(SEED)).numpy()[..., 0]
    assert np.allclose(out.mean((1, 2)), noisy.mean((1, 2)), atol=1.5)

    def fine(x):
        return np.diff(x, axis=2).std((1, 2))

    def coarse(x):
        return x.reshape(8, 6, 8, 6, 8).mean((2, 4)).std((1, 2))

    ratios = (fine(out) / fine(noisy)) / (coarse(out) / coarse(noisy))
    assert ratios.max() / ratios.min() > 1.5  # more than one factor for all frequencies


def test_matching_takes_grey_levels_over_from_the_batch():
    dark, bright = np.full((4, 32, 32), 40, np.uint8), np.full((4, 32, 32), 200, np.uint8)
    images = np.concatenate([dark, bright]) + np.arange(32, dtype=np.uint8)
    strength = dataclasses.replace(NOTHING, match=1.0)
    out = image_changes.tone(tf.constant(images), Dice(SEED), strength).numpy()
    assert np.abs(out.mean((1, 2)) - images.mean((1, 2))).max() > 40


def test_corners_are_covered_and_the_centre_is_not(images):
    out = changed(images, corners=1.0)
    assert np.allclose(out[:, 16:32, 16:32], images[:, 16:32, 16:32], atol=0.01)
    corners = [np.abs(out - images)[:, y, x] for y in (0, -1) for x in (0, -1)]
    assert (np.stack(corners) > 0.5).mean() > 0.9


def rectangle(level, inside, top=8, left=8, side=SIZE):
    """A plain image with rectangular lungs, twice as high as wide, marked as `mark_all` does."""
    image = np.full((side, side), level, np.uint8)
    image[top : top + 32, left : left + 16] = inside | 1
    return image


def test_lungs_are_put_into_the_surroundings_of_another_image():
    images = np.stack([rectangle(60, 100), rectangle(200, 100)] * 8)
    out = image_changes.swap_background(tf.constant(images), Dice(SEED), 1.0).numpy()
    assert np.allclose(out[:, 10:38, 10:22], 101, atol=1)
    taken = np.abs(out[:, 4, 40].astype(float) - images[:, 4, 40]) > 20
    assert taken.any() and not taken.all()  # some partners are of the same kind


def test_other_lungs_are_moved_onto_these():
    ones = np.stack([rectangle(0, 1), rectangle(0, 1, top=3, left=20)]) & 1
    small = np.zeros_like(ones)
    small[:, 30:40, 5:9] = 1
    masks = [tf.constant(x[..., None], tf.float32) for x in (ones, small)]
    transforms = image_changes._box_on_box(*masks)
    moved = image_changes._moved(masks[1], transforms).numpy()[..., 0]
    for mask, found in zip(ones, moved > 0.5, strict=True):
        assert np.abs(np.subtract(lungs.box_of(found), lungs.box_of(mask))).max() <= 2


def test_surroundings_take_over_the_grey_levels_of_the_lungs_beside_them(images):
    dark, bright = (np.uint8(0.3 * images + level) & 254 for level in (0, 150))
    marks = np.uint8(lungs.usual(SIZE))
    pair = np.concatenate([dark, bright]) | marks  # the same images, dark and bright
    out = image_changes.swap_background(tf.constant(pair), Dice(SEED), 1.0).numpy()
    assert np.abs(out[:8] - dark.astype(float)).mean() < 20
    assert np.abs(out[8:] - bright.astype(float)).mean() < 20


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_backgrounds_are_swapped_as_often_as_asked(share):
    # Surroundings of 320 kinds: all but one in 320 take over other ones.
    images = np.stack([rectangle(60, 100)] * 320)
    images[:, :4] = np.linspace(0, 248, 320, dtype=np.uint8)[:, None, None] & 254
    out = image_changes.swap_background(tf.constant(images), Dice(SEED), share).numpy()
    away = np.abs(out.astype(float) - images).max((1, 2))
    assert abs((away > 1).mean() - share) < 0.1
