"""HDF5, byte by byte."""
