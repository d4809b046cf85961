"""Fixed parts of the files of an export to ExecuTorch."""

from string import Template

README = Template("""\
# $title

A program of ExecuTorch $version in float32, for one input at a time. Normalisation is part of it.

| | |
| --- | --- |
| task | $kind |
| input | $input, $input_type, see `preprocess.json` |
| output | $output, float32, see `labels.json` |
| method | `forward` |
| backend | XNNPACK; the kernels of ExecuTorch compute: $others |

| file | content |
| --- | --- |
| `model.pte` | the program |
| `preprocess.json` | how an input is made |
| `labels.json` | names of the outputs, in their order |
| `executorch.json` | shapes and versions; `temperature`, which divides logits for confidences; \
`tolerance` |
| `golden.npz` | arrays `inputs`, and `fp32` with the outputs of the student: on a device they may \
differ by the `tolerance` (in units of `scale`, if there is one) |
| `SHA256SUMS` | checksums: `sha256sum -c SHA256SUMS` |

In Python, with `pip install executorch`:

```python
import numpy as np
import torch
from executorch.runtime import Runtime

program = Runtime.get().load_program("model.pte")
inputs = torch.from_numpy(np.load("golden.npz")["inputs"])
outputs = program.load_method("forward").execute([inputs[:1]])[0]
```

On the $samples test samples: $result.

TODO: intended use, data, limits, licence.
""")
