# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "tensorflow>=2.21,<2.22",
#     "tf_keras>=2.21,<2.22",
#     "keras>=3.13,<4",
#     "huggingface_hub>=1.31,<3",
#     "datasets>=5.2,<6",
#     "pillow>=11.3",
#     "numpy>=2",
#     "ai-edge-litert>=2.1",
#     "scikit-learn>=1.6",
#     "scipy>=1.13",
#     "matplotlib>=3.9",
#     "jinja2>=3.1",
# ]
# ///
r"""Train on a dataset of the Hub and publish the model, as one job that needs nothing but uv.

    hf jobs uv run --flavor cpu-xl --timeout 8h --secrets HF_TOKEN jobs/train_and_push.py \
        --code https://github.com/ORG/REPO --data ORG/DATA --repo-id ORG/MODEL -- --stream

On a GPU: `--flavor l4x1 --with "tensorflow[and-cuda]>=2.21,<2.22"`. What follows `--` goes to
`train.py`. The same script on this machine, from a checkout:

    uv run jobs/train_and_push.py --data ORG/DATA --repo-id ORG/MODEL -- --epochs 2

The token is read from HF_TOKEN by the Hub's client and never printed. A job that is stopped loses
its run; one that is to survive writes to a mounted bucket with --out, and goes on with --resume.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fetch the code where it is not there, train, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, action="append", metavar="ORG/DATA", help="repeatable")
    add("--repo-id", required=True, metavar="ORG/MODEL", help="where the model goes")
    add("--tag", metavar="vX.Y.Z", help="of the model")
    add("--private", action="store_true", help="make a new model repo private")
    add(
        "--regression-data",
        metavar="DIR_OR_REPO",
        help="test data to compare with the version on the Hub (default: --data, where it is one)",
    )
    add("--allow-regression", metavar="REASON", help="publish although it is worse")
    add("--out", metavar="DIR", help="folder of the run (default: a temporary one)")
    add("--code", metavar="GIT_URL", help="where train.py comes from, outside of a checkout")
    add("--code-revision", metavar="BRANCH_OR_TAG", help="of --code")
    add("options", nargs="*", metavar="-- OPTIONS", help="of train.py")
    args = parser.parse_args()
    if not os.environ.get("HF_TOKEN"):
        sys.exit("error: HF_TOKEN is not set; on Jobs add --secrets HF_TOKEN")
    with tempfile.TemporaryDirectory() as temporary:
        code = checkout(args.code, args.code_revision, Path(temporary) / "code")
        out = Path(args.out or tempfile.mkdtemp(prefix="run-")).absolute()
        data = [word for root in args.data for word in ("--data", root)]
        test_data = args.regression_data or (args.data[0] if len(args.data) == 1 else None)
        push = ["push_to_hub.py", "model", "--repo-id", args.repo_id]
        push += ["--tag", args.tag] if args.tag else []
        push += ["--private"] if args.private else []
        push += ["--regression-data", test_data] if test_data else []
        push += ["--allow-regression", args.allow_regression] if args.allow_regression else []
        python(code, *push, "--check")  # hours of training should not end with a refused token
        if not (out / "release").exists():
            python(code, "train.py", *data, "--out", out, *args.options)
        python(code, *push, "--release", out / "release", failed=f"the release is in {out}/release")
        if not args.out:
            shutil.rmtree(out)


def checkout(url: str | None, revision: str | None, into: Path) -> Path:
    """The folder with `train.py`: the checkout that this script lies in, or a new clone."""
    here = Path(__file__).resolve().parent.parent
    if not url and (here / "train.py").is_file():
        return here
    if not url:
        sys.exit("error: this script does not lie in a checkout; say with --code where to clone")
    branch = ["--branch", revision] if revision else []
    command = ["git", "clone", "--quiet", "--depth", "1", *branch, "--", url, str(into)]
    if subprocess.run(command).returncode:
        sys.exit(f"error: {url} cannot be cloned")
    return into


def python(code: Path, *words: object, failed: str = "") -> None:
    """Run one of the project's scripts with this interpreter; end with it when it fails."""
    status = subprocess.run([sys.executable, *map(str, words)], cwd=code).returncode
    if status:
        print(failed, file=sys.stderr)
        sys.exit(status)


if __name__ == "__main__":
    main()
