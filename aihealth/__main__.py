"""Command line of `aihealth`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aihealth import release
from aihealth.errors import Parser, UserError, refuse_renamed, run_cli

FORMATS = ("table", "csv", "json", "parquet")

# Each command imports what it needs when it runs: `predict` starts in a tenth of a second.

_EPILOG = """\
examples:
  python -m aihealth predict chest.png
  python -m aihealth predict --model org/name scans/ --out answers.csv --heatmaps maps
  python -m aihealth predict --engine ray --data archive/ --out answers.parquet
  python -m aihealth evaluate --model runs/demo/release --data demo/data --out runs/demo/test
  python -m aihealth audit --model release --data data/all --out runs/audit

A MODEL is a release folder (made by train.py) or a repo id on the Hub. Not a medical device.
`python -m aihealth COMMAND --help` says more."""

_PREDICT_EPILOG = """\
examples:
  python -m aihealth predict chest.png scan.dcm
  python -m aihealth predict --model org/name --revision v1.0.0 scans/ --out answers.json
  python -m aihealth predict scans/ --format json | jq '.[] | select(.error)'
  python -m aihealth predict --engine ray --data org/archive --out answers.parquet

Folders are searched to any depth, also for Parquet files with the images inside. A row has file,
label (empty where the model is not sure or sees no chest radiograph), the probabilities, abstained,
is_chest_radiograph, ood_distance and ood_threshold (farther is no chest radiograph), warning,
error, model and revision. The last line of a CSV also has, as shift_warning, what is to be known of
20 images or more as a whole. A file that cannot be read is a row with its error, and the exit
status is 1 when there was one. Not a medical device."""

_EVALUATE_EPILOG = """\
examples:
  python -m aihealth evaluate --model release --data data/prepared --out runs/test
  python -m aihealth evaluate --model org/name --data org/data --split validation --out runs/v
  python -m aihealth evaluate --model release --data hospital/ --out runs/hospital

hospital/ holds one folder per class or a list of labels, in any layout that data_prep reads. The
source of a file is its name up to the first "_" (nih_00000061_012.png: patient 00000061 from nih).
Figures are over all images that can be read,
also those that the model is not sure of or turns away; "answered" has those that it answers."""

_LEAVE_OUT_EPILOG = """\
example:
  python -m aihealth leave-one-source-out --data data/prepared --out runs/loso -- --epochs 6
  python train.py --data data/prepared --out runs/mine \\
      --held-out-predictions runs/loso/held_out.npz

What stands after -- goes to train.py, for every source alike; a folder given there as
--neither SOURCE=DIR or --train-only SOURCE=DIR is left out with its source. A call that was
interrupted goes on where it was. metrics.json has the figures, held_out.npz the predictions:
train.py calibrates on them and puts the figures into the card."""

_PAGE_EPILOG = """\
example:
  python -m aihealth page --out site
  python -m http.server --directory site

The folder runs the model in the browser and can lie on any web server. Writing it takes packages
from npm, which are checked against the digests in space/static/packages.json."""

_AUDIT_EPILOG = """\
example:
  python -m aihealth audit --model release --data data/prepared --out runs/audit

writes audit.json: what is left of the balanced accuracy without the lungs, and with nothing but
the borders; how well the source can be told from the model's features; what an 8 x 8 thumbnail
reaches; which share of the heatmap lies on the lungs; whether an answer follows the lungs or the
background that they were put before (background swap); and what is left after 14 corruptions. Each
with a 95% interval."""


_RENAMED = {
    f"--{form}": f"--format {form}, or --out FILE.{form} for a file" for form in ("csv", "json")
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command."""
    parser = Parser(
        prog="aihealth" if Path(sys.argv[0]).stem == "aihealth" else "python -m aihealth",
        description="Classify chest radiographs with a release and measure it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = _command(commands, "predict", "classify files", _PREDICT_EPILOG)
    predict.set_defaults(run=_predict)
    predict.add_argument("inputs", nargs="*", metavar="FILE", help="image or folder of images")
    predict.add_argument(
        "--data", metavar="PATH_OR_REPO", help="a folder, a Parquet file or a dataset repo id"
    )
    predict.add_argument(
        "--format", choices=FORMATS, help="default: what --out ends in, otherwise a table"
    )
    predict.add_argument("--out", metavar="FILE", help="default: the standard output")
    predict.add_argument(
        "--heatmaps",
        metavar="DIR",
        help="write each image with its heatmap (class activation map) as PNG: "
        "DIR/scans/a/chest.png.Normal.png for scans/a/chest.png",
    )
    predict.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local: this process; ray: processes of Ray, on the cluster of RAY_ADDRESS if it is "
        "set (default: local)",
    )
    predict.add_argument(
        "--workers", type=int, metavar="N", help="processes of Ray (default: one for each core)"
    )

    evaluate = _command(commands, "evaluate", "measure on labelled images", _EVALUATE_EPILOG)
    evaluate.set_defaults(run=_evaluate)
    audit = _command(commands, "audit", "look for shortcuts", _AUDIT_EPILOG)
    audit.set_defaults(run=_audit)
    for command in (evaluate, audit):
        command.add_argument(
            "--data",
            required=True,
            metavar="DIR_OR_REPO",
            help="prepared dataset, folder with one folder per class, or dataset repo id",
        )
        command.add_argument("--out", required=True, metavar="DIR", help="where the results go")
        command.add_argument(
            "--split", default="test", help="of a prepared dataset or a repo (default: test)"
        )
    for option, value, what in (
        ("--map", "FOLDER=CLASS", "take a folder (or a finding of a list) for a class"),
        ("--ignore", "FOLDER", "leave a folder (or a finding) out in silence"),
    ):
        evaluate.add_argument(
            option, action="append", default=[], metavar=value, help=f"{what}; repeatable"
        )

    page = _command(commands, "page", "write the page that never uploads", _PAGE_EPILOG)
    page.set_defaults(run=_page)
    page.add_argument("--out", required=True, metavar="DIR", help="where the page goes")

    left_out = _parser(
        commands,
        "leave-one-source-out",
        "train without each source and measure on it",
        _LEAVE_OUT_EPILOG,
    )
    left_out.set_defaults(run=_leave_out)
    left_out.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="DIR_OR_REPO",
        help="prepared dataset, as for train.py; repeatable",
    )
    left_out.add_argument(
        "--out", required=True, metavar="DIR", help="one run per source goes here"
    )
    left_out.add_argument(
        "--sources",
        nargs="+",
        metavar="SOURCE",
        help="leave out only these (default: each); A+B leaves out two at once, A+B/CLASS also a "
        "class of another source that shares images with it",
    )

    words = list(sys.argv[1:] if argv is None else argv)
    refuse_renamed(words, _RENAMED if words[:1] == ["predict"] else {})
    refuse_renamed(words[:1], {"leave-out": "leave-one-source-out"})
    end = words.index("--") if "leave-one-source-out" in words[:1] and "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.options = words[end + 1 :]
    args.run(args)


def _parser(
    commands: argparse._SubParsersAction, name: str, summary: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _command(
    commands: argparse._SubParsersAction, name: str, summary: str, epilog: str
) -> argparse.ArgumentParser:
    parser = _parser(commands, name, summary, epilog)
    parser.add_argument(
        "--model",
        metavar="DIR_OR_REPO",
        help="release folder or repo id (default: the release/ shipped with the project)",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model's repo")
    return parser


def _model(args: argparse.Namespace) -> str:
    if args.model:
        return args.model
    try:
        return str(release.in_checkout("release"))
    except UserError as error:
        raise UserError(
            "--model is needed here: the release/ of a checkout is not there"
        ) from error


def _predict(args: argparse.Namespace) -> None:
    from aihealth.data.archive import locate
    from aihealth.inference.predict import predict

    if not args.inputs and not args.data:
        raise UserError("name a file or a folder, or give --data")
    if args.workers is not None and (args.engine != "ray" or args.workers < 1):
        raise UserError("--workers needs --engine ray and a number of 1 or more")
    failed = predict(
        _model(args),
        [*args.inputs, *([locate(args.data)] if args.data else [])],
        revision=args.revision,
        form=args.format,
        out=args.out,
        heatmaps=args.heatmaps,
        engine=args.engine,
        workers=args.workers,
    )
    if failed:
        print(f"{failed} file(s) could not be read", file=sys.stderr)
        sys.exit(1)


def _evaluate(args: argparse.Namespace) -> None:
    from aihealth.evaluation.evaluate import evaluate, render

    block = evaluate(
        _model(args),
        args.data,
        split=args.split,
        mapping=args.map,
        ignored=args.ignore,
        revision=args.revision,
        out=args.out,
    )
    print(render(block))
    print(f"wrote {Path(args.out) / 'metrics.json'} and figures")


def _audit(args: argparse.Namespace) -> None:
    from aihealth.evaluation.audit import audit, render

    report = audit(_model(args), args.data, split=args.split, revision=args.revision, out=args.out)
    print(render(report))
    print(f"wrote {Path(args.out) / 'audit.json'}")


def _page(args: argparse.Namespace) -> None:
    from aihealth.publishing.static_page import write_page

    folder = write_page(_model(args), args.out, revision=args.revision)
    print(f"wrote {folder}; python -m http.server --directory {folder} shows it")


def _leave_out(args: argparse.Namespace) -> None:
    from aihealth.evaluation.evaluate import render
    from aihealth.evaluation.held_out import PREDICTIONS
    from aihealth.evaluation.leave_one_source_out import leave_one_source_out

    block = leave_one_source_out(args.data, args.out, sources=args.sources, options=args.options)
    print(render(block | {"unreadable": []}))
    print(f"wrote {Path(args.out) / 'metrics.json'} and {PREDICTIONS}")


def command() -> None:
    """The `aihealth` command."""
    run_cli(main)


if __name__ == "__main__":
    command()
