"""A process that runs a program of ExecuTorch: ``python -m limbeck.deploy.executorch.worker``.

A damaged program may end the process that runs it. Standard input begins with a line of JSON: the
file, and the shape and type of one input. Then come batches: the number of inputs, and their
bytes. Each batch is answered with the number of outputs of one input, and all outputs in float32.
"""

import json
import os
import sys
from math import prod

import numpy as np

NUMBER = 8
"""Size of a number in the messages, in bytes."""


def main() -> None:
    """Answer batches until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print, too
    stream = sys.stdin.buffer
    first = json.loads(stream.readline())
    shape, dtype = first["shape"], np.dtype(first["dtype"])

    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(first["file"]).load_method("forward")
    while header := stream.read(NUMBER):
        count = int.from_bytes(header, "little")
        content = bytearray(stream.read(count * prod(shape) * dtype.itemsize))
        inputs = torch.from_numpy(np.frombuffer(content, dtype).reshape(count, *shape))
        outputs = []
        for row in inputs.split(1):
            (result,) = method.execute([row])
            outputs.append(result.float().numpy().reshape(1, -1).copy())
        array = np.ascontiguousarray(np.concatenate(outputs))
        answers.write(array.shape[1].to_bytes(NUMBER, "little") + array.tobytes())
        answers.flush()


if __name__ == "__main__":
    main()
