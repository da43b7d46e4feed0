"""Training as Keras's `fit` runs it."""
