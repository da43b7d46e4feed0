"""Keras's optimizers: what becomes of a gradient."""
