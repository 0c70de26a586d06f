"""A training step of RepVGG-A0, against plain Keras and native PyTorch.

Run once for each backend:

    KERAS_BACKEND=jax python benchmarks/repvgg_a0.py
"""

import argparse

import hand_written
import keras
import numpy as np
from interleaved import measure, ratio
from keras import ops
from nets import REPVGG_A0, classifier, rep_block

SIZE = 64
BATCH = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (BATCH, SIZE, SIZE, 3)
    images = ops.convert_to_tensor(generator.normal(size=shape), "float32")
    labels = ops.convert_to_tensor(generator.integers(0, 10, BATCH))
    models = {
        "plain Keras": classifier(hand_written.rep, REPVGG_A0, SIZE),
        "RepConv": classifier(rep_block, REPVGG_A0, SIZE),
    }
    steps = {
        name: lambda model=model: float(model.train_on_batch(images, labels))
        for name, model in models.items()
    }
    if keras.backend.backend() == "torch":
        steps["native PyTorch (timm)"] = native_step(images, labels)
    times = measure(steps, arguments.rounds)
    print(f"{keras.backend.backend()}, RepVGG-A0: ratio of medians")
    for name, row in times.items():
        print(
            f"{name:24} {ratio(row, times['plain Keras']):.2f} "
            f"({1000 * np.median(row):.0f} ms)"
        )


def native_step(images, labels):
    """A training step of timm's RepVGG-A0, channels last."""
    import sys
    from unittest import mock

    # timm imports torchvision, of which RepVGG needs nothing.
    parts = (
        "",
        ".datasets",
        ".ops",
        ".ops.misc",
        ".transforms",
        ".transforms.functional",
    )
    stubs = {f"torchvision{part}": mock.MagicMock() for part in parts}
    stubs["torchvision.ops.misc"].FrozenBatchNorm2d = type("", (), {})
    sys.modules.update(stubs)
    import timm
    import torch

    model = timm.create_model("repvgg_a0", num_classes=10)
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()
    batch = images.permute(0, 3, 1, 2)

    def step():
        optimizer.zero_grad()
        value = loss(model(batch), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


if __name__ == "__main__":
    main()
