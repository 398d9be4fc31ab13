"""A training script of a person's own, which `captioning.yaml` sweeps: captions for pictures of two digits.

A vision encoder reads a picture, a text decoder writes "a three beside a seven", or "two threes" where both digits are
the same. Both are small models of `transformers`, made from configurations, so nothing is downloaded. Nothing of
gan-sweep is imported either: it needs only a class with the methods of `Trainer`.

    pip install "gan-sweep[captioning]"
    gan-sweep run examples/captioning.yaml
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, logging

logging.set_verbosity_error()  # it warns of padding, which the loss ignores

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PLURALS = [f"{name}es" if name == "six" else f"{name}s" for name in NAMES]
WORDS = ["<pad>", "<end>", "<begin>", "a", "an", "beside", *NAMES, *PLURALS]
Caption = list[str]
TOKEN = {word: number for number, word in enumerate(WORDS)}
PAD, END, BEGIN = 0, 1, 2
LONGEST = 6  # "a three beside a seven" and its end
BATCH = 64
MOST_BEAMS = 4
NOISE = 0.3  # on training pictures
HELD_OUT_DIGITS, HELD_OUT_PICTURES = 360, 500


def caption(left: int, right: int) -> Caption:
    """The words that describe a picture of these two digits."""
    if left == right:
        return ["two", PLURALS[left]]
    article = {True: "an", False: "a"}
    return [article[left == 8], NAMES[left], "beside", article[right == 8], NAMES[right]]


def pairs(
    digits: torch.Tensor, labels: torch.Tensor, count: int, generator: torch.Generator, noise: float = NOISE
) -> tuple[torch.Tensor, list[Caption]]:
    """Pictures [count, 1, 8, 16] of two digits each, in [-1, 1] before noise of this deviation is added, and their
    captions. A fifth of the pictures show a digit twice, written by two hands.
    """
    left, right = torch.randint(len(digits), (2, count), generator=generator)
    for place in range(0, count, 5):
        alike = (labels == labels[left[place]]).nonzero()[:, 0]
        right[place] = alike[torch.randint(len(alike), (), generator=generator)]
    pictures = torch.cat([digits[left], digits[right]], dim=3)
    pictures = pictures + noise * torch.randn(pictures.shape, generator=generator)
    return pictures, [caption(int(labels[i]), int(labels[j])) for i, j in zip(left, right, strict=True)]


def tokens(captions: list[Caption]) -> torch.Tensor:
    """[N, LONGEST] of the numbers of words, each caption with its end; -100 after it, which the loss ignores."""
    found = torch.full((len(captions), LONGEST), -100)
    for row, words in enumerate(captions):
        numbers = [TOKEN[word] for word in words] + [END]
        found[row, : len(numbers)] = torch.tensor(numbers)
    return found


def bleu(written: list[Caption], true: list[Caption], longest: int = 2) -> float:
    """BLEU of a corpus with one reference each (Papineni et al. 2002, section 2.3), with n-grams of up to `longest`
    words: "two threes" has no longer ones.
    """
    precisions = []
    for n in range(1, longest + 1):
        found = total = 0
        for words, reference in zip(written, true, strict=True):
            ours, theirs = (Counter(zip(*(text[i:] for i in range(n)), strict=False)) for text in (words, reference))
            found, total = found + (ours & theirs).total(), total + ours.total()
        precisions.append(found / max(total, 1))
    if min(precisions) == 0:
        return 0.0
    lengths = sum(map(len, true)) / sum(map(len, written))
    return math.exp(min(0.0, 1 - lengths) + sum(map(math.log, precisions)) / longest)


class Trainer:
    """Trains one captioning model. config: `learning_rate`, `width`, `layers`, `beams` (1: greedy) and `seed`."""

    def __init__(self, config: Mapping[str, Any], device: torch.device) -> None:
        width, layers = config["width"], config["layers"]
        small = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4}
        encoder = ViTConfig(**small, image_size=(8, 16), patch_size=(4, 4), num_channels=1, intermediate_size=2 * width)
        decoder = GPT2Config(
            vocab_size=len(WORDS), n_positions=LONGEST + 1, n_embd=width, n_layer=layers, n_head=4, n_inner=2 * width,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD,
        )  # fmt: skip
        joint = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        joint.decoder_start_token_id, joint.pad_token_id = BEGIN, PAD
        self.model = VisionEncoderDecoderModel(joint).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config["learning_rate"])
        self.beams, self.device = config["beams"], device
        self.images, self.order = 0, torch.Generator().manual_seed(config["seed"])

        digits, labels = load_digits(return_X_y=True)
        digits = torch.tensor(digits, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
        labels = torch.tensor(labels)
        shuffled = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))  # the same in all trials
        held_out, train = shuffled[:HELD_OUT_DIGITS], shuffled[HELD_OUT_DIGITS:]
        self.digits, self.labels = digits[train], labels[train]
        drawn = torch.Generator().manual_seed(1)
        self.held_out = pairs(digits[held_out], labels[held_out], HELD_OUT_PICTURES, drawn, noise=0.0)

    def train_to(self, images: int) -> dict[str, float]:
        """Trains until `images` pictures have been seen in all, and scores. The score is the share of held-out
        pictures whose caption has any mistake.
        """
        self.model.train()
        losses = []
        while self.images < images:
            pictures, captions = pairs(self.digits, self.labels, BATCH, self.order)
            loss = self.model(pixel_values=pictures.to(self.device), labels=tokens(captions).to(self.device)).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.images += BATCH
            losses.append(loss.item())
        pictures, true = self.held_out
        written = self.captions(pictures, self.beams)
        return {
            "score": wrong(written, true),
            "bleu": bleu(written, true),
            # the same weights, decoded greedily and with beams: a fair comparison within each trial
            "greedy_score": wrong(self.captions(pictures, 1), true),
            "beams_score": wrong(self.captions(pictures, MOST_BEAMS), true),
            "loss": sum(losses) / max(len(losses), 1),
        }

    @torch.no_grad()
    def captions(self, pictures: torch.Tensor, beams: int) -> list[Caption]:
        """The words that the model writes for each picture."""
        self.model.eval()
        found = self.model.generate(pictures.to(self.device), num_beams=beams, do_sample=False, max_length=LONGEST + 1)
        return [[WORDS[number] for number in row if number > BEGIN] for row in found.tolist()]

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "images": self.images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state. The learning rate stays that of this trainer's configuration."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.order.set_state(state["order"])
        self.images = state["images"]

    def sample(self, count: int) -> list[str]:
        """Captions of held-out pictures, each with the true one where it is wrong."""
        pictures, true = (part[:count] for part in self.held_out)
        lines = []
        for words, right in zip(self.captions(pictures, self.beams), true, strict=True):
            lines.append(" ".join(words) + ("" if words == right else f"   (it shows {' '.join(right)})"))
        return lines


def wrong(written: list[Caption], true: list[Caption]) -> float:
    """The share of captions that are not exactly the true ones."""
    return sum(a != b for a, b in zip(written, true, strict=True)) / len(true)
