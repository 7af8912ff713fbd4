"""Does the page in the browser answer as the server does? Both read the same files.

    python -m aihealth page --out PAGE
    python -m benchmarks.browser_parity --page PAGE --images 500 FOLDER [FOLDER ...]

Takes the same number of files from each folder, at random but the same at every call, and asks
`Classifier` and the page's engine in headless Chromium. Prints one JSON object; exits with 1 if
a class, an abstention, a rejection, a warning or a refusal differs.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aihealth import Classifier
from aihealth.errors import ImageError
from tests.helpers import chromium
from tests.helpers.engine import Engine, Refused, memory_mb, opened, warning_of


def main() -> None:
    """Read the command line, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of images")
    parser.add_argument("--page", type=Path, required=True, help="folder of the page")
    parser.add_argument("--images", type=int, default=500, help="(%(default)s)")
    args = parser.parse_args()
    if not chromium.installed():
        sys.exit("error: this needs chromium")
    classifier = Classifier(args.page / "model")
    start = time.perf_counter()
    with opened(args.page) as engine:
        opening = {"seconds_to_open": round(time.perf_counter() - start, 1)}
        report = opening | compare(classifier, engine, list(sample(args.folders, args.images)))
        report["memory_mb"] = memory_mb(engine.page)
    print(json.dumps(report, indent=2))
    sys.exit(1 if report["other_answers"] else 0)


def sample(folders: list[Path], count: int) -> Iterator[Path]:
    """Files of each folder in turn, until there are enough."""
    rng = np.random.default_rng(0)
    queues = []
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        queues.append([files[index] for index in rng.permutation(len(files))])
    while count and any(queues):
        for queue in filter(None, queues):
            if count:
                count -= 1
                yield queue.pop()


def compare(classifier: Classifier, engine: Engine, paths: list[Path]) -> dict:
    """Ask both for each file.

    Returns:
        Largest differences, how many files differ in what is said, and seconds an image.
    """
    probability = score = levels = 0.0
    others, refused, seconds = [], 0, []
    for path in paths:
        data = path.read_bytes()
        ours, theirs = server_says(classifier, data), page_says(engine, data, seconds)
        if ours["said"] != theirs["said"]:
            others.append({"suffix": path.suffix, "server": ours["said"], "page": theirs["said"]})
        if "answer" not in ours or "answer" not in theirs:
            refused += 1
            continue
        mine, its = ours["answer"], theirs["answer"]
        gaps = [abs(its["probabilities"][name] - p) for name, p in mine.probabilities.items()]
        probability = max(probability, *gaps)
        score = max(score, abs(its["ood_score"] - mine.ood_score))
        if its["pixels"].shape == mine.pixels.shape:
            levels = max(levels, int(np.abs(its["pixels"].astype(int) - mine.pixels).max()))
    return {
        "files": len(paths),
        "refused": refused,
        "largest_difference_of_a_probability": probability,
        "largest_difference_of_the_ood_score": score,
        "largest_difference_of_a_grey_level": levels,
        "other_answers": len(others),
        "others": others[:20],
        "seconds_an_image": round(float(np.median(seconds)), 3),
    }


def server_says(classifier: Classifier, data: bytes) -> dict:
    """The answer of the package, and what of it has to be the same."""
    try:
        answer = classifier.predict(data)
    except ImageError as error:
        return {"said": str(error)}
    rejected = not answer.is_chest_radiograph
    return {"answer": answer, "said": [answer.label, rejected, answer.abstained, answer.warning]}


def page_says(engine: Engine, data: bytes, seconds: list[float]) -> dict:
    """The answer of the page, likewise."""
    start = time.perf_counter()
    try:
        answer = engine.predict(data)
    except Refused as refusal:
        return {"said": str(refusal)}
    finally:
        seconds.append(time.perf_counter() - start)
    rejected = not answer["is_chest_radiograph"]
    said = [answer["label"], rejected, answer["abstained"], warning_of(answer)]
    return {"answer": answer, "said": said}


if __name__ == "__main__":
    main()
