"""What one core scores of the files that archives hold: small and large, PNG, JPEG and DICOM."""

import time

import numpy as np

from benchmarks.drawn import encoded, grainy
from benchmarks.harness import Row, Settings, Table, alternate, rows

KINDS = {
    "PNG 256 px": (256, "png"),
    "PNG 1024 px": (1024, "png"),
    "JPEG 1024 px": (1024, "jpg"),
    "JPEG 2500 px": (2500, "jpg"),
    "DICOM 2500 px, 12 bits, uncompressed": (2500, "dcm"),
}


def run(settings: Settings) -> list[Table]:
    """Decoding and scoring by one thread, in turns; the ratio is to the first kind.

    By processor time, which other programs on the machine change little.
    """
    from aihealth import images
    from aihealth.classifier import Classifier

    classifier = Classifier(settings.model, num_threads=1)
    files = {}
    for name, (size, suffix) in KINDS.items():
        files[name] = encoded(grainy(size), suffix)

    def rate(data: bytes) -> float:
        start, count = time.process_time(), 0
        while count == 0 or time.process_time() - start < (0.1 if settings.quick else 1):
            classifier.predict(data)
            count += 1
        return count / (time.process_time() - start)

    values = alternate(
        {name: lambda data=data: rate(data) for name, data in files.items()}, settings.rounds
    )
    table: list[Row] = rows(values, larger_is_better=True)
    pixels = images.decode(files["PNG 256 px"])
    network = alternate({"network": lambda: _each(classifier, pixels)}, settings.rounds)
    for row in table:
        row.note = f"{len(files[row.name]) / 1e3:.0f} kB a file"
    table += rows(network, larger_is_better=True)
    table[-1].ratio, table[-1].note = None, "pixels at hand, nothing to decode"
    return [Table("decoded and scored by one core", "images/s of processor time", table)]


def _each(classifier, pixels: np.ndarray) -> float:
    start = time.process_time()
    for _ in range(50):
        classifier.predict(pixels)
    return 50 / (time.process_time() - start)
