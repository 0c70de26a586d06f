"""One picture of a deployment: what it gains, and the graph."""


def plot(table, model, report, path):
    """Draws bars of the table, and the layers before and after.

    Args:
        table: What `tables.measure` returned.
        model: The trained model.
        report: Its `keras_rep.DeployReport`.
        path: Name of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = table["rows"]
    figure = plt.figure(figsize=(11, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.2])
    bars = {
        "accuracy (%)": [100 * row["accuracy"] for row in rows],
        "latency (µs)": [row["latency_us"] for row in rows],
        "file (KiB)": [row["file_bytes"] / 1024 for row in rows],
    }
    for column, (title, values) in enumerate(bars.items()):
        axes = figure.add_subplot(grid[0, column])
        labels = [row["form"].replace(" ", "\n", 1) for row in rows]
        drawn = axes.bar(labels, values, color=["#888", "#38a", "#2a6"])
        axes.bar_label(drawn, fmt="%.1f")
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.2)
    _draw_graphs(figure.add_subplot(grid[1, :]), model, report)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_graphs(axes, model, report):
    """The training form above, the deployed form below, layer by layer."""
    axes.set_axis_off()
    axes.set_xlim(-0.9, len(report.layers) - 0.4)
    axes.set_ylim(-0.5, 4.6)
    axes.text(-0.85, 2.9, "training\nform", va="center")
    axes.text(-0.85, 0.4, "deployed\nform", va="center")
    for x, row in enumerate(report.layers):
        layer = model.get_layer(row.path)
        branches = (row.block,)
        if hasattr(layer, "branches"):
            branches = layer.branches.branch_names
        for index, branch in enumerate(branches):
            y = 2.9 + (len(branches) - 1) / 2 - index
            _box(axes, x, y, branch, "#ddd")
            for end in (-0.5, 0.5):
                axes.plot([x + end, x + end * 0.4], [2.9, y], "k-", lw=0.8)
        _box(axes, x, 0.4, row.becomes.replace(" ", "\n"), "#9cd")
        axes.plot([x - 0.5, x - 0.2], [0.4, 0.4], "k-", lw=0.8)
        axes.plot([x + 0.2, x + 0.5], [0.4, 0.4], "k-", lw=0.8)
        axes.text(x, -0.35, row.path, ha="center", fontsize=8)


def _box(axes, x, y, text, colour):
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        fontsize=8,
        bbox={"boxstyle": "round", "facecolor": colour, "edgecolor": "none"},
    )
