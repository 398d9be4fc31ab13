"""Captions for pictures of two digits: a training script of one's own, which `captioning.yaml` sweeps.

    pip install "gan-sweep[captioning]"
    gan-sweep run examples/captioning.yaml

A vision encoder reads a picture, and a text decoder writes "a three beside a seven", or "two threes" where both digits
are the same. Both are small models of `transformers`, made from configurations, so nothing is downloaded. A sweep needs
no more of this file than the class `Trainer`, and nothing of gan-sweep is imported.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, logging

logging.set_verbosity_error()  # it warns of padding, which the loss ignores

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PLURALS = [f"{name}es" if name == "six" else f"{name}s" for name in NAMES]
WORDS = ["<pad>", "<end>", "<begin>", "a", "an", "beside", *NAMES, *PLURALS]
PAD, END, BEGIN = 0, 1, 2
LONGEST = 6  # words: "a three beside a seven" and its end
BATCH, NOISE, HELD_OUT = 64, 0.3, 500
Caption = list[str]


class Trainer:
    """Trains one captioning model. config: `learning_rate`, `width`, `layers`, `beams` (1: greedy) and `seed`.

    All that is random here is drawn from torch's global generator. A sweep seeds it in every call, by the trial's seed
    and the pictures seen, so that a stopped trial goes on as if it had not been stopped.
    """

    def __init__(self, config: Mapping[str, Any], device: torch.device) -> None:
        self.config, self.device, self.seen = config, device, 0
        self.model = captioning_model(config["width"], config["layers"]).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config["learning_rate"])
        self.digits, self.held_out = data()

    def train_to(self, images: int) -> dict[str, float]:
        """Trains until `images` pictures have been seen in all, and reports. The score, of which less is better, is the
        share of held-out pictures whose caption has any mistake; the other numbers are columns of the table.
        """
        self.model.train()
        losses = []
        while self.seen < images:
            pictures, captions = pairs(*self.digits, BATCH, NOISE)
            loss = self.model(pixel_values=pictures.to(self.device), labels=tokens(captions).to(self.device)).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.seen += BATCH
            losses.append(loss.item())
        pictures, true = self.held_out
        written = {beams: self.captions(pictures, beams) for beams in {1, 4, self.config["beams"]}}
        wrong = {beams: sum(a != b for a, b in zip(found, true)) / len(true) for beams, found in written.items()}
        return {
            "score": wrong[self.config["beams"]],
            "wrong_greedy": wrong[1],  # the same weights, decoded in two ways: a fair comparison within each trial
            "wrong_4_beams": wrong[4],
            "bleu": bleu(written[self.config["beams"]], true),
            "loss": sum(losses) / max(1, len(losses)),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on: tensors, numbers, texts, and lists and dicts of them."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state, with the learning rate of this configuration, which may be another."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen = state["seen"]
        for group in self.optimizer.param_groups:
            group["lr"] = self.config["learning_rate"]

    def sample(self, count: int) -> list[str]:
        """Captions of held-out pictures, each with the true one where it is wrong."""
        pictures, true = (part[:count] for part in self.held_out)
        written = self.captions(pictures, self.config["beams"])
        shown = {True: "{}", False: "{}   (it shows {})"}
        return [shown[a == b].format(" ".join(a), " ".join(b)) for a, b in zip(written, true)]

    @torch.no_grad()
    def captions(self, pictures: Tensor, beams: int) -> list[Caption]:
        """What the model writes under each picture."""
        self.model.eval()
        found = self.model.generate(pictures.to(self.device), num_beams=beams, do_sample=False, max_length=LONGEST + 1)
        return [[WORDS[number] for number in row if number > BEGIN] for row in found.tolist()]


def captioning_model(width: int, layers: int) -> VisionEncoderDecoderModel:
    """A small encoder and decoder of this width and so many layers each."""
    encoder = ViTConfig(
        image_size=(8, 16), patch_size=(4, 4), num_channels=1,
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=2 * width,
    )  # fmt: skip
    decoder = GPT2Config(
        vocab_size=len(WORDS), n_positions=LONGEST + 1, n_embd=width, n_layer=layers, n_head=4, n_inner=2 * width,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    joint = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    joint.decoder_start_token_id, joint.pad_token_id = BEGIN, PAD
    return VisionEncoderDecoderModel(joint)


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, list[Caption]]]:
    """Digits [N, 1, 8, 8] in [-1, 1] and their labels to train with; pictures of others and their captions. They are
    the same in all trials, so their generator has a seed of its own.
    """
    digits, labels = (torch.tensor(part, dtype=torch.float32) for part in load_digits(return_X_y=True))
    fixed = torch.Generator().manual_seed(0)
    held_out, train = torch.randperm(len(digits), generator=fixed).split([360, len(digits) - 360])
    digits, labels = digits.view(-1, 1, 8, 8) / 8 - 1, labels.long()
    return (digits[train], labels[train]), pairs(digits[held_out], labels[held_out], HELD_OUT, 0.0, fixed)


def pairs(
    digits: Tensor, labels: Tensor, count: int, noise: float, generator: torch.Generator | None = None
) -> tuple[Tensor, list[Caption]]:
    """Pictures [count, 1, 8, 16] of two digits each, with noise of this deviation, and their captions. A fifth of the
    pictures show a digit twice, written by two hands.
    """
    left, right = torch.randint(len(digits), (2, count), generator=generator)
    for place in range(0, count, 5):
        alike = (labels == labels[left[place]]).nonzero()[:, 0]
        right[place] = alike[torch.randint(len(alike), (), generator=generator)]
    pictures = torch.cat([digits[left], digits[right]], dim=3)
    pictures = pictures + noise * torch.randn(pictures.shape, generator=generator)
    return pictures, [caption(int(labels[i]), int(labels[j])) for i, j in zip(left, right)]


def caption(left: int, right: int) -> Caption:
    """The words that describe a picture of these two digits."""
    if left == right:
        return ["two", PLURALS[left]]
    article = {True: "an", False: "a"}
    return [article[left == 8], NAMES[left], "beside", article[right == 8], NAMES[right]]


def tokens(captions: list[Caption]) -> Tensor:
    """[N, LONGEST] of the numbers of words, each caption with its end; -100 after it, which the loss ignores."""
    numbers = [[*map(WORDS.index, words), END] for words in captions]
    return torch.tensor([row + [-100] * (LONGEST - len(row)) for row in numbers])


def bleu(written: list[Caption], true: list[Caption], longest: int = 2) -> float:
    """BLEU of a corpus with one reference each (Papineni et al. 2002, section 2.3), with n-grams of up to `longest`
    words: "two threes" has no longer ones.
    """
    found, total = Counter[int](), Counter[int]()
    for words, reference in zip(written, true):
        for n in range(1, longest + 1):
            ours, theirs = (Counter(zip(*(text[i:] for i in range(n)))) for text in (words, reference))
            found[n] += (ours & theirs).total()
            total[n] += ours.total()
    if not all(found[n] for n in range(1, longest + 1)):
        return 0.0
    brevity = min(0.0, 1 - sum(map(len, true)) / sum(map(len, written)))
    return math.exp(brevity + sum(math.log(found[n] / total[n]) for n in range(1, longest + 1)) / longest)
