"""Keras's files, read and written without TensorFlow; `api` has what users call."""
