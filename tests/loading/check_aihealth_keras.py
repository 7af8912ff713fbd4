"""`aihealth.from_pretrained_keras` with each of its arguments."""

import json
import os
import sys
import tempfile

import keras
import numpy as np

from aihealth import from_pretrained_keras

repo_id, revision, inputs, _ = sys.argv[1:]
x = np.load(inputs)
answers = {}
with tempfile.TemporaryDirectory() as cache:
    options = {"revision": revision, "cache_dir": cache}
    for name, more in {
        "with a token": {"token": os.environ["HF_TOKEN"]},
        "downloaded again": {"force_download": True},
        "from the cache": {"local_files_only": True},
    }.items():
        model = from_pretrained_keras(repo_id, **options, **more)
        answers[f"predict, {name}"] = model.predict(x, verbose=0)
        answers[f"call, {name}"] = keras.ops.convert_to_numpy(model(x))
print("ANSWERS", json.dumps({name: given.tolist() for name, given in answers.items()}))
