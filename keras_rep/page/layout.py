"""Places for the boxes of a graph: layer below layer, branches side by side."""

import dataclasses

ROUNDS = 6


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        centres: For each box, and behind these for each bend of a line, the
            horizontal place of its middle; the leftmost edge is at 0.
        levels: For the same, the number of the line of boxes, from 0.
        segments: Pairs of boxes or bends, on levels that follow each other.
        width: Width of everything.
    """

    centres: list
    levels: list
    segments: list
    width: float

    @property
    def height(self):
        """Number of levels."""
        return max(self.levels, default=-1) + 1


def arrange(sources, box_width, gap):
    """Arranges a graph in levels, by the longest paths to its boxes.

    A line that passes levels bends there, so that it meets no box; all lines
    out of one box share their bends.

    Args:
        sources: For each box, the indices of those that it depends on, which
            come before it.
        box_width: Width of a box.
        gap: Distance of boxes and lines that are side by side.

    Returns:
        A `Layout`.
    """
    levels = _levels(sources)
    segments = _bend(sources, levels)
    widths = [box_width] * len(sources)
    widths += [0] * (len(levels) - len(sources))
    upper: list[list[int]] = [[] for _ in levels]
    lower: list[list[int]] = [[] for _ in levels]
    for source, target in segments:
        upper[target].append(source)
        lower[source].append(target)
    lines: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for item, level in enumerate(levels):
        lines[level].append(item)
    centres = [0.0] * len(levels)
    for number in range(2 * ROUNDS + 1):
        downwards = number % 2 == 0
        neighbours = upper if downwards else lower
        for line in lines if downwards else reversed(lines):
            _place(line, neighbours, centres, widths, gap)
    edges = [
        (centre - width / 2, centre + width / 2)
        for centre, width in zip(centres, widths, strict=True)
    ]
    left = min((edge for edge, _ in edges), default=0.0)
    right = max((edge for _, edge in edges), default=0.0)
    centres = [centre - left for centre in centres]
    return Layout(centres, levels, segments, right - left)


def _levels(sources):
    levels: list[int] = []
    for inputs in sources:
        levels.append(1 + max((levels[i] for i in inputs), default=-1))
    # What depends on nothing stands right above what needs it first.
    first: dict[int, int] = {}
    for target, inputs in enumerate(sources):
        for source in inputs:
            first[source] = min(
                levels[target], first.get(source, levels[target])
            )
    for index, inputs in enumerate(sources):
        if not inputs and index in first:
            levels[index] = first[index] - 1
    return levels


def _bend(sources, levels):
    """Adds the levels of bends; returns all segments of the lines."""
    segments: dict[tuple[int, int], None] = {}
    ends: dict[int, list[int]] = {}
    for target, inputs in enumerate(sources):
        for source in dict.fromkeys(inputs):
            # The box itself, then its bends from level to level.
            chain = ends.setdefault(source, [source])
            while len(chain) < levels[target] - levels[source]:
                segments[chain[-1], len(levels)] = None
                chain.append(len(levels))
                levels.append(levels[source] + len(chain) - 1)
            place = levels[target] - levels[source] - 1
            segments[chain[place], target] = None
    return list(segments)


def _place(line, neighbours, centres, widths, gap):
    """Moves the items of one level to the middle of their neighbours.

    Those that would overlap are moved apart by the least sum of squares: runs
    of touching items move as one.
    """
    wanted = {
        item: sum(centres[i] for i in neighbours[item]) / len(neighbours[item])
        if neighbours[item]
        else centres[item]
        for item in line
    }
    line.sort(key=lambda item: (wanted[item], centres[item]))
    runs: list[list] = []
    for item in line:
        # The items of a run, the place of its left edge, and its width.
        run = [[item], wanted[item] - widths[item] / 2, widths[item] + gap]
        while runs and runs[-1][1] + runs[-1][2] > run[1]:
            items, left, width = runs.pop()
            count, more = len(items), len(run[0])
            start = (count * left + more * (run[1] - width)) / (count + more)
            run = [items + run[0], start, width + run[2]]
        runs.append(run)
    for items, left, _ in runs:
        for item in items:
            centres[item] = left + widths[item] / 2
            left += widths[item] + gap
