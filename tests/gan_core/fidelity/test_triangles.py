"""Triangles with a known distribution: drawn as published, recovered from images, and told from other shapes."""

import hashlib
import math
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from events import LONGEST_SECONDS, lock_wanted
from filelock import FileLock
from safetensors.numpy import load_file, save_file
from scipy.ndimage import gaussian_filter
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

import gan_core.data.polygons as polygons
from gan_core.data.polygons import (
    RADIUS_PIXELS,
    ROTATION,
    SEGMENT_ENDS,
    SEGMENT_STARTS,
    polygon_images,
    polygon_vertices,
    rasterise,
    triangle_vertices,
)
from gan_core.fidelity.triangles import (
    DELTA,
    NEIGHBOURS,
    TriangleReference,
    fit_triangles,
    recall_ceiling,
    triangle_reference,
    triangle_scores,
)

HELD_OUT = 1000
SAMPLES = 1000


def as_samples(images: np.ndarray) -> Tensor:
    """Converts uint8 [n, 28, 28] to float64 [n, 1, 28, 28] in [-1, 1], as in training."""
    return torch.from_numpy(images).double().unsqueeze(1) / 127.5 - 1


def drawn(count: int, seed: int) -> Tensor:
    return as_samples(rasterise(polygon_vertices(count, seed)))


def angles_of(vertices: np.ndarray) -> np.ndarray:
    """The angles of the corners, in [0, 2 pi), on the circle through them, whose centre is equally far from all."""
    edges = vertices[:, 1:] - vertices[:, :1]
    from_first = np.linalg.solve(2 * edges, (edges**2).sum(2)[..., None])[:, None, :, 0]
    spokes = vertices - vertices[:, :1] - from_first
    np.testing.assert_allclose(np.hypot(spokes[..., 0], spokes[..., 1]), RADIUS_PIXELS, rtol=1e-9)
    return np.arctan2(spokes[..., 1], spokes[..., 0]) % (2 * np.pi)


def regular(corners: int, radii: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Regular polygons around the centre of the image: [n, corners, 2]."""
    angles = turns[:, None] + 2 * np.pi * np.arange(corners) / corners
    return 14 + radii[:, None, None] * np.stack((np.cos(angles), np.sin(angles)), -1)


@pytest.fixture(scope="module")
def reference() -> TriangleReference:
    return triangle_reference(drawn(HELD_OUT, seed=1))


@pytest.fixture(scope="module")
def real() -> Tensor:
    return drawn(SAMPLES, seed=2)


def scores(samples: Tensor, reference: TriangleReference) -> tuple[float, float, float]:
    found = triangle_scores(samples.unsqueeze(0), reference)
    return found.precision.item(), found.recall.item(), found.distance.item()


def test_corners_lie_on_the_circle_each_in_its_segment_with_their_mean_at_the_centre():
    vertices = polygon_vertices(5000, seed=3)
    assert vertices.dtype == np.float64
    assert vertices.shape == (5000, 3, 2)
    np.testing.assert_allclose(vertices.mean(1), 14, atol=1e-12)
    degrees = np.degrees(angles_of(vertices))
    lows, highs = degrees.min(0), degrees.max(0)
    assert ((lows >= [10 - 2 * np.pi, 130 - 2 * np.pi, 250 - 2 * np.pi]) & (highs <= [120, 240, 360])).all()
    assert ((lows <= [5, 125, 245]) & (highs >= [119, 239, 359])).all()


def test_the_area_is_on_average_what_uniform_angles_give_on_paper_in_corners_and_in_pixels():
    vertices = polygon_vertices(4000)
    edges = vertices[:, 1:] - vertices[:, :1]
    areas = np.linalg.det(edges) / 2
    # The mean of exp(i U) over 110 degrees has length sin(55 degrees) / radians(55); segments lie 120 degrees apart.
    length = math.sin(math.radians(55)) / math.radians(55)
    expected = 1.5 * RADIUS_PIXELS**2 * length**2 * math.sin(math.radians(120))
    assert abs(areas.mean() - expected) < 4 * areas.std() / math.sqrt(4000)
    inks = (1 - rasterise(vertices[:500]) / 255).sum((1, 2))
    np.testing.assert_allclose(inks, areas[:500], atol=0.7)
    assert abs((inks - areas[:500]).mean()) < 0.05


def test_more_triangles_of_a_seed_begin_with_the_same_ones_and_other_seeds_give_others():
    assert np.array_equal(polygon_vertices(7), polygon_vertices(20)[:7])
    assert not np.isclose(polygon_vertices(7, seed=0), polygon_vertices(7, seed=1)).all(axis=(1, 2)).any()


@pytest.mark.parametrize("corners", [3, 4, 7])
def test_a_pixel_counts_its_64_points_inside_every_half_plane(corners):
    source = np.random.default_rng(corners)
    turns = np.sort(source.random((24, corners)) * 2 * np.pi)
    vertices = 14 + source.uniform(1, 16, (24, 1, 1)) * np.stack((np.cos(turns), np.sin(turns)), -1)
    vertices += source.uniform(-4, 4, (24, 1, 2))  # some reach over the border
    row, column = np.meshgrid(*[(np.arange(28 * 8) - 3) / 8] * 2, indexing="ij")
    inside = np.ones((24, 28 * 8, 28 * 8), bool)
    for i in range(corners):
        (r, c), (next_r, next_c) = vertices[:, i].T, vertices[:, (i + 1) % corners].T
        r, c, next_r, next_c = (x[:, None, None] for x in (r, c, next_r, next_c))
        inside &= (next_r - r) * (column - c) - (next_c - c) * (row - r) >= 0
    counts = inside.reshape(24, 28, 8, 28, 8).sum((2, 4))
    expected = np.floor(255 * (1 - counts / 64) + 0.5)
    assert 0 < counts.sum() < counts.size * 64
    for ordered in (vertices, vertices[:, ::-1], np.roll(vertices, 1, 1)):
        images = rasterise(ordered)
        assert images.dtype == np.uint8
        assert np.array_equal(images, expected)


def test_a_level_edge_bounds_its_polygon():
    square = np.array([[[4.99, 5.99], [4.99, 20.01], [9.01, 20.01], [9.01, 5.99]]])
    ink = 1 - rasterise(square)[0] / 255
    np.testing.assert_allclose(ink.sum(), (9 - 5 + 1 / 8) * (20 - 6 + 1 / 8), rtol=1e-3)
    assert ink[:5].sum() < ink[5].sum()
    assert (ink[10:] == 0).all()
    assert np.array_equal(rasterise(square[:, ::-1]), rasterise(square))


def test_no_polygons_make_no_images():
    assert rasterise(np.empty((0, 3, 2))).shape == (0, 28, 28)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache folder for this test alone, and a data set of 50 triangles."""
    folder = tmp_path / "cache" / "below"
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(folder))
    monkeypatch.setattr(polygons, "POLYGONS", 50)
    return folder


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_the_data_set_is_80_000_triangles_always_the_same_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path))
    images = polygon_images()
    assert images.shape == (80_000, 28, 28)
    assert images.dtype == np.uint8
    assert np.array_equal(images[:100], rasterise(polygon_vertices(100)))
    assert np.array_equal(images[-1:], rasterise(polygon_vertices(80_000)[-1:]))
    assert hashlib.sha256(images.data).hexdigest()[:16] == "bbce6e409d3e102b"
    (path,) = stored(tmp_path)
    assert np.array_equal(load_file(path)["images"], images)


def test_the_second_call_reads_what_the_first_one_stored(cache):
    first = polygon_images()
    (path,) = stored(cache)
    save_file({"images": 255 - first}, path)
    assert np.array_equal(polygon_images(), 255 - first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: save_file({"images": load_file(path)["images"][:1]}, path),
        lambda path: save_file({"images": load_file(path)["images"].astype(np.int16)}, path),
        lambda path: save_file({"other": load_file(path)["images"]}, path),
    ],
    ids=["empty", "truncated", "another shape", "another type", "another name"],
)
def test_a_damaged_file_is_made_anew(cache, damage: Callable[[Path], object]):
    first = polygon_images()
    (path,) = stored(cache)
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    assert np.array_equal(polygon_images(), first)
    assert stored(cache) == [path]
    assert path.read_bytes() == whole


def test_who_waits_for_another_reads_what_the_other_stored(cache, monkeypatch):
    images = 255 - polygon_images()
    (path,) = stored(cache)
    found = []
    wanted = lock_wanted(monkeypatch)
    waiting = threading.Thread(target=lambda: found.append(polygon_images()))
    with FileLock(f"{path}.lock"):
        path.unlink()
        waiting.start()
        assert wanted.wait(LONGEST_SECONDS)
        save_file({"images": images}, path)
    waiting.join(LONGEST_SECONDS)
    assert np.array_equal(found[0], images)


def test_where_the_cache_cannot_be_written_a_temporary_one_serves(cache, tmp_path, monkeypatch):
    first = polygon_images()
    occupied, temporary = tmp_path / "file", tmp_path / "temporary"
    occupied.write_text("")
    temporary.mkdir()
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(occupied / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.warns(UserWarning, match=r"there is no cache folder \(.*file.*\); .*temporary.* is used"):
        assert np.array_equal(polygon_images(), first)
    (folder,) = temporary.iterdir()
    assert [path.name for path in stored(folder)] == [path.name for path in stored(cache)]


def test_a_fit_finds_the_angles_that_were_drawn():
    vertices = polygon_vertices(SAMPLES, seed=4)
    truth = angles_of(vertices)
    angles, distances = fit_triangles(as_samples(rasterise(vertices)))
    assert angles.dtype == distances.dtype == torch.float64
    assert angles.shape == (SAMPLES, 3)
    errors = np.degrees(np.abs(angles.numpy() % (2 * np.pi) - truth).max(1))
    assert np.median(errors) < 0.25
    assert np.quantile(errors, 0.9) < 0.75
    assert distances.quantile(0.99) < 0.3


def test_a_distance_is_that_of_the_image_to_the_triangle_with_the_angles_found():
    images = drawn(20, seed=5) * 0.7
    angles, distances = fit_triangles(images)
    again = as_samples(rasterise(triangle_vertices(angles.numpy())))
    expected = ((images - again) / 2).flatten(1).norm(dim=1)
    np.testing.assert_allclose(distances.numpy(), expected.numpy(), atol=0.02)
    assert float(distances.min()) > 1


def test_a_fit_is_nearly_the_nearest_triangle_there_is():
    noise = torch.from_numpy(np.random.default_rng(6).standard_normal((30, 1, 28, 28)))
    images = drawn(30, seed=6) + 0.2 * noise
    angles, distances = fit_triangles(images)
    steps = np.radians(np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T)
    tried = (angles.numpy()[:, None] + steps).reshape(-1, 3)
    others = as_samples(rasterise(triangle_vertices(tried))).view(30, 27, -1)
    nearest = ((images.view(30, 1, -1) - others) / 2).norm(dim=2).amin(1)
    assert float((distances - nearest).max()) < 0.02
    assert float(distances.min()) > 1


def test_angles_found_are_always_ones_the_recipe_can_draw():
    images = torch.from_numpy(np.random.default_rng(7).uniform(-1, 1, (200, 1, 28, 28)))
    images[:100] = as_samples(rasterise(regular(3, np.full(100, RADIUS_PIXELS), np.linspace(0, 2.1, 100))))
    angles = fit_triangles(images)[0].numpy()
    rotation = (SEGMENT_STARTS - angles).max(1).clip(0)[:, None] - 1e-12
    assert float(rotation.max()) <= ROTATION
    assert (angles + rotation <= SEGMENT_ENDS + 1e-12).all()
    assert len(np.unique(angles.round(3), axis=0)) > 100


def test_real_triangles_are_precise_and_cover_as_many_as_exact_samples_should(real, reference):
    precision, recall, distance = scores(real, reference)
    assert precision >= 0.99
    assert distance < 0.1
    assert recall == pytest.approx(recall_ceiling(SAMPLES, HELD_OUT), abs=0.03)  # four deviations
    few = scores(real[:250], reference)[1]
    assert few == pytest.approx(recall_ceiling(250, HELD_OUT), abs=0.08)
    assert few < recall - 0.2


def test_the_recall_of_exact_samples_is_naeems_formula_in_any_distribution():
    source = np.random.default_rng(8)
    covered = []
    for _ in range(400):
        held_out, samples = source.standard_normal((60, 2)), source.standard_normal((40, 2))
        apart = np.sort(np.linalg.norm(held_out[:, None] - held_out, axis=2), 1)[:, NEIGHBOURS]
        covered.append((np.linalg.norm(held_out[:, None] - samples, axis=2).min(1) < apart).mean())
    assert recall_ceiling(40, 60) == pytest.approx(float(np.mean(covered)), abs=4 * float(np.std(covered)) / 20)
    assert recall_ceiling(1, 6) == pytest.approx(5 / 6)  # one sample, not the farthest of six
    assert recall_ceiling(2000, 2000) == pytest.approx(1 - 0.5**5, abs=1e-3)


def test_other_shapes_are_not_triangles(reference):
    source = np.random.default_rng(9)
    radii, turns = source.uniform(3, 12, 100), source.uniform(0, 2, 100)
    two = torch.minimum(drawn(100, seed=10), drawn(100, seed=11))
    images = {
        "circles": as_samples(rasterise(regular(40, radii, turns))),
        "squares": as_samples(rasterise(regular(4, radii, turns))),
        "noise": torch.from_numpy(source.uniform(-1, 1, (100, 1, 28, 28))),
        "white": torch.ones(2, 1, 28, 28),
        "black": -torch.ones(2, 1, 28, 28),
    }
    assert {name: scores(shape, reference)[:2] for name, shape in images.items()} == dict.fromkeys(images, (0.0, 0.0))
    assert scores(two, reference)[0] < 0.05


def test_triangles_that_the_recipe_does_not_draw_are_not_accepted(reference):
    vertices = polygon_vertices(200, seed=12)
    moved = {
        "shifted": vertices + [0.5, 0],
        "smaller": 14 + 0.8 * (vertices - 14),
        "turned": 14 + (vertices - 14) @ np.array([[0.5, -(0.75**0.5)], [0.75**0.5, 0.5]]),
    }
    precision = {name: scores(as_samples(rasterise(corners)), reference)[0] for name, corners in moved.items()}
    assert precision["shifted"] == 0
    assert precision["smaller"] == 0
    assert precision["turned"] < 0.4  # by 60 degrees: some are triangles of the recipe again


def test_the_more_a_triangle_is_blurred_the_farther_it_is(real, reference):
    found = [
        scores(torch.from_numpy(gaussian_filter(real[:200].numpy(), (0, 0, blur, blur), mode="nearest")), reference)
        for blur in (0.4, 0.5, 0.8)
    ]
    (precise, _, near), (some, _, middle), (none, recall, far) = found
    assert near < middle < far
    assert precise >= 0.99
    assert precise > some + 0.5
    assert (none, recall) == (0, 0)


def test_noise_counts_by_its_length_over_all_pixels(real, reference):
    noise = torch.from_numpy(np.random.default_rng(13).standard_normal((300, 1, 28, 28)))
    quiet, loud = (scores(real[:300] + 2 * size / 28 * noise, reference) for size in (0.6, 0.9))
    assert quiet[0] >= 0.99
    assert loud[0] == 0
    assert quiet[2] == pytest.approx(0.6, rel=0.05)
    assert loud[2] == pytest.approx(0.9, rel=0.05)


def test_one_triangle_many_times_is_precise_and_covers_nothing(real, reference):
    precision, recall, _ = scores(real[:1].expand(200, -1, -1, -1), reference)
    assert precision == 1
    assert recall <= 3 * NEIGHBOURS / HELD_OUT


def test_triangles_of_half_the_recipe_cover_little_more_than_half(reference):
    pool = drawn(2 * SAMPLES, seed=14)
    ink = -pool.mean((1, 2, 3))
    first = fit_triangles(pool)[0][:, 0]
    for half in (ink <= ink.median(), first <= first.median()):
        precision, recall, _ = scores(pool[half][:SAMPLES], reference)
        assert precision >= 0.99
        assert 0.5 < recall < 0.7


def test_a_wider_delta_accepts_more(real, reference):
    blurred = torch.from_numpy(gaussian_filter(real.numpy(), (0, 0, 1, 1), mode="nearest"))[None, :200]
    found = [triangle_scores(blurred, reference, delta) for delta in (DELTA, 2.3, 3.0)]
    assert [score.precision.item() for score in found] == sorted({score.precision.item() for score in found})
    assert found[2].precision.item() == 1
    assert found[2].recall.item() > 0.4
    assert len({score.distance.item() for score in found}) == 1


def test_a_lane_scores_as_it_does_alone_beside_others_and_beside_one_of_nan(real, reference):
    one, other = real[:150], (real[150:300] * 0.97).float().double()
    broken = real[:150].clone()
    broken[7, 0, 3, 3] = math.nan
    found = triangle_scores(torch.stack((one, broken, other)), reference)
    assert found.precision.dtype == found.recall.dtype == found.distance.dtype == torch.float64
    for lane, samples in ((0, one), (2, other)):
        alone = vars(triangle_scores(samples.unsqueeze(0), reference))
        assert {name: x.item() for name, x in alone.items()} == {
            name: x[lane].item() for name, x in vars(found).items()
        }
    assert all(x[1].isnan() for x in vars(found).values())
    assert found.distance[0] != found.distance[2]


def test_values_far_out_of_range_count_in_the_distance_and_do_not_move_the_fit(real, reference):
    wild = torch.where(real[:10] == 1, 1e30, real[:10])
    assert torch.equal(fit_triangles(wild)[0], fit_triangles(real[:10])[0])
    precision, recall, distance = scores(wild.float(), reference)
    assert (precision, recall) == (0, 0)
    assert distance == pytest.approx(5e29 * float((real[:10] == 1).sum((1, 2, 3)).double().sqrt().quantile(0.5)))


def test_recall_is_the_share_of_held_out_angles_with_a_sample_nearer_than_their_fifth_neighbour(real):
    held_out = drawn(200, seed=1).float()
    samples = torch.cat((real[:60], torch.ones(40, 1, 28, 28))).float()
    found = triangle_scores(samples.unsqueeze(0), triangle_reference(held_out))
    mine, theirs = fit_triangles(samples[:60])[0].numpy(), fit_triangles(held_out)[0].numpy()
    fifth = NearestNeighbors(n_neighbors=5).fit(theirs).kneighbors()[0][:, -1]
    nearest = NearestNeighbors(n_neighbors=1).fit(mine).kneighbors(theirs)[0][:, 0]
    assert found.precision.tolist() == [0.6]
    assert found.recall.tolist() == [(nearest < fifth).mean()]
    np.testing.assert_allclose(triangle_reference(held_out).radii.numpy(), fifth, rtol=1e-9)


def test_a_reference_of_anything_but_enough_triangles_is_refused(real):
    with pytest.raises(ValueError, match="more than 5 triangles, got 5"):
        triangle_reference(real[:5])
    with pytest.raises(ValueError, match="but 10% are not"):
        triangle_reference(torch.cat((real[:90], torch.ones(10, 1, 28, 28))))
