"""`handler.py` as the Inference Endpoints toolkit runs it: by path, with a PIL image."""

import importlib.util
import json
import sys
from pathlib import Path

from huggingface_hub import snapshot_download
from PIL import Image

repo_id, revision, _, folder = sys.argv[1:]
model = Path(snapshot_download(repo_id, revision=revision))
spec = importlib.util.spec_from_file_location("custom_handler", model / "handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler = module.EndpointHandler(str(model))
classes = json.loads((model / "aihealth.json").read_text())["classes"]
answers = []
for file in sorted(Path(folder).glob("*.png")):
    with Image.open(file) as image:
        scores = {row["label"]: row["score"] for row in handler({"inputs": image})}
    answers.append([scores[name] for name in classes])
print("ANSWERS", json.dumps({"handler": answers}))
