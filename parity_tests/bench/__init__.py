"""How fast and how large: `torch_impl` beside what people would use in its place.

`python -m parity_tests.bench` measures all of them in turn, each in a process of its own, round
by round in one run: machines are noisy, and a ratio of neighbours is worth more than a time.
"""
