"""The training core: trains and judges L GANs at once. Knows torch, and no sweep."""
