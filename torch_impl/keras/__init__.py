"""Keras's semantics, one file each."""
