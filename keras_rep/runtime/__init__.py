"""Exported files on the runtimes that they are meant for."""

from keras_rep.runtime.latency import Latency, latencies, peak_memory
from keras_rep.runtime.litert import TFLiteRunner
from keras_rep.runtime.onnx import ONNXRunner

__all__ = [
    "Latency",
    "ONNXRunner",
    "TFLiteRunner",
    "latencies",
    "peak_memory",
]
