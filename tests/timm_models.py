"""timm's models, which import torchvision and need nothing of it."""

import sys
from unittest import mock

PARTS = (
    "",
    ".datasets",
    ".ops",
    ".ops.misc",
    ".transforms",
    ".transforms.functional",
)


def create(name, gains=(0.5, 1.5), **options):
    """A model of timm's in inference mode, with statistics that show mistakes.

    Large gains make a net chaotic, and small ones deaf to its input.

    Must run before Keras imports TensorFlow, where the backend is PyTorch.
    """
    import torch

    stubs = {f"torchvision{part}": mock.MagicMock() for part in PARTS}
    stubs["torchvision.ops.misc"].FrozenBatchNorm2d = type("", (), {})
    # For good: undoing it would take out what timm imported on the way.
    sys.modules.update({n: m for n, m in stubs.items() if n not in sys.modules})
    import timm

    model = timm.create_model(name, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if value.ndim == 1 and "num_batches" not in name:
                low, high = (
                    (-0.3, 0.3)
                    if name.endswith("mean") or "bias" in name
                    else gains
                )
                value.uniform_(low, high, generator=generator)
            elif ".fc1." in name:
                # Steep gates turn rounding into more, block by block: two
                # computations of timm's own D2se had nothing in common.
                value.mul_(0.1)
    return model.eval()
