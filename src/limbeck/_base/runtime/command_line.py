"""Command line of a bundle: ``verify``, ``predict`` and ``bench``.

Exit codes: 0 success, 2 wrong arguments, 3 some inputs cannot be read, 6 ONNX Runtime is missing,
or memory or disk is exhausted, 7 the bundle is damaged, 8 the model's outputs differ from the
exported ones.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .bench import bench, describe
from .bundle import Bundle
from .errors import DISK_ERRORS, SHORTAGES, InputError, MissingLibraryError, RuntimeFailure
from .file_names import KINDS, PROGRAM, SIGNATURE
from .folders import input_files
from .output_file import is_same_file, open_output
from .predict import predict
from .printable import printable
from .samples import Text
from .verify import verify


class _Parser(argparse.ArgumentParser):
    """Parser whose messages hold no control characters of the arguments, such as file names."""

    def error(self, message: str) -> NoReturn:
        """Print a message and exit with code 2."""
        super().error(printable(message))


SignatureCheck = Callable[[argparse.Namespace], Callable[[Bundle], str] | None]


def parser(program: str, *, inside: bool) -> argparse.ArgumentParser:
    """Create the parser of the command line.

    Args:
        program: Name of the program.
        inside: Whether the program is in a bundle, so that no bundle has to be named.
    """
    descriptions = {
        "verify": "check the files of a bundle and its outputs on this device",
        "predict": "classify images, texts or the rows of tables with a bundle",
        "bench": "measure how fast the models of a bundle are on this device",
    }
    top = _Parser(program, description="Check or use an exported model.")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    parsers = {
        verb: verbs.add_parser(verb, help=text, description=text)
        for verb, text in descriptions.items()
    }
    if not inside:
        for verb in parsers.values():
            text = "folder or zip file written by 'limbeck export'"
            verb.add_argument("bundle", type=Path, metavar="BUNDLE", help=text)
        add = parsers["verify"].add_argument
        text = "check the signature, with this file of the signers that you trust"
        add("--allowed-signers", type=Path, metavar="FILE", help=text)
        add("--identity", metavar="NAME", help="signer that you expect (default: any in the file)")
        text = f"file of the signature (default: {SIGNATURE} in the bundle)"
        add("--signature", type=Path, metavar="FILE", help=text)
    add = parsers["predict"].add_argument
    text = (
        "image files, or CSV or Parquet files for a model of tables or texts, and folders of them"
    )
    add("paths", nargs="*", metavar="FILE", help=text)
    text = "a text to classify; may be repeated"
    add("--text", action="append", default=[], metavar="TEXT", dest="texts", help=text)
    help_model = "kind of model; by default the one that was best at export"
    add("--model", choices=list(KINDS), help=help_model)
    add("--top", type=int, default=1, metavar="K", help="list the K most likely classes")
    text = "format of the table; npy is an array of values or embeddings, a row for each input"
    add("--format", choices=["csv", "jsonl", "npy"], default="csv", help=text)
    help_abstain = "return no class below this confidence (0.9), or so that at most 1%% are wrong"
    add("--abstain", default="0", metavar="P", help=help_abstain)
    help_invert = "invert the brightness, for dark objects on a light ground"
    add("--invert", action="store_true", help=help_invert)
    add("--out", type=Path, metavar="FILE", help="write the table to a file")
    add = parsers["bench"].add_argument
    text = "number of threads; may be repeated (default: 1, and the number of cores)"
    add("--threads", type=int, action="append", metavar="N", help=text)
    text = "duration of each measurement in seconds (default: 1)"
    add("--seconds", type=float, default=1.0, metavar="S", help=text)
    add("--out", type=Path, metavar="FILE", help="write the numbers to a JSON file")
    return top


def parse(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments; files may stand before and after options.

    argparse itself reads no files after an option that follows the bundle.

    Args:
        top: Parser of :func:`parser`.
        argv: Arguments of the command line; None for those of the process.
    """
    arguments, rest = top.parse_known_args(argv)
    takes_files = arguments.verb == "predict"
    unknown = [word for word in rest if word.startswith("-") or not takes_files]
    if unknown:
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        arguments.paths = [*arguments.paths, *rest]
    return arguments


def _execute(
    bundle: Path, arguments: argparse.Namespace, check_signature: SignatureCheck | None
) -> None:
    if arguments.verb == "verify":
        check = None
        if check_signature is not None:
            check = check_signature(arguments)
        print("\n".join(map(printable, verify(bundle, check))), flush=True)
        return
    if arguments.verb == "bench":
        _bench(bundle, arguments)
        return
    has_files = arguments.paths or not arguments.texts
    files = input_files(arguments.paths) if has_files else []
    with open_output(arguments.out, arguments.paths) as out:
        failures = predict(
            bundle,
            [
                *map(Text, arguments.texts),
                *[file for file in files if not is_same_file(file, arguments.out)],
            ],
            model=arguments.model,
            top=arguments.top,
            table_format=arguments.format,
            abstain=arguments.abstain,
            invert=arguments.invert,
            out=out,
        )
    if failures:
        raise InputError(f"{failures} of the inputs cannot be read. See the column error.")


def _bench(bundle: Path, arguments: argparse.Namespace) -> None:
    """Measure the models, and write the numbers to a file if there is to be one."""
    if arguments.out is None:
        result = bench(bundle, threads=arguments.threads, seconds=arguments.seconds)
    else:
        with open_output(arguments.out, [bundle]) as out:
            result = bench(bundle, threads=arguments.threads, seconds=arguments.seconds)
            json.dump(result, out, indent=2, ensure_ascii=False)
            out.write("\n")
    print("\n".join(map(printable, describe(result))), flush=True)


def main(
    argv: Sequence[str] | None = None,
    *,
    program: str = PROGRAM,
    bundle: Path | None = None,
    check_signature: SignatureCheck | None = None,
) -> int:
    """Run a verb of a bundle, as in ``run.py predict FILE`` or ``limbeck predict BUNDLE FILE``.

    Args:
        argv: Arguments of the command line; None for those of the process.
        program: Name of the program.
        bundle: Folder of the bundle that the program is in; None if the arguments name a bundle.
        check_signature: Function that returns the check that the arguments of ``verify`` ask for,
            or None.

    Returns:
        Exit code.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # file names may contain characters that a terminal cannot show
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # decode has its own limit on the size, and damaged EXIF data is of no importance
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", module="pydicom")  # it quotes headers of patients
    arguments = parse(parser(program, inside=bundle is not None), argv)
    bundle = bundle or arguments.bundle
    try:
        _execute(bundle, arguments, check_signature)
        return 0
    except RuntimeFailure as error:
        message, code = str(error), error.exit_code
    except BrokenPipeError:  # the reader of the table has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        file = error.filename or getattr(arguments, "out", None) or "the table"
        message, code = f"{file}: {error.strerror}.", RuntimeFailure.exit_code
        if error.errno in SHORTAGES + DISK_ERRORS:
            code = MissingLibraryError.exit_code
    except MemoryError:
        message, code = "out of memory.", MissingLibraryError.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted.", 130
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {printable(message)}", file=sys.stderr)
    return code
