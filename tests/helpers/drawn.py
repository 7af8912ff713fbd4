"""A prepared data set of drawn radiographs."""

from data_prep.__main__ import main as data_prep
from data_prep.demo import make_demo


def prepared_drawings(root, images_per_class):
    """The folder of a data set that `data_prep prepare` makes of drawings below `root`."""
    make_demo(root / "drawn", images_per_class, 0)
    data_prep(["prepare", str(root / "drawn"), "--out", str(root / "ready")])
    return root / "ready"
