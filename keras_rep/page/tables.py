"""Tables of the page."""

import dataclasses
import html
from typing import Any

from keras_rep.page.guidelines import measure


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
        value: What it is sorted by; `None` stays at the end.
        text: What it shows.
    """

    value: Any
    text: str


def count(number):
    """The `Cell` of an integer, or of `None` if it is unknown."""
    return Cell(number, "?" if number is None else f"{number:,}")


def percentage(share):
    """The `Cell` of a share, or of `None` if it is unknown."""
    return Cell(share, "?" if share is None else f"{share:.1%}")


def draw_table(caption, heading, heads, rows, sortable=True):
    """Draws a table that scrolls in its own box.

    Args:
        caption: What stands above it, HTML.
        heading: Id of the heading that names it.
        heads: Texts of the columns' heads.
        rows: Pairs of a number, or `None`, that marks what goes together, and
            the row: the name that leads it, strings and `Cell` objects.
        sortable: Whether a click on a column's head sorts by it.

    Returns:
        A paragraph and a `<div>` element.
    """
    numeric = _numeric_columns(rows)
    drawn = []
    for index, text in enumerate(heads):
        kind = ' class="number"' if index in numeric else ""
        shown = html.escape(text)
        if sortable:
            whole = text
            if text == "after":
                whole = heads[index - 1].replace("before", "after")
            label = html.escape(whole)
            opening = f'<button type="button" aria-label="{label}">'
            shown = f"{opening}{shown}</button>"
            kind += ' aria-sort="none"'
        drawn.append(f'<th scope="col"{kind}>{shown}</th>')
    lines = "\n".join(_row(*row) for row in rows)
    return (
        f'<p class="hint">{caption}</p>'
        f'<div class="table" tabindex="0" role="region" '
        f'aria-labelledby="{heading}">'
        f"<table{' class=sortable' if sortable else ''}>"
        f"<thead><tr>{''.join(drawn)}</tr></thead>"
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def layers_table(comparison):
    """The table of what becomes of each layer."""
    heads = [
        "layer",
        "block",
        "becomes",
        "parameters before",
        "after",
        "multiply-adds before",
        "after",
        "memory access before",
        "after",
        "rule",
        "remarks",
    ]
    rows = []
    for number, row in enumerate(comparison.rows):
        report = row.report
        numbers = [
            *report.parameters,
            *report.multiply_adds,
            *(cost.memory for cost in row.costs),
        ]
        cells = [
            report.path,
            report.block,
            report.becomes,
            *map(count, numbers),
            report.rule or "–",
            "; ".join(report.remarks),
        ]
        rows.append((number, cells))
    caption = f"{len(rows)} layers; memory access in elements"
    return draw_table(caption, "layers", heads, rows)


def guidelines_table(comparison):
    """The table of the four guidelines for the whole model."""
    before, after = (
        measure(side.cost) for side in (comparison.before, comparison.after)
    )
    rows = []
    for guideline, figure, name, form in (
        ("G1 Equal channels", "1×1 convolutions", "pointwise", count),
        ("", "… with as many outputs as inputs", "equal", count),
        ("", "… largest ratio of their channels", "ratio", _ratio),
        (
            "",
            "… memory access above the least for their multiply-adds",
            "excess",
            percentage,
        ),
        ("G2 Few groups", "grouped convolutions", "grouped", count),
        ("", "depthwise convolutions", "depthwise", count),
        ("", "largest number of groups", "groups", count),
        ("G3 Few fragments", "operations", "operations", count),
        ("", "… on the longest path", "depth", count),
        ("", "… for each on the longest path", "fragmentation", _mean),
        (
            "G4 Few element-wise",
            "element-wise operations",
            "elementwise",
            count,
        ),
        ("", "… their share of the memory access", "share", percentage),
    ):
        pair = [form(getattr(x, name)) for x in (before, after)]
        rows.append((None, [guideline, figure, *pair]))
    heads = ["guideline", "figure", "before", "after"]
    caption = (
        "G1: memory access is least where a 1×1 convolution has as many "
        "outputs as inputs. G2: groups raise it. G3: many small operations "
        "side by side keep parallel hardware from working. G4: operations "
        "without multiply-adds of their own still move memory."
    )
    return draw_table(caption, "guidelines", heads, rows, sortable=False)


def guidelines_by_layer(comparison):
    """The table of the figures of each layer that has operations."""
    heads = ["layer"]
    for figure in (
        "G1 channel ratio",
        "G2 groups",
        "G3 operations",
        "G4 element-wise",
        "G4 share",
    ):
        heads += [f"{figure} before", "after"]
    rows = []
    for number, row in enumerate(comparison.rows):
        if not any(cost.operations for cost in row.costs):
            continue
        before, after = map(measure, row.costs)
        cells = [row.report.path]
        for name, form in (
            ("ratio", _ratio),
            ("groups", lambda n: Cell(n or None, f"{n:,}" if n else "–")),
            ("operations", count),
            ("elementwise", count),
            ("share", percentage),
        ):
            cells += [form(getattr(x, name)) for x in (before, after)]
        rows.append((number, cells))
    caption = (
        "The largest ratio of the channels of a layer's 1×1 convolutions; the "
        "largest number of groups; operations; element-wise ones, and their "
        "share of the layer's memory access"
    )
    return draw_table(caption, "by-layer", heads, rows)


def files_table(files):
    """The table of measured files.

    Args:
        files: Tuples of a label, a size in bytes and a
            `keras_rep.runtime.Latency`.
    """
    rows = []
    first = files[0][2].median
    for label, size, latency in files:
        low, high = (f"{x * 1e6:,.0f}" for x in (latency.low, latency.high))
        cells = [
            label,
            Cell(size, f"{size / 1024:,.1f} KiB"),
            Cell(latency.median, f"{latency.median * 1e6:,.0f} µs"),
            Cell(latency.low, f"{low} to {high} µs"),
            Cell(latency.median / first, f"{latency.median / first:.2f}"),
        ]
        rows.append((None, cells))
    heads = ["file", "size", "median", "quartiles", "ratio to the first"]
    caption = (
        "LiteRT on the machine that wrote this page, one thread; the files "
        "took turns, run by run"
    )
    return draw_table(caption, "files", heads, rows)


def _row(number, cells):
    name, *others = cells
    name = html.escape(name)
    opening = "<tr>"
    if number is not None:
        opening = f'<tr data-rows="{number}">'
        name = f'<button type="button">{name}</button>'
    drawn = "".join(map(_cell, others))
    return f'{opening}<th scope="row">{name}</th>{drawn}</tr>'


def _cell(cell):
    if isinstance(cell, Cell):
        value = "" if cell.value is None else cell.value
        text = html.escape(cell.text)
        return f'<td class="number" data-value="{value}">{text}</td>'
    return f"<td>{html.escape(cell)}</td>"


def _numeric_columns(rows):
    """Indices of the columns that hold numbers."""
    return {
        index
        for _, row in rows
        for index, cell in enumerate(row)
        if isinstance(cell, Cell)
    }


def _ratio(number):
    text = "–" if number is None else f"1 : {number:.3g}"
    return Cell(number, text)


def _mean(number):
    return Cell(number, f"{number:.2f}")
