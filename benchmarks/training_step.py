"""Time of a training step, against the same net of plain Keras layers.

Run once for each backend:

    KERAS_BACKEND=jax python benchmarks/training_step.py
"""

import argparse

import keras
import numpy as np
from interleaved import measure, ratio
from keras import ops
from nets import REPVGG_A0, SMALL, classifier, hand_written_block, rep_block

NETS = {
    "small": {"blocks": SMALL, "size": 32, "batch": 64},
    "repvgg_a0": {"blocks": REPVGG_A0, "size": 64, "batch": 32},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, default="small")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    net = NETS[arguments.net]
    generator = np.random.default_rng(0)
    shape = (net["batch"], net["size"], net["size"], 3)
    images = ops.convert_to_tensor(generator.normal(size=shape), "float32")
    labels = ops.convert_to_tensor(generator.integers(0, 10, net["batch"]))
    models = {
        "plain Keras": classifier(
            hand_written_block, net["blocks"], net["size"]
        ),
        "RepConv": classifier(rep_block, net["blocks"], net["size"]),
    }
    steps = {
        name: lambda model=model: float(model.train_on_batch(images, labels))
        for name, model in models.items()
    }
    if keras.backend.backend() == "torch" and arguments.net == "repvgg_a0":
        steps["native PyTorch (timm)"] = native_step(images, labels)
    times = measure(steps, arguments.rounds)
    print(f"{keras.backend.backend()}, net {arguments.net}: ratio of medians")
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
