"""`keras.saving.load_model("hf://...")`, on whichever backend KERAS_BACKEND names."""

import json
import os
import sys

import keras
import numpy as np

repo_id, _, inputs, _ = sys.argv[1:]
model = keras.saving.load_model(f"hf://{repo_id}")
x = np.load(inputs)
assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", "tensorflow")
answers = {
    "predict": model.predict(x, verbose=0),
    "call": keras.ops.convert_to_numpy(model(x)),
    "call again": keras.ops.convert_to_numpy(model(x)),
}
print("ANSWERS", json.dumps({name: given.tolist() for name, given in answers.items()}))
