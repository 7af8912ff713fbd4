"""The model in the browser answers as `Classifier` does: same pixels, same numbers, same words."""

import base64
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from aihealth import Classifier, images, upright
from tests.helpers.engine import Refused, warning_of
from tests.helpers.image_files import encode
from tests.helpers.space_app import RELEASE

pytestmark = pytest.mark.browser

ATOL = 5e-6


@pytest.fixture(scope="module")
def classifier():
    return Classifier(RELEASE)


def assert_same(answer, expected):
    assert answer["label"] == expected.label
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=ATOL)
    assert answer["is_chest_radiograph"] == expected.is_chest_radiograph
    assert answer["ood_score"] == pytest.approx(expected.ood_score, abs=1e-4)
    assert answer["abstained"] == expected.abstained
    assert warning_of(answer) == expected.warning
    assert np.array_equal(answer["pixels"], expected.pixels)
    np.testing.assert_allclose(answer["features"], expected.features, atol=1e-4)
    maps = answer["heatmaps"]
    assert maps["names"] == list(expected.probabilities)
    shape = (len(maps["names"]), maps["h"], maps["w"])
    np.testing.assert_allclose(maps["data"].reshape(shape), expected.heatmaps, atol=1e-4)


@pytest.fixture(scope="module")
def example():
    (path,) = (RELEASE.parent / "space" / "examples").glob("*-Covid.png")
    return images.decode(path)


def turned(pixels, change):
    return np.ascontiguousarray(upright.VERSIONS[change](pixels) if change else pixels)


@pytest.mark.parametrize("change", [None, *upright.VERSIONS])
def test_a_film_is_answered_alike_and_set_right_alike(engine, classifier, example, change):
    pixels = turned(example, change)
    expected = classifier.answer(pixels)
    assert expected.is_chest_radiograph, "else nothing of the kind is tried"
    if change != "is upside down":  # That is not seen in a drawing.
        assert bool(expected.warning) == bool(change)
    assert_same(engine.predict(encode(Image.fromarray(pixels))), expected)


def test_margins_are_left_out_alike(engine, classifier, example):
    pixels = np.pad(example, ((31, 7), (0, 60)), constant_values=200)
    pixels = np.pad(pixels, ((0, 0), (11, 0)))
    expected = classifier.answer(pixels)
    assert expected.heatmaps.shape[1:] == (28, 28), "else no margin is seen"
    assert_same(engine.predict(encode(Image.fromarray(pixels))), expected)


def test_noise_gets_its_second_look(engine, classifier, example):
    noise = np.random.default_rng(0).normal(size=example.shape)
    for spread in range(8, 80, 4):  # grey levels; how much it takes is for the release to say
        pixels = (example + spread * noise).clip(0, 255).astype(np.uint8)
        expected = classifier.answer(pixels)
        if "only when it is smoothed" in (expected.warning or ""):
            break
    else:
        pytest.fail("no noise got a second look")
    assert_same(engine.predict_pixels(pixels), expected)


def test_what_is_no_radiograph_is_rejected(engine, classifier):
    (path,) = (RELEASE.parent / "space" / "examples").glob("*-Hand.png")
    answer = engine.predict(path.read_bytes())
    assert_same(answer, classifier.predict(path))
    assert not answer["is_chest_radiograph"] and answer["label"] is None


def test_a_batch_shifts_alike(engine, classifier, example):
    rng = np.random.default_rng(0)
    answers = [
        classifier.answer((example * rng.uniform(0.5, 1)).astype(np.uint8)) for _ in range(24)
    ]
    answers = [answer for answer in answers if answer.is_chest_radiograph]
    expected = classifier.shift(answers)
    found = engine.ask("shift", features=[answer.features.tolist() for answer in answers])
    assert expected.noticed, "else the sentence is not tried"
    assert (found["n"], found["limit"]) == (expected.n, expected.limit)
    assert found["value"] == pytest.approx(expected.value, abs=2e-4)
    assert warning_of({"warnings": [found["warning"]]}) == expected.warning
    few = [answer.features.tolist() for answer in answers[:19]]
    assert engine.ask("shift", features=few)["value"] is None


# === Bit for bit ===


def base64_of(pixels):
    return base64.b64encode(pixels.tobytes()).decode()


RESIZE = """async ({ width, height, levels, size, radius }) => {
    const { prepare, blur, mirrorCorrelation } = await import("/engine/resize.js");
    const picture = { width, height, data: Uint8Array.from(atob(levels), (c) => c.charCodeAt(0)) };
    const small = prepare(picture, size);
    return { small: [...small.data], smooth: [...blur(small, radius).data],
        alike: mirrorCorrelation(picture) };
}"""


@pytest.mark.parametrize(
    "shape", [(160, 160), (64, 64), (17, 160), (161, 479), (480, 481), (1023, 777)]
)
def test_resizing_and_smoothing_are_pillows_to_the_bit(engine, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    given = {"levels": base64_of(pixels), "size": 160, "radius": 0.7}
    found = engine.page.evaluate(RESIZE, given | {"width": shape[1], "height": shape[0]})
    small = images.prepare(pixels, 160)
    assert found["small"] == small.ravel().tolist()
    smooth = np.asarray(Image.fromarray(small).filter(ImageFilter.GaussianBlur(0.7)))
    assert found["smooth"] == smooth.ravel().tolist()
    assert found["alike"] == pytest.approx(images.mirror_correlation(pixels), abs=1e-6)


VERSION = """async ({ width, height, levels, name }) => {
    const { VERSIONS } = await import("/engine/resize.js");
    const data = Uint8Array.from(atob(levels), (c) => c.charCodeAt(0));
    const found = VERSIONS[name]({ width, height, data });
    return [found.height, found.width, [...found.data]];
}"""


@pytest.mark.parametrize("name", upright.VERSIONS)
def test_an_image_is_turned_the_same_way(engine, name):
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    given = {"width": 6, "height": 4, "levels": base64_of(pixels), "name": name}
    expected = upright.VERSIONS[name](pixels)
    assert engine.page.evaluate(VERSION, given) == [*expected.shape, expected.ravel().tolist()]


# === What goes wrong ===


def test_a_refusal_does_not_end_the_worker(engine, example):
    with pytest.raises(Refused, match="this is a PDF"):
        engine.predict(b"%PDF-1.7 " + b"x" * 2000)
    assert sum(engine.predict_pixels(example)["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["model.tflite", "ood.npz", "aihealth.json"])
def test_a_broken_model_has_its_sentence(engine, site, name, tmp_path):
    (site / "broken" / "model").mkdir(parents=True, exist_ok=True)
    for path in (site / "model").iterdir():
        data = path.read_bytes()
        half = data[: len(data) // 2] if path.name == name else data
        (site / "broken" / "model" / path.name).write_bytes(half)
    refused = pytest.raises(Refused, match="the model of this page is damaged")
    with engine.other_worker("") as worker, refused:
        engine.ask("open", worker, base=f"{engine.url}broken/")


def test_a_model_without_a_distance_rejects_nothing(engine, site):
    folder = site / "plain" / "model"
    folder.mkdir(parents=True)
    config = json.loads((site / "model" / "aihealth.json").read_text())
    (folder / "aihealth.json").write_text(json.dumps(config | {"ood_threshold": None}))
    shutil.copy(site / "model" / "model.tflite", folder)
    noise = np.random.default_rng(0).integers(0, 256, (90, 80)).astype(np.uint8)
    with engine.other_worker("") as worker:
        engine.ask("open", worker, base=f"{engine.url}plain/")
        answer = engine.predict_pixels(noise, worker)
    assert_same(answer, Classifier(folder).answer(noise))
    assert answer["is_chest_radiograph"] and answer["ood_score"] == 0


def test_a_browser_that_forbids_webassembly_has_its_sentence(engine):
    refused = pytest.raises(Refused, match="cannot run the model")
    with engine.other_worker("delete self.WebAssembly") as worker, refused:
        engine.ask("open", worker, base=engine.url)


# LiteRT finds out with a module of some thirty bytes whether the browser has relaxed SIMD.
OLDER = """const real = WebAssembly.instantiate;
WebAssembly.instantiate = (what, ...rest) =>
    what.length < 60 ? Promise.reject("old") : real.call(WebAssembly, what, ...rest)"""


def test_an_older_browser_answers_alike(engine, classifier, example):
    asked = []
    engine.page.on("request", lambda request: asked.append(request.url))
    with engine.other_worker(OLDER) as worker:
        engine.ask("open", worker, base=engine.url)
        assert any("compat" in url for url in asked)
        assert_same(engine.predict_pixels(example, worker), classifier.answer(example))
