"""Keras's layers, as data and as modules, and how their weights start."""
