"""Command line of `data_prep`."""

import argparse
import contextlib
import json
from collections.abc import Sequence

from aihealth.data.classes import CLASSES, Classes
from aihealth.errors import Parser, UserError, run_cli
from aihealth.release import whole_file
from data_prep.splits import RATIOS, SEED

_EPILOG = """\
examples:
  python -m data_prep demo --out demo
  python -m data_prep inspect AIHealth/DataSet --json inspection.json
  python -m data_prep prepare AIHealth/DataSet --out data/original
  python -m data_prep prepare guangzhou=kaggle-data valencia=bimcv nih=chestx --out data/three
  python -m data_prep prepare demo --out data/demo-without-north --leave-out north
  python -m data_prep download kaggle --out downloads/kaggle
"""
_ROOTS = f"""\
DIR or NAME=DIR; DIR holds class folders at any depth, by any name that is known for
{", ".join(CLASSES)} (COVID-19, NORMAL, Viral Pneumonia, ...), or a list with labels (CheXpert, NIH,
COVIDx, RSNA, or a CSV with the columns file and label); NAME names the hospital or collection
(default: the folder's name, or the names of its subfolders where several hold class folders)"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command."""
    parser = Parser(
        prog="python -m data_prep",
        description="Turn chest radiographs into an imagefolder to train on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_inspect(commands)
    _add_prepare(commands)
    _add_compose(commands)
    _add_lungs(commands)
    _add_download(commands)
    args = parser.parse_args(argv)
    args.run(args)


# === compose ===


def _add_compose(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compose",
        help="put lungs without surroundings into the lungs of whole radiographs",
        description="Write DIR/<class>/ with one image for each one of lungs on black, put into "
        "a radiograph whose lungs are outlined: for `train.py --train-only`, not to measure with.",
    )
    lungs = "class folders of lungs on black"
    parser.add_argument("--lungs", required=True, metavar="DIR", help=lungs)
    _add_outlined(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--seed", type=int, default=SEED, help=f"which go together ({SEED})")
    parser.set_defaults(run=_compose)


def _add_outlined(parser: argparse.ArgumentParser) -> None:
    for name, told in (
        ("radiographs", "whole radiographs"),
        ("masks", "outlines of the lungs of such radiographs, white on black, of the same names"),
    ):
        parser.add_argument(f"--{name}", required=True, metavar="DIR", help=told)


def _compose(args: argparse.Namespace) -> None:
    from data_prep import compose

    count = compose.compose(args.lungs, args.radiographs, args.masks, args.out, args.seed)
    print(f"{count} images in {args.out}, to train on only")


# === lungs ===


def _add_lungs(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "lungs",
        help="train the network that outlines lungs",
        description="Train on radiographs whose lungs are outlined, and write the network as "
        "`aihealth/data/lungs.tflite` has it. `train.py --background-swap` and `aihealth audit` "
        "use that file.",
    )
    _add_outlined(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all that is random ({SEED})")
    parser.set_defaults(run=_lungs)


def _lungs(args: argparse.Namespace) -> None:
    from data_prep import outlining

    dice = outlining.train(args.radiographs, args.masks, args.out, seed=args.seed)
    print(f"{args.out}: Dice {dice:.3f} on the tenth that was kept aside")


# === prepare ===


def _add_prepare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "prepare",
        help="split radiographs into train, validation and test",
        description="Write DIR/{train,validation,test}/<class>/ so that near-duplicates and "
        "images of one patient stay together, with manifest.jsonl and report.json beside them. "
        "Same images, options and seed give the same dataset on any machine.",
        epilog="examples:\n"
        "  python -m data_prep prepare AIHealth/DataSet --out data/original\n"
        "  python -m data_prep prepare AIHealth/DataSet --out data/original-random "
        "--split random\n"
        "  python -m data_prep prepare kids=DataSet adult --source-from-name --out data/all\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_roots(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="dataset folder to write")
    parser.add_argument(
        "--split",
        choices=("grouped", "random"),
        default="grouped",
        help="grouped (default): groups stay whole, classes and sources are balanced over the "
        "splits; random: image by image as in the original project, near-duplicates fall on "
        "both sides, for comparison with published figures; validation comes from its 80%%",
    )
    parser.add_argument(
        "--ratios",
        type=_ratios,
        default=RATIOS,
        metavar="A/B/C",
        help="percent for train/validation/test (default 70/10/20)",
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"draws the split ({SEED})")
    parser.add_argument(
        "--leave-out",
        metavar="SOURCE",
        help="make this source the test split, and train and validation of the others",
    )
    parser.add_argument(
        "--patient-pattern",
        metavar="REGEX",
        help="searched in file names without suffix, then in paths; its group (?P<patient>...) is "
        "the patient (default: the patterns of public collections, such as person12_bacteria_3, "
        "IM-0001-0001, patient00001/study1, 00000061_012)",
    )
    parser.add_argument(
        "--patients", metavar="CSV", help="file,patient table; used instead of the pattern"
    )
    parser.add_argument(
        "--conflicts",
        choices=("drop", "keep", "error"),
        default="drop",
        help="near-duplicates with different labels: leave them out (default), keep them, or stop",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another dataset in DIR")
    parser.set_defaults(run=_prepare)


def _prepare(args: argparse.Namespace) -> None:
    from data_prep import prepare

    fields = prepare.Options.__dataclass_fields__
    given = {name: getattr(args, name) for name in fields} | {"classes": _classes(args)}
    options = prepare.Options(**given)
    report = prepare.prepare(args.roots, args.out, options, overwrite=args.overwrite)
    print(prepare.render(report, args.out))


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or min(parts) < 0 or parts[0] <= 0 or abs(sum(parts) - 100) > 1e-6:
        raise UserError(f"--ratios {text}: three percentages that add up to 100, like 70/10/20")
    return parts[0] / 100, parts[1] / 100, parts[2] / 100


# === inspect ===


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "inspect",
        help="count, and find unreadable files, duplicates and contradictions",
        description="Say what is in a collection before anything is made of it. Nothing is "
        "changed.",
        epilog="example:\n  python -m data_prep inspect AIHealth/DataSet --json inspection.json\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_roots(parser)
    parser.add_argument("--json", metavar="FILE", help="write everything found to FILE")
    parser.set_defaults(run=_inspect)


def _inspect(args: argparse.Namespace) -> None:
    from aihealth.data import layouts
    from data_prep import inspection, scan

    # A file that cannot be written is found before the work.
    with whole_file(args.json) if args.json else contextlib.nullcontext() as file:
        listing = layouts.find_images(
            args.roots, _classes(args), source_from_name=args.source_from_name
        )
        layouts.say([*listing.notes, *filter(None, [listing.without()])])
        images, unreadable = scan.scan_images(listing.entries)
        report = inspection.inspect(listing, images, unreadable)
        print(inspection.render(report), flush=True)
        if file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if args.json:
        print(f"\nwrote {args.json}")


def _add_roots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("roots", nargs="+", metavar="ROOT", help=_ROOTS)
    parser.add_argument(
        "--classes",
        metavar="A,B,...",
        help=f"other classes than {','.join(CLASSES)}, two or more, with commas between them",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FOLDER=CLASS",
        help='take a folder (or a finding of a list) for a class: "Lung_Opacity=Pneumonia"; '
        "repeatable",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="FOLDER",
        help="leave a folder (or a finding) out in silence; repeatable",
    )
    parser.add_argument(
        "--source-from-name",
        action="store_true",
        help="in roots without a NAME, take each file's source from its name, up to the first "
        "underscore (nih_00000061_012.jpg comes from nih)",
    )


def _classes(args: argparse.Namespace) -> Classes:
    return Classes.read(args.classes, args.map, args.ignore)


# === demo ===


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "demo",
        help="draw radiograph-like images to try everything on",
        description="Draw images that look like chest radiographs: three classes, three "
        "hospitals with looks of their own, near-duplicates included. They are drawings, not "
        "medical data.",
        epilog="example:\n  python -m data_prep demo --out demo --images-per-class 120\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--images-per-class", type=int, default=300, metavar="N", help="(300)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"draws the images ({SEED})")
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    from data_prep import demo

    print(demo.make_demo(args.out, args.images_per_class, args.seed))


# === download ===


def _add_download(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "download",
        help="fetch the original collection, one of Kaggle or one of the Hub",
        description="Fetch a collection of image files in class folders, to be prepared. (A "
        "dataset on the Hub that is prepared already goes straight to train.py --data ORG/NAME.)",
        epilog="examples:\n"
        "  python -m data_prep download original --url https://github.com/OWNER/AIHealth "
        "--out downloads/original\n"
        "  python -m data_prep download kaggle --out downloads/kaggle\n"
        "  python -m data_prep download hub --id ORG/NAME --out downloads/name\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", choices=("original", "kaggle", "hub"), help="where from")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--url", help="original: address of the project's git repository")
    parser.add_argument(
        "--id",
        metavar="ORG/NAME",
        help="hub: dataset id; kaggle: dataset id (default: the original's collection)",
    )
    parser.set_defaults(run=_download)


def _download(args: argparse.Namespace) -> None:
    from data_prep.download import download

    revision = download(args.source, args.out, url=args.url, name=args.id)
    print(f"wrote {args.out}" + (f" at revision {revision}" if revision else ""))
    print(f"next: python -m data_prep inspect {args.out}")


if __name__ == "__main__":
    run_cli(main)
