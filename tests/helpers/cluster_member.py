"""One process of a training.

`python -m tests.helpers.cluster_member NAME` and the options of `train.py`.

Writes the weights that it ends with into NAME-INDEX.npz, and no release.
"""

import sys
from pathlib import Path

import numpy as np

import train
from aihealth.errors import run_cli
from aihealth.training import distribution


def main():
    name = sys.argv.pop(1)
    args, cluster = train.parse_arguments(), distribution.Cluster.from_environment()
    with distribution.joined(cluster):
        import keras

        model, *_ = train.train(args, Path(args.out), cluster)
        weights = [keras.ops.convert_to_numpy(weight.value) for weight in model.weights]
    np.savez(f"{name}-{cluster.index}.npz", *weights)


if __name__ == "__main__":
    run_cli(main)
