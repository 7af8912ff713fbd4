"""`python -m tests.hub_server --port 8123 --store DIR`: a Hub to try things by hand."""

import argparse
from pathlib import Path

from . import Hub, bind

parser = argparse.ArgumentParser(prog="python -m tests.hub_server", description=__doc__)
parser.add_argument("--port", type=int, default=0, help="0: any free one")
parser.add_argument("--store", type=Path, required=True, help="folder for repos, kept between runs")
args = parser.parse_args()
hub = Hub(args.store, bind(args.port)).start()
for name in ("endpoint", "cdn", "token", "read_token", "stranger_token"):
    print(f"{name}: {getattr(hub, name)}", flush=True)
try:
    hub.thread.join()
except KeyboardInterrupt:
    hub.stop()
