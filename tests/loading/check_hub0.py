"""`huggingface_hub.from_pretrained_keras` of the 0.x line; `tf_keras` where it is installed."""

import importlib.util
import json
import sys

import huggingface_hub
import numpy as np

repo_id, revision, inputs, _ = sys.argv[1:]
assert huggingface_hub.__version__.startswith("0."), huggingface_hub.__version__
answers = {}
for name, options in {"newest": {}, "pinned": {"revision": revision}}.items():
    model = huggingface_hub.from_pretrained_keras(repo_id, **options)
    expected = "tf_keras" if importlib.util.find_spec("tf_keras") else "keras"
    assert type(model).__module__.split(".")[0] == expected, type(model)
    x = np.load(inputs)
    answers[f"predict, {name}"] = model.predict(x, verbose=0)
    answers[f"call, {name}"] = model(x).numpy()
print("ANSWERS", json.dumps({name: given.tolist() for name, given in answers.items()}))
