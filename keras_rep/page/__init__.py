"""One page about the deployment of a model, to open in a browser."""

from keras_rep.page.page import write_report

__all__ = ["write_report"]
