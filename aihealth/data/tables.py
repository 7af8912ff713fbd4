"""Tables for the terminal."""

from collections.abc import Sequence
from typing import Any

from aihealth.errors import shown


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay out a table for the terminal: the first column to the left, the others to the right."""
    cells = [[shown(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
