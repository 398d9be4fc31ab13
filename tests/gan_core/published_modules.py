"""Pairs of classes as their authors publish them, in plain PyTorch, at the size of 8x8 digits: what a person brings.

The forward and the layers stand as in the sources; only what the sources read from a command line is an argument.
"""

import numpy as np
import torch
from torch import Tensor, nn


# A dense GAN, as in many introductions: nn.Sequential, a sigmoid at the end.
class MlpGenerator(nn.Module):
    def __init__(self, latent_size: int = 100, width: int = 16) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(latent_size, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 64),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # which the loops of the sources reshape


class MlpDiscriminator(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.model(x.view(x.size(0), -1)))


# E. Linder-Noren, PyTorch-GAN, 2018: gan.py.
class BatchNormGenerator(nn.Module):
    def __init__(self, latent_size: int = 100, image_shape: tuple[int, ...] = (1, 8, 8), width: int = 8) -> None:
        super().__init__()
        self.img_shape = image_shape

        def block(in_feat: int, out_feat: int, normalize: bool = True) -> list[nn.Module]:
            layers: list[nn.Module] = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(latent_size, width, normalize=False),
            *block(width, 2 * width),
            *block(2 * width, 4 * width),
            nn.Linear(4 * width, int(np.prod(self.img_shape))),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        img = self.model(z)
        return img.view(img.size(0), *self.img_shape)


class HalvingDiscriminator(nn.Module):
    def __init__(self, image_shape: tuple[int, ...] = (1, 8, 8), width: int = 8) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(int(np.prod(image_shape)), 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(2 * width, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, 1),
            nn.Sigmoid(),
        )

    def forward(self, img: Tensor) -> Tensor:
        img_flat = img.view(img.size(0), -1)
        return self.model(img_flat)


# The same with dropout in G in the place of batch norm.
class DropoutGenerator(nn.Module):
    def __init__(self, latent_size: int = 100, image_shape: tuple[int, ...] = (1, 8, 8), width: int = 8) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.model = nn.Sequential(
            nn.Linear(latent_size, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout(0.25),
            nn.Linear(2 * width, 64),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z).view(z.shape[0], *self.image_shape)


# The same author's cgan.py: an embedding of the labels, batch norm and dropout.
class ConditionalGenerator(nn.Module):
    def __init__(self, n_classes: int = 10, latent_size: int = 100, width: int = 8) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(n_classes, n_classes)

        def block(in_feat: int, out_feat: int, normalize: bool = True) -> list[nn.Module]:
            layers: list[nn.Module] = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(latent_size + n_classes, width, normalize=False),
            *block(width, 2 * width),
            nn.Linear(2 * width, 64),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        gen_input = torch.cat((self.label_emb(labels), noise), -1)
        img = self.model(gen_input)
        return img.view(img.size(0), *(1, 8, 8))


class ConditionalDiscriminator(nn.Module):
    def __init__(self, n_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.label_embedding = nn.Embedding(n_classes, n_classes)
        self.model = nn.Sequential(
            nn.Linear(n_classes + 64, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, width),
            nn.Dropout(0.4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, 1),
        )

    def forward(self, img: Tensor, labels: Tensor) -> Tensor:
        d_in = torch.cat((img.view(img.size(0), -1), self.label_embedding(labels)), -1)
        return self.model(d_in)


# PyTorch's DCGAN tutorial (N. Inkawhich), for images of 8 pixels: latents [N, nz, 1, 1], a sigmoid at the end.
class DcganGenerator(nn.Module):
    def __init__(self, latent_size: int = 100, ngf: int = 4, nc: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent_size, ngf * 2, 2, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input)


class DcganDiscriminator(nn.Module):
    def __init__(self, ndf: int = 4, nc: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 2, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input)


PUBLISHED: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "mlp": (MlpGenerator, MlpDiscriminator),
    "mlp_bn": (BatchNormGenerator, HalvingDiscriminator),
    "mlp_dropout": (DropoutGenerator, HalvingDiscriminator),
    "cgan": (ConditionalGenerator, ConditionalDiscriminator),
    "dcgan": (DcganGenerator, DcganDiscriminator),
}
