"""`aihealth.Classifier`, with the modules that the repo itself carries and without TensorFlow."""

import importlib.util
import json
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

repo_id, revision, _, folder = sys.argv[1:]
for name in ("tensorflow", "keras", "tf_keras"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed"
sys.path.insert(0, snapshot_download(repo_id, revision=revision, allow_patterns="aihealth/*"))
from aihealth import Classifier  # noqa: E402

classifier = Classifier.from_pretrained(repo_id, revision=revision)
files = sorted(Path(folder).glob("*.png"))
answers = {
    "path": [list(classifier.predict(file).probabilities.values()) for file in files],
    "bytes": [list(classifier.predict(file.read_bytes()).probabilities.values()) for file in files],
}
print("ANSWERS", json.dumps(answers))
