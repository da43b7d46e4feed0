"""Keras's files, read and written without TensorFlow."""
