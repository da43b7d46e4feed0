"""Keras's HDF5 files."""
