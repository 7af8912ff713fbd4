"""Publish a model, its Space, or a prepared dataset on the Hugging Face Hub.

    python push_to_hub.py model   --release runs/mine/release --repo-id ORG/NAME --tag v1.0.0
    python push_to_hub.py space   --model-id ORG/NAME --repo-id ORG/SPACE
    python push_to_hub.py space   --static --model-id ORG/NAME --repo-id ORG/PAGE
    python push_to_hub.py dataset --data data/prepared --repo-id ORG/DATA

Each makes one commit, and none when nothing changed. `model --tag v1.1.0` without a release gives
what is on the Hub, such as a pull request that was merged, a version. A model is checked first:
every loader that its card promises must open it, and a version that is worse than the one on the
Hub is refused.
`--dry-run` shows what would be sent and sends nothing.

The token comes from `hf auth login`, from HF_TOKEN, or from --token-file; it is never printed.
"""

import argparse
import sys

from aihealth.errors import Parser, UserError, refuse_renamed, run_cli


def main() -> None:
    """Read the command line and publish."""
    publish(parse_args())


def publish(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    # Imported late: `--help` and a mistyped option answer at once.
    from aihealth.publishing import dataset, model, space, static_page
    from aihealth.publishing.target import Destination

    to = Destination(args.repo_id, args.private, args.message, args.token_file, args.dry_run)
    if args.what == "dataset":
        terms = dataset.Terms(args.license, args.license_name, args.license_link, args.gated)
        dataset.publish_dataset(to, args.data, terms)
    elif args.what == "space" and args.static:
        if args.hardware or args.examples:
            raise UserError("--static goes with neither --hardware nor --examples")
        static_page.publish_page(to, args.model_id, revision=args.revision)
    elif args.what == "space":
        space.publish_space(
            to,
            args.model_id,
            revision=args.revision,
            hardware=args.hardware,
            examples=args.examples,
        )
    else:
        options = model.Options(
            tag=args.tag,
            create_pr=args.create_pr,
            regression_data=args.regression_data,
            allow_regression=args.allow_regression,
            audit=args.audit,
            input_size=args.input_size,
        )
        if args.check:
            model.check_model(to, options)
        elif args.release:
            model.publish_model(to, args.release, options)
        elif args.tag and not args.create_pr:
            model.tag_model(to, args.tag)
        else:
            raise UserError("say what to publish with --release DIR, or what to call it with --tag")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; `what` is model, space or dataset."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    commands = parser.add_subparsers(dest="what", required=True, metavar="model|space|dataset")

    model = commands.add_parser("model", help="a release folder that train.py wrote")
    what = model.add_mutually_exclusive_group()
    what.add_argument(
        "--release",
        metavar="DIR",
        help="the release folder; without it, --tag tags what is on main, such as a pull request "
        "that was merged",
    )
    what.add_argument(
        "--check",
        action="store_true",
        help="only see, before a training, whether token, repo, tag and regression data will do",
    )
    model.add_argument("--tag", metavar="vX.Y.Z", help="semantic version; must be new")
    model.add_argument(
        "--create-pr",
        action="store_true",
        help="open a pull request with old and new figures, or bring the open one up to date",
    )
    model.add_argument(
        "--regression-data",
        metavar="DIR_OR_REPO",
        help="test data on which the version on the Hub and the new one are compared; by default "
        "what the release was trained on, where it can be found",
    )
    model.add_argument(
        "--allow-regression",
        metavar="REASON",
        help="publish although it is worse; the reason goes into the card",
    )
    model.add_argument(
        "--audit", metavar="DIR", help="what `python -m aihealth audit` wrote about this model"
    )
    model.add_argument(
        "--input-size",
        type=int,
        metavar="PIXELS",
        help="that of this version, where it is another than that of the version on the Hub",
    )

    space = commands.add_parser("space", help="the page for a published model")
    space.add_argument(
        "--static",
        action="store_true",
        help="the page that runs the model in the browser and uploads nothing; free to host",
    )
    space.add_argument("--model-id", required=True, metavar="ORG/NAME", help="model repo to serve")
    space.add_argument(
        "--revision", help="branch, tag or commit to pin; by default the newest commit"
    )
    space.add_argument("--hardware", help="such as cpu-upgrade (paid)")
    space.add_argument(
        "--examples", metavar="DIR", help="images of your own to click, instead of drawn ones"
    )

    dataset = commands.add_parser("dataset", help="a dataset that data_prep made")
    dataset.add_argument("--data", required=True, metavar="DIR", help="the prepared dataset")
    dataset.add_argument(
        "--license", default="other", help="of the images, as the Hub spells it (default: other)"
    )
    dataset.add_argument("--license-name", metavar="NAME", help="of --license other")
    dataset.add_argument("--license-link", metavar="URL", help="of --license other")
    dataset.add_argument(
        "--gated",
        choices=("auto", "manual"),
        help="people must accept the terms before they see an image; you are asked with manual",
    )

    for command in (model, space, dataset):
        command.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="where to")
        command.add_argument("--private", action="store_true", help="make a new repo private")
        command.add_argument("--message", help="commit message")
        command.add_argument("--token-file", metavar="FILE", help="a file that holds the token")
        command.add_argument("--dry-run", action="store_true", help="show, send nothing")
    words = sys.argv[1:] if argv is None else argv
    refuse_renamed(words, {"--gate-data": "--regression-data"})
    return parser.parse_args(words)


if __name__ == "__main__":
    run_cli(main)
