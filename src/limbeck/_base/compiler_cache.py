"""The folder in which PyTorch keeps compiled code.

By default it is ``torchinductor_USER`` in the system's temporary folder. PyTorch runs what it finds
there, and everybody may create that folder first.
"""

import atexit
import os
from contextlib import ExitStack

from limbeck._base import cache
from limbeck._base.errors import ResourceError
from limbeck._base.scratch import scratch_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def use_private_compiler_cache() -> None:
    """Let PyTorch keep compiled code in the user's own cache. Call this before it compiles.

    A folder that the user has set in the environment is not changed. If the user's cache cannot be
    written, a new temporary folder is used, and removed when the process ends.
    """
    if os.environ.get(VARIABLE):
        return
    try:
        folder = cache.COMPILED.private_folder
        with cache.open_root(folder, create=True):
            os.environ[VARIABLE] = str(folder)
    except (OSError, ResourceError):
        stack = ExitStack()
        os.environ[VARIABLE] = str(stack.enter_context(scratch_folder()))
        atexit.register(stack.close)
