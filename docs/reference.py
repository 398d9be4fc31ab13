"""The tables of the documentation that are generated from the code, put in while MkDocs reads a page.

A line `<!-- table: NAME -->` of a page becomes the table of that name; `python docs/reference.py NAME` prints it. What
a field cannot say of itself stands in the dictionaries below, and a test compares their keys with the code.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # a checkout need not be installed

from gan_core.config.conditions import EXECUTIONS, PRECISIONS, ScoringConfig
from gan_core.config.fields import Hyperparameter, describe
from gan_core.config.gan import HYPERPARAMETERS
from gan_core.config.health import HealthConfig
from results.rows import OWN
from sweep.commands.cli import COMMANDS, name_of
from sweep.ladder.ladder import RULES
from sweep.ladder.population import PopulationConfig
from sweep.spec.budget import Budget
from sweep.spec.confirmation import ConfirmConfig
from sweep.spec.sampler import OPTIONS as SAMPLERS
from sweep.spec.sweep_spec import SweepSpec
from sweep.spec.tracking import OPTIONS as TRACKERS

MARKER = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
SECTIONS = {
    "population": PopulationConfig,
    "confirm": ConfirmConfig,
    "budget": Budget,
    "scoring": ScoringConfig,
    "health": HealthConfig,
}
KEYS = {  # keys of a sweep's file -> what is allowed, and what they mean
    "name": ("up to 100 characters", "the run's name; its folder is `runs/NAME`"),
    "space": ("a shipped space, a YAML file, or a mapping", "what is searched; see [Search spaces](search-spaces.md)"),
    "trials": ("1 to 999999", "how many configurations are tried; trial 0 is the base of the space"),
    "ladder.rungs_images": (
        "rising whole numbers",
        "training lengths at which trials are judged, in images; a rung is reached or just passed",
    ),
    "ladder.keep_fraction": (
        "above 0, at most 1",
        "share of the trials at a rung that go on, by their best score so far",
    ),
    "ladder.rule": (", ".join(RULES), "how trials are pruned"),
    "ladder.grace_images": ("at least 0", "no trial is pruned before it has seen so many images"),
    "ladder.patience_rungs": ("at least 0", "stop a trial that has not improved for so many rungs; 0: never"),
    "lanes_per_cohort": ("auto, or at least 1", "how many trials one process trains together"),
    "lanes_per_call": ("auto, or at least 1", "how many of them one kernel is called for; `auto` measures it"),
    "precision": (", ".join(PRECISIONS), "of matrix products; see [Speed](speed.md)"),
    "execution": (", ".join(EXECUTIONS), "how training steps are carried out; see [Speed](speed.md)"),
    "objective": ("a score, or a list", "what is minimised; see [Objectives](search.md#objectives)"),
    "sampler": (
        "; ".join(f"{name} ({', '.join(options)})" if options else name for name, options in SAMPLERS.items()),
        "a name, or a mapping of `name` and these options; see [Samplers](search.md#samplers)",
    ),
    "enqueue": ("a list of mappings", "known configurations, tried after trial 0; what is not named is the base's"),
    "population": ("null or a mapping", "population-based training; see [Populations](search.md#populations)"),
    "population.perturb": ("one factor below 1, one above", "what a lane parameter is multiplied by"),
    "keep_checkpoints": ("0 to 1000000", "for how many ended trials the generator and the last state are kept"),
    "checkpoint_minutes": ("0 to 1e6", "between two checkpoints on the way to a rung; 0: at rungs alone"),
    "tracking": (
        "; ".join(f"{name} ({', '.join(options)})" if options else name for name, options in TRACKERS.items()),
        "where rows are sent beside the table; see [Watching a sweep](watching.md)",
    ),
    "seed": ("at least 0", "of the sampler, and with a trial's number of each trial"),
    "data_root": ("a folder", "where data sets lie that are read from disk"),
    "skip_corrupt_images": ("true, false", "leave out pictures that cannot be read, instead of refusing the folder"),
    "resources.gpus_per_cohort": ("auto, or at least 0", "`auto`: one GPU where there are any; fractions share one"),
    "resources.cpus_per_cohort": ("above 0", "CPU cores that Ray reserves for a cohort"),
    "resources.memory_gb": ("0 to 1e6", "host memory that Ray reserves for a cohort, in 10^9 bytes; 0: none"),
    "resources.labels": (
        "a mapping of labels to values",
        "what its node must be, such as `{ray.io/accelerator-type: H100}`; see [Clusters](clusters.md#mixed-machines)",
    ),
    "resources.custom": ("a mapping of names to numbers", "of resources that `ray start --resources` names"),
    "resources.wait_for": (
        "a mapping of cpus, gpus, minutes",
        "what a cluster will have whose nodes come later; see [Clusters](clusters.md)",
    ),
}
COLUMNS = {  # columns of the table -> what they hold
    "trial": "the trial's number, from 0",
    "cohort": "the number of the cohort that it was trained in",
    "lane": "its place in the array",
    "rung": "the rung's number, from 0",
    "images_seen": "real images that its discriminator has seen",
    "outcome": "`running`: it goes on to the next rung; otherwise how it ended",
    "reason": "why it ended or went on",
    "d_loss": "the discriminator's loss, a mean since the rung before",
    "g_loss": "the generator's loss, a mean since the rung before",
    "score": "the objective at this rung, as it is minimised (of `-coverage` the negative); of several, the first",
    "best_score": "that of its best rung so far: the lowest of those that keep the limits",
    "seconds": "the trial's share of training and scoring since the rung before",
    "device": "`cpu` or the GPU's name, how steps were carried out, and trials a kernel was called for",
    "objective": "what is minimised",
    "protocol": "how the scores were computed; only rows of one protocol are compared",
    "data_digest": "of the data set",
    "code_version": "version of the package and hash of the training core",
    "execution": "how steps were carried out: compiled, replayed, eager or cuda graph",
    "isa": "instruction set of what was computed in C",
    "compiler": "compiler of what was computed in C",
    "processor": "the GPU's name, or the CPU's with the instruction set of torch's kernels",
    "versions": "of packages, where the trial was trained",
    "node": "the machine that trained the trial: its host name, or its name in Ray where hosts share one",
    "features_digest": "of the weights of the classifier that images were compared in",
    "examination": "`passed`, or `failed: ` and what the scores cannot see",
    "limits_broken": "limits that its scores break, if any: class_balance, coverage; see [Limits](scores.md#limits)",
    "signs": "signs of trouble; see [Health](health.md)",
    "replicate": "0 in the search; from 1, the same trial trained again from another seed",
    "elapsed_seconds": "wall time since the sweep began, without pauses",
    "parent": "in a population, the trial whose state was taken over after this rung",
}
ERROR = "standard error of {}: what other latents would change"
SCORES = {  # scores, without `fidelity.` -> what they are
    "fidelity": "the distance less its floor; 0: as good as real samples",
    "fidelity_error": ERROR.format("`fidelity`"),
    "class_balance_violation": "by how much the balance of the classes breaks its limit; 0: it does not",
    "coverage_violation": "the same of the coverage",
    "violation": "how far off samples are that break a limit, by which they are ranked: both, and `fidelity` as a "
    "share of what one repeated sample has; 0: none is broken",
    "violation_error": ERROR.format("`violation`"),
    "fid": "Fréchet distance of features",
    "fid_error": ERROR.format("`fid`"),
    "fid_floor": "what real samples of these numbers would have, in closed form",
    "kid": "kernel distance of features, unbiased",
    "kid_error": "its standard error, the noise of the real samples included",
    "kid_latent_error": ERROR.format("`kid`"),
    "precision": "share of samples that lie among real ones",
    "precision_real": "what real images have",
    "recall": "share of real images that lie among samples",
    "recall_real": "what real images have",
    "density": "how many real neighbourhoods a sample lies in; 1 for real images",
    "coverage": "share of real images with a sample in their neighbourhood",
    "coverage_floor": "what real samples are expected to have",
    "memorisation": "how often a sample is nearer to the training split than a held-out image is; 1/2: no copying",
    "memorisation_error": "its standard error without copying",
    "class_kl": "KL divergence of the drawn classes from the real ones, in nats",
    "class_kl_error": ERROR.format("`class_kl`"),
    "class_kl_floor": "what real samples are expected to have",
    "classes": "classes of the data set",
    "classes_covered": "classes with at least a tenth of their real share of the samples",
    "class_accuracy": "conditional models: share of samples of the class that was asked for",
    "class_accuracy_N": "the same for class N",
    "code_agreement": "InfoGAN: share of samples whose class follows from the categorical code, matched one to one",
    "triangle_precision": "share of samples that are triangles",
    "triangle_recall": "share of real triangles that are near a sample",
    "triangle_recall_floor": "what real samples are expected to have",
    "triangle_distance": "mean distance of samples to a true triangle",
    "triangle_distance_error": ERROR.format("`triangle_distance`"),
    "wasserstein": "Wasserstein-1 distance to the exact distribution",
    "wasserstein_error": ERROR.format("`wasserstein`"),
    "wasserstein_floor": "what exact samples would have",
    "energy": "squared energy distance, unbiased",
    "energy_error": "its standard error, the noise of the real samples included",
    "energy_latent_error": ERROR.format("`energy`"),
    "mean_error": "absolute difference of the means",
    "mean_error_error": ERROR.format("`mean_error`"),
    "deviation_error": "absolute difference of the standard deviations",
    "deviation_error_error": ERROR.format("`deviation_error`"),
    "modes": "modes of the distribution",
    "modes_covered": "modes that samples are found near",
    "high_quality_share": "share of samples near a mode",
    "mode_jsd": "Jensen-Shannon divergence of the drawn modes from the real ones",
    "mode_jsd_error": ERROR.format("`mode_jsd`"),
}
HEALTH = {  # what is watched, without `health.` -> what it is
    "discriminator_accuracy": "share of real samples that D puts above a generated one; 1/2 is chance",
    "d_loss_deviation": "standard deviation of D's loss over its steps",
    "d_gradient": "Euclidean norm of D's gradient",
    "g_gradient": "Euclidean norm of G's gradient",
    "sample_deviation": "how much samples vary, as a share of how much real ones do",
    "penalty": "gradient penalty, before its weight",
    "d_information": "InfoGAN's information term in D, before its weight",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)


def allowed(known: Hyperparameter) -> str:
    """The values that a field may have, in words."""
    if known.choices:
        return ", ".join(known.choices)
    if known.kind is str:
        return "text"
    kind = "a whole number" if known.kind is int else "a number"
    low = "" if known.low == -math.inf else f"at least {number(known.low)}"
    high = f"below {number(known.below)}" if known.below < math.inf else f"at most {number(known.high)}"
    return ", ".join(part for part in (kind, low, high) if part and not part.endswith(("inf", f"{2**63 - 1:,}")))


def number(value: float) -> str:
    """Written plainly: `0.0002`, `50,000`, `1e-06`."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def shown(value: Any) -> str:
    """A default as YAML would have it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    written = {None: "null", True: "true", False: "false", "": '""'}
    return written[value] if value is None or isinstance(value, bool) or value == "" else str(value)


def spec_rows() -> list[tuple[str, str, str, str]]:
    """Key, default, allowed values and meaning of every key of a sweep's file, in the order in which it is written."""
    plain = {**SweepSpec().plain(), "space": "digits"}
    rows = []
    for key, value in plain.items():
        if key in KEYS:
            rows.append((key, shown(value), *KEYS[key]))
        known = describe(SECTIONS[key]) if key in SECTIONS else {}
        for name, field in known.items():
            rows.append((f"{key}.{name}", shown(field.default), allowed(field), field.says))
        inner = [name for name in KEYS if name.startswith(f"{key}.")]
        defaults = value if isinstance(value, Mapping) else {"perturb": PopulationConfig().perturb}
        rows += [(name, shown(defaults[name.partition(".")[2]]), *KEYS[name]) for name in inner]
    return rows


def spec() -> str:
    """The keys of a sweep's file."""
    rows = [(f"`{key}`", f"`{default}`", *rest) for key, default, *rest in spec_rows()]
    return table(("key", "default", "allowed", "meaning"), rows)


def hyperparameters(group: str) -> str:
    """The hyperparameters of `structure` or of `lane`."""
    rows = [
        (f"`{name}`", f"`{shown(known.default)}`", allowed(known), known.says)
        for name, known in HYPERPARAMETERS.items()
        if name.startswith(f"{group}.")
    ]
    return table(("hyperparameter", "default", "allowed", "meaning"), rows)


def columns() -> str:
    """The columns of a table that are fields of a row."""
    return table(("column", "values", "meaning"), ((f"`{name}`", OWN[name].says, COLUMNS[name]) for name in OWN))


def named(group: str, meanings: Mapping[str, str]) -> str:
    """The columns of a group."""
    return table(("column", "meaning"), ((f"`{group}.{name}`", said) for name, said in meanings.items()))


def parser_of(module: Any) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser = argparse.ArgumentParser(f"gan-sweep {name_of(module)}", description=module.ABOUT)
    module.add_arguments(parser)
    return parser


def commands() -> str:
    """The help texts of all commands."""
    helps = {name_of(module): parser_of(module).format_help().strip() for module in COMMANDS}
    return "\n\n".join(f"## {name}\n\n```text\n{said}\n```" for name, said in helps.items())


TABLES: dict[str, Callable[[], str]] = {
    "spec": spec,
    "structure": lambda: hyperparameters("structure"),
    "lane": lambda: hyperparameters("lane"),
    "columns": columns,
    "scores": lambda: named("fidelity", SCORES),
    "health": lambda: named("health", HEALTH),
    "commands": commands,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What MkDocs calls with the text of each page. Raises KeyError for a table that there is not."""
    return MARKER.sub(lambda found: TABLES[found[1]](), markdown)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TABLES:
        sys.exit(f"usage: python docs/reference.py {'|'.join(TABLES)}")
    print(TABLES[sys.argv[1]]())
