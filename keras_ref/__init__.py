"""The reference: the tutorial's network in Keras, NumPy in and NumPy out.

Its modules import TensorFlow, so they run in a process of their own
(`parity_tests.reference.keras_process`): with the ordinary Linux wheels TensorFlow and
torch abort each other in one process. This file imports nothing.
"""
