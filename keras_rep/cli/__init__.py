"""The command `keras-rep`, a thin skin over the functions of keras_rep."""
