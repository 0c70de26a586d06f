"""What a TFLite file says about itself, for apps and code generators.

Written by hand, in the numbers of the metadata schema: the library for it,
tflite-support, does not go together with a current TensorFlow.
"""

import dataclasses
import io
import zipfile
from typing import Any

import numpy as np

LABELS_FILE = "labels.txt"
# Names and numbers of the metadata schema, version 1.
ENTRY_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
NORMALIZATION_OPTIONS = 1
IMAGE_PROPERTIES = 2
COLOR_SPACES = {1: 2, 3: 1}
TENSOR_AXIS_LABELS = 2


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What to write into a TFLite file, beside the model.

    Android Studio, MediaPipe and LiteRT's task libraries read it.

    Args:
        description: What the model does.
        author: Who made it.
        license: Under which terms.
        mean: What the app subtracts from each pixel, 0 to 255: one number, or
            one for each channel of the image.
        std: By what it then divides, likewise.
        labels: Names of the classes, in the order of the outputs' last axis.

    Example:
    ```python
    metadata = keras_rep.Metadata(mean=127.5, std=127.5, labels=["cat", "dog"])
    keras_rep.export_tflite(model, "model.tflite", metadata=metadata)
    ```
    """

    description: str = ""
    author: str = ""
    license: str = ""
    mean: Any = None
    std: Any = None
    labels: tuple[str, ...] = ()


def check_metadata(metadata, model):
    """Checks that metadata fit a model.

    Raises:
        ValueError: If they do not.
    """
    if not isinstance(metadata, Metadata):
        raise ValueError(
            f"Invalid metadata. Received: an object of type "
            f"{type(metadata).__name__}. Expected `keras_rep.Metadata`. Make "
            "one of it."
        )
    if (metadata.mean is None) != (metadata.std is None):
        raise ValueError(
            f"Half a normalization. Received: mean={metadata.mean} and "
            f"std={metadata.std}. Expected both, or neither. Use 0 for no mean "
            "and 1 for no scale."
        )
    if metadata.mean is not None:
        pair = [np.ravel(x) for x in (metadata.mean, metadata.std)]
        sizes = {len(values) for values in pair}
        channels = {x.shape[-1] for x in model.inputs if _is_image(x.shape)}
        if sizes - {1} - channels or min(pair[1]) <= 0:
            raise ValueError(
                f"Invalid normalization. Received: mean={metadata.mean} and "
                f"std={metadata.std} for images of {sorted(channels)} "
                "channels. Expected one number, or one for each channel, and "
                "a positive `std`. Pass what the data were normalized with."
            )
    sizes = {x.shape[-1] for x in model.outputs}
    labels = metadata.labels
    if isinstance(labels, str) or (labels and len(labels) not in sizes):
        raise ValueError(
            f"The labels do not fit the outputs. Received: {len(labels)} "
            f"labels, and outputs with {sorted(sizes)} values. Expected a "
            "sequence with one for each value. Pass them in the order of the "
            "classes."
        )
    if any("\n" in label for label in labels):
        raise ValueError(
            "A label has several lines. Received: a line break in one of "
            f"{list(labels)}. Expected one line for each label. Replace it by "
            "a space."
        )


def add_metadata(content, metadata):
    """Writes metadata into a TFLite file.

    Args:
        content: Bytes of the file.
        metadata: The `Metadata`.

    Returns:
        Bytes of a file with the same model. Labels are in a file of their own,
        in a ZIP archive behind it, as the format has it.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_Writer(metadata, model).written(), "uint8")
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = aligned_builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    file = io.BytesIO(bytes(builder.Output()))
    if metadata.labels:
        with zipfile.ZipFile(file, "a") as archive:
            # Of no date: the same model makes the same file.
            info = zipfile.ZipInfo(LABELS_FILE)
            archive.writestr(info, "\n".join(metadata.labels) + "\n")
    return file.getvalue()


def aligned_builder():
    """A builder that aligns arrays to 16 bytes, as runtimes expect weights."""
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        def StartVector(self, elemSize, numElems, alignment):
            return super().StartVector(elemSize, numElems, max(alignment, 16))

    return AlignedBuilder()


class _Writer:
    """Writes the table `ModelMetadata` for a model with one signature."""

    def __init__(self, metadata, model):
        import flatbuffers

        self.metadata = metadata
        self.graph = model.subgraphs[0]
        (self.signature,) = model.signatureDefs
        self.builder = flatbuffers.Builder()

    def written(self):
        """The bytes of the table."""
        data, graph, signature = self.metadata, self.graph, self.signature
        # In the order of the graph, with the names of the signature.
        names = {
            end.tensorIndex: end.name.decode()
            for end in (*signature.inputs, *signature.outputs)
        }
        inputs = [
            self._input(names[i], graph.tensors[i].shape) for i in graph.inputs
        ]
        outputs = [
            self._output(names[i], graph.tensors[i].shape)
            for i in graph.outputs
        ]
        subgraph = self._table(
            10,
            {2: self._vector(inputs), 3: self._vector(outputs)},
        )
        root = self._table(
            8,
            {
                1: self._string(data.description),
                3: self._vector([subgraph]),
                4: self._string(data.author),
                5: self._string(data.license),
                7: self._string("1.0.0"),
            },
        )
        self.builder.Finish(root, IDENTIFIER)
        return bytes(self.builder.Output())

    def _input(self, name, shape):
        fields = {0: self._string(name)}
        if _is_image(shape):
            fields[3] = self._image_content(shape[-1])
            if self.metadata.mean is not None:
                fields[4] = self._vector([self._normalization()])
        return self._table(7, fields)

    def _output(self, name, shape):
        fields = {0: self._string(name)}
        if len(self.metadata.labels) == shape[-1]:
            file = self._table(
                5,
                {0: self._string(LABELS_FILE)},
                {2: TENSOR_AXIS_LABELS},
            )
            fields[6] = self._vector([file])
        return self._table(7, fields)

    def _image_content(self, channels):
        image = self._table(2, {}, {0: COLOR_SPACES.get(channels, 0)})
        return self._table(3, {1: image}, {0: IMAGE_PROPERTIES})

    def _normalization(self):
        data = self.metadata
        mean, std = self._floats(data.mean), self._floats(data.std)
        options = self._table(2, {0: mean, 1: std})
        return self._table(2, {1: options}, {0: NORMALIZATION_OPTIONS})

    def _table(self, size, offsets, bytes_=()):
        """A table of `size` fields: offsets, and small numbers, by place."""
        self.builder.StartObject(size)
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in dict(bytes_).items():
            self.builder.PrependInt8Slot(slot, number, 0)
        return self.builder.EndObject()

    def _vector(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def _floats(self, values):
        return self.builder.CreateNumpyVector(
            np.ravel(np.asarray(values, "float32"))
        )

    def _string(self, text):
        return self.builder.CreateString(text)


def _is_image(shape):
    return len(shape) == 4
