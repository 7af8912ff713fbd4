"""One process of a training.

`python -m tests.helpers.cluster_member NAME` and the options of `train.py`.

Writes the weights that it ends with into NAME-INDEX.npz, and no release.
"""

import sys

import numpy as np

import train
from aihealth.data.cluster import Cluster
from aihealth.errors import run_cli
from aihealth.training import distribution


def main():
    name = sys.argv.pop(1)
    settings, cluster = train.parse_arguments(), Cluster.from_environment()
    with distribution.joined(cluster):
        import keras

        from aihealth.training import loop

        run = loop.start(settings, cluster)
        loop.fit(run)
        weights = [keras.ops.convert_to_numpy(weight.value) for weight in run.model.weights]
    np.savez(f"{name}-{cluster.index}.npz", *weights)


if __name__ == "__main__":
    run_cli(main)
