"""Proof without Keras: a module against what Keras answered once, in an ordinary test.

`python -m parity_tests.record --model my.keras OUT.safetensors` writes the answers where Keras
is; where it is not, three lines prove any `nn.Module` against them:

    from torch_impl.proof import assert_agrees

    def test_port():
        assert_agrees(MyModule(), "answers.safetensors", {"dense": "fc1", "dense_1": "fc2"})

What fails says the layer, the place, both numbers and what was allowed, and which known trap
the numbers look like. PyTorch, NumPy and safetensors are all it needs.
"""

from torch_impl.proof.compare import DisagreementError, Verdict, assert_agrees, compare
from torch_impl.proof.recording import Recording, RecordingError, read_recording

__all__ = [
    "DisagreementError",
    "Recording",
    "RecordingError",
    "Verdict",
    "assert_agrees",
    "compare",
    "read_recording",
]
