"""Drawings that look like frontal chest radiographs. They are not medical data.

A picture is drawn as a radiograph comes about: layers of tissue add up to an attenuation, which an
exponential turns into grey levels. Coordinates run from -1 to 1, x to the right and y downwards;
the heart lies on the right of the picture, as the patient faces the viewer. Most shapes are a
function of x against one of y, so that a layer costs one operation on the whole picture.

    >>> picture = draw_radiograph(np.random.default_rng(0), "Normal", STYLES["north"], 256)
    >>> picture.shape, picture.dtype
    ((256, 256), dtype('uint8'))
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


@dataclasses.dataclass(frozen=True)
class Style:
    """The look of one hospital's films.

    Attributes:
        exposure: mean and spread of the factor on attenuation; more is whiter.
        gamma: exponent on grey levels 0..1; above 1 is darker.
        contrast: factor around mid grey.
        noise: grain, standard deviation in grey levels 0..1.
        blur: radius in pixels of a 256 pixel picture.
        border: black frame, share of the side.
        marker: text in a corner, "" for none.
        corner: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
        zoom: larger shows less of the body.
        shape: width and height of saved pictures, pixels.
        mode: "L" or "RGB", how pictures are saved.
    """

    exposure: tuple[float, float] = (1.0, 0.08)
    gamma: float = 1.0
    contrast: float = 1.0
    noise: float = 0.02
    blur: float = 0.0
    border: float = 0.0
    marker: str = "R"
    corner: int = 0
    zoom: float = 1.04
    shape: tuple[int, int] = (256, 256)
    mode: str = "L"


STYLES = {
    "north": Style(noise=0.015, marker="R", corner=0, shape=(256, 256)),
    "harbour": Style(
        exposure=(1.12, 0.1), gamma=0.82, contrast=0.86, noise=0.03, blur=0.7, border=0.04,
        marker="PORTABLE", corner=1, zoom=1.13, shape=(288, 240),
    ),
    "hillside": Style(
        exposure=(0.9, 0.08), gamma=1.2, contrast=1.12, noise=0.01, marker="L", corner=3,
        zoom=1.0, shape=(224, 272), mode="RGB",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What stays the same between two pictures of one patient; lengths in picture coordinates."""

    width: float  # of the body, half
    lung_width: tuple[float, float]  # left and right of the picture
    apex: float
    dome: tuple[float, float]  # top of the diaphragm on either side
    heart: float  # size of the heart
    bubble: float  # of air in the stomach, half width
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    clavicle: float
    bone: float  # how much the bones stand out
    seed: int  # of vessels and tissue


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient."""
    dome = rng.uniform(0.30, 0.44)
    return Anatomy(
        width=rng.uniform(0.84, 0.99),
        lung_width=(rng.uniform(0.355, 0.40), rng.uniform(0.345, 0.39)),
        apex=rng.uniform(-0.76, -0.66),
        dome=(dome - rng.uniform(0.0, 0.06), dome + rng.uniform(0.0, 0.04)),
        heart=rng.uniform(0.88, 1.12),
        bubble=rng.uniform(0.07, 0.16),
        rib_spacing=rng.uniform(0.155, 0.185),
        rib_phase=rng.uniform(0, 1),
        rib_slope=rng.uniform(0.42, 0.62),
        clavicle=rng.uniform(-0.60, -0.54),
        bone=rng.uniform(0.8, 1.2),
        seed=int(rng.integers(2**31)),
    )


def draw_radiograph(
    rng: np.random.Generator,
    label: str,
    style: Style = STYLES["north"],
    size: int = 256,
    anatomy: Anatomy | None = None,
) -> np.ndarray:
    """Draw one picture.

    Args:
        rng: source of everything random.
        label: "Normal" (clear lungs), "Covid" (ground-glass patches at the edges of both lungs) or
            "Pneumonia" (one dense area in one lobe).
        style: look of the hospital.
        size: side, pixels.
        anatomy: the patient; drawn from `rng` when None.

    Returns:
        uint8 array `(size, size)`.
    """
    anatomy = anatomy or draw_anatomy(rng)
    tissue = np.random.default_rng(anatomy.seed)
    x = np.linspace(-1, 1, size, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    lung, wall = _lungs(anatomy, x, y)
    heart = _heart(anatomy, x, y)
    air = lung * (1 - 0.93 * heart)
    air *= 1 - OPACITIES[label](rng, anatomy, x, y)
    body = _body(anatomy, x, y)
    cage = _step(wall + 0.05, 0.012)

    attenuation = body * (0.98 - 0.72 * air)
    attenuation += 0.26 * heart + 0.30 * _diaphragm(anatomy, x, y) * cage
    attenuation += body * _bones(anatomy, x, y, cage, wall)
    attenuation += (0.26 * _vessels(tissue, size) + 0.012 * _cloud(tissue, size, 70)) * air
    attenuation *= 1 + 0.05 * _cloud(tissue, size, 24) + 0.06 * _cloud(tissue, size, 6)
    exposure = max(0.6, rng.normal(*style.exposure))
    picture = 1 - np.exp(-1.3 * exposure * np.maximum(attenuation, 0))
    return _develop(rng, picture / 0.9, style, size)


# === Tissue ===


def _body(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Trunk, neck and shoulders, 0..1."""
    half = anatomy.width * (0.97 - 0.10 * np.exp(-(((y - 0.25) / 0.5) ** 2)))
    away = np.abs(x)
    trunk = _step(half - away, 0.018) * (1 - 0.42 * _square(x / (half + 0.05)))
    arm = 0.62 * _step(2.4 * (away - 0.80) - 0.28 - y, 0.05) * _step(away - 0.6, 0.03)
    neck = np.maximum(away - 0.24, 0)
    shoulder = -1.12 + 0.62 * neck**0.75 + 0.9 * np.maximum(neck - 0.5, 0) ** 2
    return np.maximum(trunk, arm) * _step(y - shoulder, 0.02)


def _lungs(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both lungs, 0..1, and the distance inwards from the wall of the chest."""
    side = np.where(x < 0, *anatomy.lung_width)
    away = np.abs(x)
    centre = 0.40
    down = np.where(y < 0.30, (y - 0.30) / (anatomy.apex - 0.30), (y - 0.30) / 1.1)
    across = np.abs(away - centre + 0.09 * down) / (side * (1 - 0.10 * down))
    wall = side * (1 - (across**2.3 + np.abs(down) ** 2.3) ** (1 / 2.3))
    knob = 0.06 * np.exp(-(((y + 0.30) / 0.09) ** 2)) * (x > 0)
    middle = 0.125 + 0.03 * np.cos(3 * y) + 0.05 * np.maximum(y, 0) + knob
    lung = _step(wall, 0.012) * _step(away - middle, 0.014)
    return lung * _step(_dome(anatomy, x) - y, 0.010), wall


def _dome(anatomy: Anatomy, x: np.ndarray) -> np.ndarray:
    """Height of the diaphragm at each x."""
    left, right = anatomy.dome
    top = left + (right - left) * _step(x, 0.06)
    return top + 1.15 * np.abs(np.abs(x) - 0.34) ** 2.1


def _diaphragm(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Liver and what lies below the domes, with the bubble of air in the stomach."""
    below = _step(y - _dome(anatomy, x), 0.010)
    across, down = (x - 0.40) / anatomy.bubble, (y - anatomy.dome[1] - 0.16) / 0.085
    bubble = np.exp(-_square(_square(across) + _square(down)))
    return below * (1 - 1.8 * bubble)


def _heart(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The heart, leaning to the right of the picture, 0..1."""
    u, v = x - 0.12, y - anatomy.dome[1] + 0.15
    along, across = 0.82 * u + 0.57 * v, -0.57 * u + 0.82 * v
    radius = np.sqrt(_square(along / 0.42) + _square(across / 0.29))
    return _step(anatomy.heart - radius, 0.035)


def _bones(
    anatomy: Anatomy, x: np.ndarray, y: np.ndarray, cage: np.ndarray, wall: np.ndarray
) -> np.ndarray:
    """Ribs front and back, collar bones, spine, shoulder joints; and the windpipe, which is air."""
    away = np.abs(x)
    # One periodic function of height above a curve draws all ribs of a kind.
    back = (y - anatomy.rib_slope * (away - 0.22) ** 2) / anatomy.rib_spacing + anatomy.rib_phase
    front = (y - 0.55 * (0.75 - away)) / (1.2 * anatomy.rib_spacing) + 0.6 + anatomy.rib_phase
    ribs = 0.17 * _band(back, 0.21) + 0.07 * _band(front, 0.2) * _step(away - 0.28, 0.05)
    ribs *= cage * _step(0.62 - y, 0.05) * _step(away - 0.08, 0.02)
    edge = 0.14 * np.exp(-_square((wall + 0.035) / 0.022)) * _step(0.55 - y, 0.08)
    curve = anatomy.clavicle - 0.26 * (away - 0.1) + 0.035 * np.sin(7 * (away - 0.1))
    clavicle = _tube((y - curve) / 0.032) * _step(away - 0.09, 0.012) * _step(0.86 - away, 0.02)
    spine = np.exp(-((x / 0.105) ** 4)) * (0.75 + 0.25 * np.cos(2 * np.pi * y / 0.135))
    joint = np.exp(-((_square((away - 0.97) / 0.14) + _square((y + 0.52) / 0.16)) ** 2))
    blade = np.exp(-_square((away - 0.80 + 0.22 * y) / 0.035)) * np.exp(-_square((y + 0.28) / 0.3))
    windpipe = np.exp(-((x / 0.055) ** 4)) * _step(-0.28 - y, 0.05)
    bones = ribs + edge + 0.24 * clavicle + 0.24 * spine + 0.2 * joint + 0.1 * blade
    return anatomy.bone * bones - 0.22 * windpipe


_BRANCHES, _JOINTS = 18, 7  # of the vessels of one lung


def _vessels(rng: np.random.Generator, size: int) -> np.ndarray:
    """Branches that leave the roots of both lungs and grow thinner, 0..1."""
    side = 2 * size  # drawn large and averaged, for smooth edges
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    for sign in (-1, 1):
        root = np.array([0.17 * sign, 0.0])
        angles = rng.uniform(-1.25, 1.35, (_BRANCHES, 1))
        angles = angles + rng.normal(0, 0.17, (_BRANCHES, _JOINTS)).cumsum(axis=1)
        lengths = rng.uniform(0.25, 0.62, (_BRANCHES, 1)) / _JOINTS
        steps = np.stack([sign * np.cos(angles), np.sin(angles)], axis=2) * lengths[..., None]
        starts = root + rng.normal(0, 0.03, (_BRANCHES, 1, 2))
        points = np.concatenate([starts, starts + steps.cumsum(axis=1)], axis=1)
        widths = rng.uniform(0.009, 0.017, _BRANCHES) * side
        for path, width in zip(((points + 1) * side / 2).tolist(), widths, strict=True):
            for joint in range(_JOINTS):
                share = 1 - joint / (_JOINTS + 1)
                ends = [*path[joint], *path[joint + 1]]
                pen.line(ends, fill=int(200 * share), width=max(1, round(width * share)))
        centre, spread = (root + 1) * side / 2, np.array([0.016, 0.032]) * side
        pen.ellipse([*(centre - spread), *(centre + spread)], fill=150)
    picture = picture.reduce(2).filter(ImageFilter.GaussianBlur(size * 0.005))
    return np.asarray(picture, dtype=np.float32) / 255


# === Findings: the share of a lung's air that is lost, 0..1 ===


def _clear(rng: np.random.Generator, anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Normal: nothing."""
    return np.zeros((1, 1), dtype=np.float32)


def _ground_glass(
    rng: np.random.Generator, anatomy: Anatomy, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Covid: hazy patches near the wall of both lungs, more of them below."""
    haze = np.zeros((y.size, x.size), dtype=np.float32)
    for sign in (-1, 1):
        for _ in range(rng.integers(4, 7)):
            height = rng.uniform(-0.45, anatomy.dome[0] + 0.05)
            centre = sign * (0.58 + 0.12 * min(height, 0.3) + rng.uniform(-0.08, 0.05))
            rx, ry = rng.uniform(0.08, 0.15), rng.uniform(0.09, 0.19)
            spot = np.exp(-_square((x - centre) / rx)) * np.exp(-_square((y - height) / ry))
            haze += rng.uniform(0.6, 1.0) * spot
    size = x.size
    patchy = 0.62 + 0.22 * _cloud(rng, size, 14) + 0.16 * _cloud(rng, size, 40)
    return rng.uniform(0.7, 0.9) * np.clip(haze, 0, 1) * np.clip(patchy, 0.1, 1)


def _consolidation(
    rng: np.random.Generator, anatomy: Anatomy, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Pneumonia: one lobe filled, sharp at the fissure, with air-filled bronchi in it."""
    sign = rng.choice([-1, 1])
    fissure = rng.uniform(-0.10, 0.04) + 0.18 * (np.abs(x) - 0.4) + 0.02 * np.sin(9 * x)
    if rng.random() < 0.35:  # an upper lobe
        inside, height = _step(fissure - y, 0.012), rng.uniform(-0.34, -0.22)
    else:
        inside, height = _step(y - fissure, 0.012), rng.uniform(0.12, 0.26)
    centre = sign * rng.uniform(0.42, 0.54)
    rx, ry = rng.uniform(0.21, 0.30), rng.uniform(0.22, 0.34)
    lobe = np.exp(-((_square((x - centre) / rx) + _square((y - height) / ry)) ** 2))
    size = x.size
    texture = 0.88 + 0.10 * _cloud(rng, size, 10) + 0.08 * _cloud(rng, size, 30)
    bronchi = 0.35 * _vessels(rng, size)
    return np.clip(rng.uniform(0.8, 0.97) * lobe * inside * (texture - bronchi), 0, 1)


OPACITIES: dict[str, Callable[..., np.ndarray]] = {
    "Covid": _ground_glass,
    "Normal": _clear,
    "Pneumonia": _consolidation,
}


# === Film ===


def _develop(rng: np.random.Generator, picture: np.ndarray, style: Style, size: int) -> np.ndarray:
    """Position, tone, blur, grain, border and marker: what the machine and the hospital add."""
    angle = np.deg2rad(rng.normal(0, 1.6))
    zoom = style.zoom * rng.uniform(0.97, 1.03)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    margin = round(0.1 * size)  # continued, so that no corner of a turned film is empty
    dx, dy = rng.normal(0, 0.012 * size, 2)
    middle, centre = size / 2, size / 2 + margin
    matrix = (
        *(cos, -sin, centre - cos * (middle + dx) + sin * (middle + dy)),
        *(sin, cos, centre - sin * (middle + dx) - cos * (middle + dy)),
    )
    film = Image.fromarray(np.pad(picture.astype(np.float32), margin, mode="edge"))
    film = film.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    picture = np.clip(np.asarray(film), 0, 1) ** style.gamma
    picture = (picture - 0.5) * style.contrast * rng.uniform(0.94, 1.06) + 0.5
    grain = rng.standard_normal((size, size), dtype=np.float32)
    picture = picture + style.noise * grain * (0.5 + picture)
    film = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    if style.blur:
        film = film.filter(ImageFilter.GaussianBlur(style.blur * size / 256))
    _mark(film, style, rng)
    return np.array(film)


def _mark(film: Image.Image, style: Style, rng: np.random.Generator) -> None:
    size = film.width
    pen = ImageDraw.Draw(film)
    edge = round(style.border * size * rng.uniform(0.6, 1.4))
    if edge:
        pen.rectangle([0, 0, size - 1, size - 1], outline=0, width=edge)
    if style.marker:
        font = ImageFont.load_default(size * (0.035 if len(style.marker) > 2 else 0.055))
        left, top = style.corner % 2 == 0, style.corner < 2
        inset = edge + size * rng.uniform(0.03, 0.06)
        place = (inset if left else size - inset, inset if top else size - inset)
        pen.text(
            place, style.marker, 235, font, anchor=("l" if left else "r") + ("t" if top else "b")
        )


# === Shapes ===


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 outside, 1 inside, with a soft edge."""
    return 1 / (1 + np.exp(np.clip(-distance / softness, -30, 30)))


def _square(values: np.ndarray) -> np.ndarray:
    return values * values


def _band(phase: np.ndarray, half: float) -> np.ndarray:
    """Periodic bands with brighter rims, as flat bones show."""
    away = np.abs(phase - np.rint(phase))
    return _step(half - away, 0.03) * (0.7 + 0.6 * _square(away / half))


def _tube(across: np.ndarray) -> np.ndarray:
    """A round bone, brighter at its rims; `across` is -1..1 inside."""
    return _step(1 - np.abs(across), 0.12) * (0.65 + 0.4 * np.minimum(_square(across), 1.5))


def _cloud(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise with `cells` cells a side, mean 0 and standard deviation about 0.7."""
    coarse = Image.fromarray(rng.standard_normal((cells + 1, cells + 1), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
