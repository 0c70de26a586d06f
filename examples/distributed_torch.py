"""Blocks in two processes with PyTorch: what is the same as in one.

python examples/distributed_torch.py

`DistributedDataParallel` averages the gradients of two processes, each with
its share of the batch; here they talk by gloo, on the CPU. Normalizations see
the share of their process only, so the training is that of one process which
reads a batch in two parts and averages the gradients. Keras' moving statistics
are parameters without gradient, so that PyTorch does not send them around:
each process has its own.

With `synchronized=True` statistics are those of the whole batch, and everything
is as in one process. `SyncBatchNorm.convert_sync_batchnorm` would not do it: it
knows the normalizations of PyTorch, not those of Keras or of the blocks.
"""

import argparse
import os
import tempfile

os.environ["KERAS_BACKEND"] = "torch"

import torch
from torch import distributed

WORKERS = 2
# Of each process. More of them wait for each other busily, where cores are few.
torch.set_num_threads(1)


def train(model, x, y, parts=1):
    """Trains for one epoch with SGD, on the data in order.

    Args:
        model: A Keras model, or that wrapped for several processes.
        x: Images.
        y: Their classes.
        parts: Number of parts of a batch that pass the net one by one before
            the weights change.
    """
    from parallel import BATCH, RATE

    rank, shares = 0, 1
    if distributed.is_initialized():
        rank, shares = distributed.get_rank(), distributed.get_world_size()
    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer = torch.optim.SGD(weights, RATE)
    # Of each batch the share of this process, and of that the parts.
    sizes = -1, shares, parts, BATCH // shares // parts
    images, labels = (
        torch.tensor(array).unflatten(0, sizes)[:, rank] for array in (x, y)
    )
    for step in range(len(images)):
        optimizer.zero_grad()
        for image, label in zip(images[step], labels[step], strict=True):
            logits = model(image, training=True)
            loss = torch.nn.functional.cross_entropy(logits, label.long())
            (loss / parts).backward()
        optimizer.step()


def work(rank, folder, steps):
    """What each of the processes does."""
    from parallel import build, make_data

    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting_point",
        rank=rank,
        world_size=WORKERS,
    )
    for synchronized in (False, True):
        model = build(synchronized=synchronized)
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        train(parallel, *make_data(steps))
        if rank == 0:
            model.save_weights(f"{folder}/{synchronized}.weights.h5")
    distributed.destroy_process_group()


def main(steps):
    from parallel import build, compare, make_data

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (folder, steps), nprocs=WORKERS)
        two, synchronized = build(), build()
        two.load_weights(f"{folder}/False.weights.h5")
        synchronized.load_weights(f"{folder}/True.weights.h5")
    one, in_parts = build(), build()
    train(one, *make_data(steps))
    train(in_parts, *make_data(steps), parts=WORKERS)
    print(f"Largest relative differences after {steps} steps:")
    compare(two, one, "Two processes to one")
    compare(two, in_parts, "Two processes to one, batch in two parts")
    compare(synchronized, one, "Two synchronized processes to one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    main(**vars(parser.parse_args()))
