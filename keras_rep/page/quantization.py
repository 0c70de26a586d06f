"""The section of the page on a quantized file."""

import html
import math

from keras_rep.page.tables import Cell, draw_table

# In pixels.
BAR, GAP, HEIGHT, LABELS = 14, 4, 160, 60
# What the plot ends at: more is as good as exact.
HIGHEST = 60


def quantization_section(report):
    """Tables and a plot.

    Args:
        report: A `keras_rep.quantize.QuantizationReport`, or `None`.

    Returns:
        A `<section>` element, or nothing.
    """
    if report is None:
        return ""
    parts = ['<section>\n<h2 id="quantization">Quantization</h2>']
    for number, (title, heads, rows) in enumerate(report.tables()):
        heading = f"quantization-{number}"
        parts.append(f'<h3 id="{heading}">{html.escape(title)}</h3>')
        if title == "Layers" and report.layers:
            parts.append(plot(report.layers))
        has_numbers = title != "Outputs"
        read = _cell if has_numbers else str
        cells = [(None, [row[0], *map(read, row[1:])]) for row in rows]
        parts.append(
            draw_table(
                CAPTIONS[title], heading, list(heads), cells, has_numbers
            )
        )
    return "\n".join([*parts, "</section>"])


CAPTIONS = {
    "Outputs": (
        "The file beside the model in floating point. Saturated: samples whose "
        "largest output is the largest number that the file can hold"
    ),
    "Layers": (
        "Where the SNR falls, the error enters. Spread: the largest weight "
        "relative to that of the median channel. Identity gain: of the "
        "identity branch, before it was deployed"
    ),
    "What if": "Other ways to quantize, by simulation",
}


def plot(layers):
    """Bars for the SNR of each layer, an `<svg>` element.

    Args:
        layers: List of `keras_rep.layerwise.LayerError`.
    """
    width = LABELS + len(layers) * (BAR + GAP)
    parts = [
        f'<div class="view" tabindex="0" role="region" aria-label="SNR of each '
        f'layer, to scroll"><svg role="img" aria-label="SNR of each layer" '
        f'width="{width}" height="{HEIGHT + 20}">'
    ]
    for level in range(0, HIGHEST + 1, 20):
        y = _y(level)
        parts.append(
            f'<text x="0" y="{y + 4:.0f}" fill="currentColor" '
            f'font-size="12">{level} dB</text><line x1="{LABELS - 8}" '
            f'x2="{width}" y1="{y:.0f}" y2="{y:.0f}" stroke="currentColor" '
            'stroke-opacity="0.25"/>'
        )
    for index, row in enumerate(layers):
        level = min(max(row.snr_db, 0.0), HIGHEST)
        label = html.escape(f"{row.name}: {row.snr_db:.1f} dB")
        parts.append(
            f'<rect x="{LABELS + index * (BAR + GAP)}" y="{_y(level):.0f}" '
            f'width="{BAR}" height="{_y(0) - _y(level):.0f}" '
            f'fill="currentColor" fill-opacity="0.6"><title>{label}</title>'
            "</rect>"
        )
    return "".join([*parts, "</svg></div>"])


def _y(level):
    return 10 + HEIGHT * (1 - level / HIGHEST)


def _cell(text):
    """A `Cell` where the text begins with a number, for sorting."""
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        return text
    return Cell(None if math.isinf(value) else value, text)
