"""Networks as a person brings them, plain PyTorch in the form of tutorials: with the shapes of the `mlp` and `dcgan`
families, which the stock loop trains too.

N rows of a batch.
"""

import math

from torch import Tensor, nn


class MlpGenerator(nn.Module):
    """Latents [N, latent_size] -> images [N, C, H, W]."""

    def __init__(self, width: int = 256, latent_size: int = 100, image_shape: tuple[int, ...] = (1, 28, 28)) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.model = nn.Sequential(
            nn.Linear(latent_size, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, math.prod(image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z).view(len(z), *self.image_shape)


class MlpDiscriminator(nn.Module):
    """Images [N, C, H, W] -> probabilities [N, 1]."""

    def __init__(self, width: int = 256, image_shape: tuple[int, ...] = (1, 28, 28)) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(math.prod(image_shape), width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(width, 1),
            nn.Sigmoid(),
        )

    def forward(self, img: Tensor) -> Tensor:
        return self.model(img.view(len(img), -1))


class DcganGenerator(nn.Module):
    """Latents [N, latent_size, 1, 1] -> images [N, 1, 28, 28]."""

    def __init__(self, ngf: int = 16, latent_size: int = 100) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent_size, ngf * 2, 7, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input)


class DcganDiscriminator(nn.Module):
    """Images [N, 1, 28, 28] -> probabilities [N, 1, 1, 1]."""

    def __init__(self, ndf: int = 16) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 7, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.main(input)
