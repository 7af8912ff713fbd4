"""Answer for files as a program that uses `aihealth.Classifier` would.

python -m benchmarks.ours RELEASE FILES...
"""

import sys
from pathlib import Path

from aihealth import Classifier

if __name__ == "__main__":
    classifier = Classifier.from_pretrained(sys.argv[1])
    for file in sys.argv[2:]:
        prediction = classifier.predict(Path(file).read_bytes())
        if prediction.heatmaps is None:
            sys.exit("no heatmap")
        print(prediction.probabilities, flush=True)
