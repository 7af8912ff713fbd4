"""A bounded number of mutated files, the same in each run; `python -m tests.fuzz` runs more."""

import pytest

from aihealth import release
from tests.fuzz import runner
from tests.fuzz.cases import ANSWERED, DECODERS, REFUSED, Cases

COUNTS = {
    DECODERS: 600,
    release.CONFIG: 150,
    release.OOD: 100,
    release.LITERT: 60,
    release.METRICS: 150,
    release.PROVENANCE: 100,
    release.AUDIT: 100,
}


@pytest.mark.parametrize(("target", "count"), COUNTS.items())
def test_mutated_files_are_answered_or_refused(target, count):
    report = runner.run(0, target, 0, count)
    assert report.failures == []
    assert report.outcomes.total() == count
    assert report.outcomes[REFUSED] > 0, "the mutations are too weak"
    assert report.outcomes[ANSWERED] > 0, "the mutations are too strong"


def test_a_case_can_be_run_again():
    assert Cases(3, DECODERS).data(17) == Cases(3, DECODERS).data(17)
    assert Cases(3, DECODERS).data(17) != Cases(4, DECODERS).data(17)
