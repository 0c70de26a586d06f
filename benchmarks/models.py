"""The table of the networks: sizes before and after deploying, as published.

    make models NAMES="RepVGG-A0 MobileOne-S0"

Multiply-adds are those of one image of 224×224. A number that was published is
behind a slash where it differs from ours in the digits that were published.
"""

import sys

import numpy as np

import keras_rep
from keras_rep import models
from keras_rep.layers import OREPAVGGConv

# Millions of parameters in training form and deployed, and thousands of
# millions of multiply-adds likewise, as published; `None` where they are not.
REPVGG = {
    "A0": (9.109, 8.309, 1.513, 1.361),
    "A1": (14.092, 12.790, 2.626, 2.364),
    "A2": (28.211, 25.500, 5.685, 5.117),
    "B0": (15.818, 14.339, 3.397, 3.058),
    "B1": (57.415, 51.829, 13.128, 11.815),
    "B1g2": (45.782, 41.360, 9.788, 8.810),
    "B1g4": (39.966, 36.125, 8.119, 7.307),
    "B2": (89.022, 80.315, 20.418, 18.377),
    "B2g2": (70.846, 63.957, 15.200, 13.680),
    "B2g4": (61.758, 55.778, 12.591, 11.332),
    "B3": (123.085, 110.961, 29.121, 26.209),
    "B3g2": (96.912, 87.405, 21.606, 19.446),
    "B3g4": (83.825, 75.627, 17.849, 16.064),
    "D2se": (133.335, 120.388, 36.477, 32.830),
}
MOBILE_ONE = {
    "S0": (5.293, 2.079, None, 0.2751),
    "S1": (4.825, 4.765, None, 0.8251),
    "S2": (7.885, 7.808, None, 1.2984),
    "S3": (10.171, 10.078, None, 1.8958),
    "S4": (14.951, 14.838, None, 2.9793),
}
OREPA = {
    "A0": (24.75, None, None, None),
    "A1": (39.71, None, None, None),
}


def rows():
    """Yields the name, the network and the published figures of each row."""
    for variant, published in REPVGG.items():
        yield (
            f"RepVGG-{variant}",
            lambda v=variant: models.RepVGG(v),
            published,
        )
    for variant, published in OREPA.items():
        yield (
            f"OREPA-RepVGG-{variant}",
            lambda v=variant: models.RepVGG(v, conv=OREPAVGGConv),
            published,
        )
    for variant, published in MOBILE_ONE.items():
        yield (
            f"MobileOne-{variant}",
            lambda v=variant: models.MobileOne(v),
            published,
        )


def measure(model):
    """Millions of parameters and of multiply-adds, before and after."""
    plain = keras_rep.deploy(model, verify=False)
    parameters = [
        sum(int(np.prod(v.shape)) for v in each.trainable_variables) / 1e6
        for each in (model, plain)
    ]
    report = keras_rep.explain(model)
    return (*parameters, *(count / 1e9 for count in report.multiply_adds))


def show(ours, published):
    """A number, with the published one where they differ."""
    if published is None:
        return f"{ours:.3f}"
    digits = len(str(published).partition(".")[2])
    if round(ours, digits) == published:
        return f"**{ours:.{digits}f}**"
    return f"{ours:.{digits}f} / {published}"


def main(names):
    """Prints the rows with the given names; all without any."""
    print(
        "| network | parameters, M | deployed | multiply-adds, G | deployed |"
    )
    print("|---|---|---|---|---|")
    for name, make, published in rows():
        if not names or name in names:
            pairs = zip(measure(make()), published, strict=True)
            cells = " | ".join(show(*pair) for pair in pairs)
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
