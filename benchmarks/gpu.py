"""One command that says whether the GPU path is right and how fast it is, on any CUDA card, in under eight minutes.

    python -m benchmarks.gpu [--out gpu.json] [--parts tests,memory,sweep,lanes] [--device cuda|cpu] [--tiny] [--local]

tests: those that are marked `gpu`. memory: what arrays take, against its estimates (`benchmarks.gpu_memory`). sweep: a
small one from Enter to table, through Ray, of whose cohorts two share the card. lanes: `benchmarks.lanes`, our array
against one process of stock, the same as a CUDA graph, and 16 that share the card. Each part is a process of its own
with a limit in seconds; one that fails, hangs or dies takes no other with it. All that is found goes into a JSON file,
rewritten after every part, and a Markdown table is printed. Ends with 1 where a part failed. Needs no network.

`--device cpu --tiny` checks this program itself where there is no GPU; --local: the sweep goes without Ray.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import PARTS, Check, Part, PartError, Results
from benchmarks.machine import ROOT, commit, compiler_name, cores
from gan_core.config.input_error import InputError, nearest
from gan_core.config.version import code_version
from gan_core.native.arithmetic import processor_name
from gan_core.native.isa import this_isa

BUDGET_SECONDS = 460.0  # of all parts together, in less than eight minutes
FEWEST_SECONDS = 5.0  # left, for a part to be begun
GRACE_SECONDS = 8.0  # for a part that is asked to end, before it is killed
ERROR_LINES = 12  # of its output that tell why a part failed


@dataclass(frozen=True)
class Found:
    """What a part said. error: one that ended it, or what is wrong with its results; output: of its process."""

    seconds: float
    error: str | None
    results: Results | None
    output: str


def run_part(part: Part, check: Check, left_seconds: float) -> Found:
    """The part in a process of its own. left_seconds: of the budget."""
    limit = min(part.limit_seconds, left_seconds)
    if limit < FEWEST_SECONDS:
        return Found(0.0, "not begun: the others took all the time", None, "")
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as name:
        folder, begun = Path(name), time.monotonic()
        error = run_command(part.command(check, folder), check.device, limit, folder / "output.txt")
        output = (folder / "output.txt").read_text(errors="replace")
        try:
            results = part.read(check, folder)
        except PartError as wrong:
            results, error = wrong.results, error or str(wrong)
        if results is None:
            error = error or "it left no results"
    if error is not None:
        error = "\n".join([error, *output.strip().splitlines()[-ERROR_LINES:]])
    return Found(round(time.monotonic() - begun, 1), error, results, output)


def run_command(arguments: list[str], device: str, limit_seconds: float, output: Path) -> str | None:
    """Runs Python with these arguments, and ends all that it started. Its output goes into a file; where the device is
    the CPU it sees no GPU. Answers how it failed, or None.
    """
    command, environment = [sys.executable, *arguments], {**os.environ}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with output.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            return f"it took longer than {limit_seconds:.0f} s, and was ended"
        finally:
            end(process)
    return None if code == 0 else f"it ended with {code}" if code > 0 else f"it was killed by signal {-code}"


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that is still there, and what it started: Ray and lanes are asked first, and end their own."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def machine(check: Check) -> dict[str, Any]:
    """What the figures are of."""
    isa, on_card = this_isa(), check.device == "cuda"
    packages = ("torch", "ray", "optuna", "numpy", *(("triton",) if on_card else ()))
    return {
        "card": check.card_name or None,
        "card_bytes": check.card_bytes,
        "driver": driver() if on_card else None,
        "capability": list(torch.cuda.get_device_capability()) if on_card else None,
        "processor": processor_name(),
        "cores": cores(),
        "isa": isa.name if isa else None,
        "compiler": compiler_name(),
        "versions": {name: version(name) for name in packages}
        | {"python": platform.python_version(), "cuda": torch.version.cuda, "system": platform.platform()},
        "date": str(datetime.date.today()),
        "commit": commit(),
        "code_version": code_version(),
    }


def driver() -> str | None:
    """The version of NVIDIA's driver; None where its tool is not there to tell."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return None
    return next(iter(done.stdout.split()), None)


def report(where: dict[str, Any], found: dict[str, Found], seconds: float) -> str:
    """All that was found as Markdown, for `benchmarks/RESULTS.md`."""
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items() if number)
    card = f"{where['card']}, driver {where['driver']}, " if where["card"] else "no GPU, "
    lines = [
        f"{where['date']}, commit {where['commit']}, code {where['code_version']}; {card}{where['cores']} cores, "
        f"{where['processor']}; isa {where['isa']}; {where['compiler']}; {versions}",
        *("", f"| part | seconds (in all {seconds:.0f}) | result |", "|---|---|---|"),
    ]
    for name, part in found.items():
        what = f"**failed**: {part.error.splitlines()[0]}; " if part.error else ""
        lines.append(f"| {name} | {part.seconds:.0f} | {what}{summary(name, part.results)} |")
    if results := (found["memory"].results if "memory" in found else None):
        lines += ["", *memory_table(results)]
    if "lanes" in found:
        lines += ["", *(line for line in found["lanes"].output.splitlines() if line.startswith("|"))]
    return "\n".join(lines)


def summary(name: str, results: Results | None) -> str:
    """A part's results in a few words."""
    if results is None:
        return "no results"
    if name == "tests":
        return ", ".join(f"{results[each]} {each}" for each in ("passed", "failures", "errors", "skipped"))
    if name == "sweep":
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in results["outcomes"].items())
        return f"{outcomes}; {results['cohorts_at_once']} of {results['cohorts']} cohorts at once"
    return f"measured: {', '.join(results)}"


def memory_table(results: Results) -> list[str]:
    """Megabytes of each model, and what the estimates are of them."""
    head = "| model | lanes | used MB | reserved MB | estimated by --dry-run | of used | of one call of all | of used |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for model, x in results.items():
        used = max(1, x["used_bytes"])
        numbers = [f"{x[name] / 1e6:.1f}" for name in ("used_bytes", "reserved_bytes")]
        for name in ("dry_run_bytes", "one_call_bytes"):
            numbers += [f"{x[name] / 1e6:.1f}", f"{x[name] / used:.2f}"]
        lines.append(f"| {model} | {x['lanes']} | {' | '.join(numbers)} |")
    return lines


def parsed(arguments: list[str] | None) -> tuple[Check, list[str], Path]:
    """The check, its parts, and the file. Ends the program with one line where what was asked for makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Whether the GPU path is right and how fast."
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON file (default: %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="of these (default: %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="as small as can be: checks the program, measures nothing")
    parser.add_argument("--local", action="store_true", help="the sweep goes without Ray")
    given = parser.parse_args(arguments)
    try:
        this_isa()
        for name in given.parts.split(","):
            if name not in PARTS:
                raise InputError(f"unknown part {name!r}; {nearest(name, PARTS)}")
        if not given.out.absolute().parent.is_dir():
            raise InputError(f"--out is in a folder that does not exist: {given.out}")
        if given.device == "cuda" and not torch.cuda.is_available():
            raise InputError("torch sees no CUDA device here; --device cpu --tiny checks the program without one")
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    on_card = given.device == "cuda"
    card = torch.cuda.get_device_properties(0) if on_card else None
    known = (card.name, card.total_memory) if card else ("", 0)
    return Check(given.device, given.tiny, given.local, *known), given.parts.split(","), given.out


def main(arguments: list[str] | None = None) -> int:
    check, names, out = parsed(arguments)
    begun, found = time.monotonic(), dict[str, Found]()
    where = machine(check)
    for name in names:
        found[name] = run_part(PARTS[name], check, BUDGET_SECONDS - (time.monotonic() - begun))
        seconds = time.monotonic() - begun
        state = "failed" if found[name].error else "done"
        print(f"{name}: {state} in {found[name].seconds:.0f} s", file=sys.stderr, flush=True)
        text = {"machine": where, "seconds": round(seconds, 1), "parts": {each: asdict(x) for each, x in found.items()}}
        out.write_text(json.dumps(text, indent=1))
    print(report(where, found, time.monotonic() - begun))
    failed = {name: part.error for name, part in found.items() if part.error}
    for name, error in failed.items():
        print(f"\n{name} failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
