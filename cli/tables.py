"""Results for people (aligned columns) and for programs (one JSON object a line)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click


class Table:
    """Prints rows as they come: a heading with the first, or JSON lines.

    ``columns`` are ``(key, heading, format)``. With ``err`` the table goes to stderr.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str, str]],
        *,
        as_json: bool = False,
        err: bool = False,
        quiet: bool = False,
    ) -> None:
        self.columns, self.as_json, self.err, self.quiet = columns, as_json, err, quiet
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; JSON is printed at once, a table by :meth:`close`."""
        if self.as_json:
            clean = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in row.items()
            }
            click.echo(json.dumps(clean), err=self.err)
        else:
            self._rows.append(row)

    def close(self) -> None:
        """Print the table."""
        if self.quiet or not self._rows:
            return
        cells = [[heading for _, heading, _ in self.columns]]
        cells += [
            [
                format(row[key], spec) if row.get(key) is not None else "-"
                for key, _, spec in self.columns
            ]
            for row in self._rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = [not isinstance(self._rows[0].get(key), str) for key, _, _ in self.columns]
        for line in cells:
            padded = [
                cell.rjust(width) if align else cell.ljust(width)
                for cell, width, align in zip(line, widths, right, strict=True)
            ]
            click.echo("  ".join(padded).rstrip(), err=self.err)
