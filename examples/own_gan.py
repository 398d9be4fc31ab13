"""A generator and a discriminator of one's own, as in any tutorial: `gan-sweep run examples/own_gan.yaml`."""

import math

from torch import Tensor, nn


class Generator(nn.Module):
    def __init__(self, width: int = 128, latent_size: int = 100, image_shape: tuple[int, ...] = (1, 28, 28)) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(latent_size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, math.prod(image_shape)), nn.Tanh(), nn.Unflatten(1, image_shape)),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self, width: int = 128, slope: float = 0.2, image_shape: tuple[int, ...] = (1, 28, 28)) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Flatten(), nn.Linear(math.prod(image_shape), width), nn.LeakyReLU(slope)),
            *(nn.Linear(width, width), nn.LeakyReLU(slope), nn.Linear(width, 1), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
