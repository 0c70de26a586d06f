"""A model's graph as SVG."""

import html
import math

from keras_rep.page.layout import arrange

BOX_WIDTH, BOX_HEIGHT = 190, 34
GAP, LEVEL_HEIGHT, MARGIN = 18, 56, 10
# Characters that fit into a box.
LONGEST = 27


def draw(flow, rows, states, title):
    """Draws the graph of a model.

    Args:
        flow: A `keras_rep.page.flow.Flow`.
        rows: For each step, the indices of the table's rows that it goes with.
        states: For each step, the class of its box in the style sheet.
        title: What the picture shows.

    Returns:
        An `<svg>` element.
    """
    places = arrange([step.sources for step in flow.steps], BOX_WIDTH, GAP)
    points = [
        (MARGIN + centre, MARGIN + LEVEL_HEIGHT * level)
        for centre, level in zip(places.centres, places.levels, strict=True)
    ]
    boxes = len(flow.steps)
    lines = [_line(points[a], points[b]) for a, b in places.segments]
    lines += [_vertical(points[bend]) for bend in range(boxes, len(points))]
    ends = set(flow.ends)
    groups = [
        _box(step, points[i], rows[i], states[i], i in ends)
        for i, step in enumerate(flow.steps)
    ]
    width = math.ceil(places.width + 2 * MARGIN)
    height = LEVEL_HEIGHT * (places.height - 1) + BOX_HEIGHT + 2 * MARGIN
    return (
        f'<svg role="img" aria-label="{html.escape(title)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">'
        f'<path class="lines" d="{" ".join(lines)}"/>{"".join(groups)}</svg>'
    )


def describe(layer):
    """What a layer is, with kernel size, strides and filters, in a few words.

    Args:
        layer: A layer or operation.
    """
    words = [type(layer).__name__]
    size = getattr(layer, "kernel_size", None)
    if isinstance(size, tuple):
        words.append("×".join(map(str, size)))
    strides = getattr(layer, "strides", None)
    if isinstance(strides, tuple) and set(strides) != {1}:
        words.append("/" + "×".join(map(str, dict.fromkeys(strides))))
    width = getattr(layer, "filters", getattr(layer, "units", None))
    if isinstance(width, int):
        words.append(f"→ {width}")
    return " ".join(words)


def _line(start, end):
    """A curve from the lower edge of a box, or a bend, to an upper edge."""
    x, y = start
    to_x, to_y = end
    # A bend is as high as a box, so that lines cross between levels alone.
    y += BOX_HEIGHT
    if x == to_x:
        return f"M{x:.1f} {y}V{to_y}"
    middle = (y + to_y) / 2
    return (
        f"M{x:.1f} {y}C{x:.1f} {middle} {to_x:.1f} {middle} {to_x:.1f} {to_y}"
    )


def _vertical(point):
    x, y = point
    return f"M{x:.1f} {y}v{BOX_HEIGHT}"


def _box(step, point, rows, state, is_end):
    x, y = point[0] - BOX_WIDTH / 2, point[1]
    name, kind = step.path, describe(step.layer)
    shapes = ", ".join(_size(tensor) for tensor in step.outputs)
    title = html.escape(f"{step.path}\n{kind}\noutput {shapes}")
    classes = f"box {state} end" if is_end else f"box {state}"
    if len(name) > LONGEST:
        # Behind are the names of the layers, in front those of models.
        name = f"…{name[1 - LONGEST :]}"
    if len(kind) > LONGEST:
        kind = f"{kind[: LONGEST - 1]}…"
    numbers = " ".join(map(str, rows))
    return (
        f'<g class="{classes}" data-rows="{numbers}" '
        f'transform="translate({x:.1f} {y})"><title>{title}</title>'
        f'<rect width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text class="kind" x="{BOX_WIDTH / 2}" y="14">{html.escape(kind)}'
        f'</text><text x="{BOX_WIDTH / 2}" y="27">{html.escape(name)}</text>'
        "</g>"
    )


def _size(tensor):
    sizes = ["?" if n is None else str(n) for n in tensor.shape[1:]]
    return "×".join(sizes) or "one number"
