"""`python -m keras_rep`, the same as the command `keras-rep`."""

import sys

from keras_rep.cli.main import start

if __name__ == "__main__":
    sys.exit(start())
