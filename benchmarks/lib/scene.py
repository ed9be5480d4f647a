"""A rendered still life: textured spheres on a stone floor, soft shadows, film grain.

::

    pixel -> ray -> nearest sphere or floor -> texture (fractal noise) x light x shadow -> grain
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Each sphere: centre, radius, the two colours of its texture, frequency of the texture.
SPHERES = (
    ((-1.5, 0.8, 4.6), 0.8, (0.75, 0.25, 0.12), (0.95, 0.65, 0.25), 3.0),
    ((0.35, 0.6, 3.6), 0.6, (0.15, 0.3, 0.6), (0.8, 0.85, 0.9), 5.0),
    ((1.7, 1.0, 5.4), 1.0, (0.2, 0.4, 0.15), (0.75, 0.8, 0.35), 2.2),
    ((-0.5, 0.3, 2.7), 0.3, (0.5, 0.35, 0.2), (0.9, 0.85, 0.7), 9.0),
    ((1.25, 0.25, 2.9), 0.25, (0.6, 0.1, 0.25), (0.95, 0.6, 0.6), 8.0),
)
LIGHT = np.asarray((-3.0, 5.0, 0.5), np.float32)
LIGHT_RADIUS = 0.8
SHADOW_RAYS = 12
OCTAVES = 5
GRAIN = 0.012
EYE = np.asarray((0.0, 1.1, 0.0), np.float32)


def _lattice(seed: int) -> Floats:
    return np.random.default_rng(seed).random((32, 32, 32), np.float32)


LATTICE = _lattice(7)


def noise(points: Floats) -> Floats:
    """Smooth noise in 0..1 at points [N, 3]."""
    floor = np.floor(points).astype(np.int64)
    part = points - floor
    part = part * part * (3 - 2 * part)
    total = np.zeros(len(points), np.float32)
    for corner in np.ndindex(2, 2, 2):
        index = tuple((floor[:, axis] + corner[axis]) % 32 for axis in range(3))
        weight = np.prod([part[:, a] if corner[a] else 1 - part[:, a] for a in range(3)], axis=0)
        total += weight * LATTICE[index]
    return total


def fractal(points: Floats) -> Floats:
    """Sum of octaves of noise, in 0..1."""
    parts = [noise(points * 2**k) / 2 ** (k + 1) for k in range(OCTAVES)]
    return np.sum(parts, axis=0) / (1 - 0.5**OCTAVES)


def hit(origin: Floats, ray: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distance along rays [N, 3] to the nearest object, and the object's index; -1 is the floor."""
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = -origin[:, 1] / ray[:, 1]
    distance = np.where(floor > 1e-3, floor, np.inf).astype(np.float32)
    number = np.full(len(ray), -1)
    for index, (centre, radius, *_) in enumerate(SPHERES):
        to = origin - np.asarray(centre, np.float32)
        b = (to * ray).sum(1)
        root = b * b - (to * to).sum(1) + radius * radius
        along = -b - np.sqrt(np.maximum(root, 0))
        nearer = (root > 0) & (along > 1e-3) & (along < distance)
        distance = np.where(nearer, along, distance)
        number = np.where(nearer, index, number)
    return distance, number


def _surface(point: Floats, number: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Colours and normals of points [N, 3]."""
    stone = fractal(point * 1.3)[:, None]
    grout = np.minimum(point[:, ::2] % 1.4, 1).min(1)[:, None] < 0.05
    colour = np.where(grout, 0.18, 0.3 + 0.45 * stone * np.asarray((1.0, 0.93, 0.85)))
    normal = np.tile(np.asarray((0.0, 1.0, 0.0), np.float32), (len(point), 1))
    for index, (centre, radius, dark, bright, frequency) in enumerate(SPHERES):
        own = number == index
        local = point[own] - np.asarray(centre, np.float32)
        marble = 0.5 + 0.5 * np.sin(6 * local[:, 1] * frequency + 9 * fractal(local * frequency))
        mix = np.clip(0.75 * marble + 0.5 * fractal(local * 4 * frequency) - 0.2, 0, 1)[:, None]
        colour[own] = (1 - mix) * np.asarray(dark) + mix * np.asarray(bright)
        normal[own] = local / radius
    return colour.astype(np.float32), normal


def _lit(point: Floats, random: np.random.Generator) -> Floats:
    """Share of a disc-shaped light that is visible from points [N, 3]."""
    seen = np.zeros(len(point), np.float32)
    for _ in range(SHADOW_RAYS):
        offset = random.normal(size=(len(point), 3)).astype(np.float32)
        offset *= LIGHT_RADIUS / np.linalg.norm(offset, axis=1, keepdims=True)
        way = LIGHT + offset - point
        length = np.linalg.norm(way, axis=1, keepdims=True)
        distance, _ = hit(point + 1e-3 * way / length, way / length)
        seen += distance > length[:, 0]
    return seen / SHADOW_RAYS


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """Render the still life: uint8 [height, width, 3]."""
    random = np.random.default_rng(1)
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    ray = np.stack(
        [(right / width - 0.5) * 1.2, (0.42 - down / height) * 0.9, np.ones_like(down)], -1
    )
    ray = ray.reshape(-1, 3)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    origin = np.tile(EYE, (len(ray), 1))
    distance, number = hit(origin, ray)
    sky = ~np.isfinite(distance)
    point = origin + np.where(sky, 0, distance)[:, None] * ray
    colour, normal = _surface(point, number)
    way = LIGHT - point
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    direct = np.clip((normal * way).sum(1), 0, 1) * _lit(point + 1e-3 * normal, random)
    half = way - ray
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.where(number >= 0, np.clip((normal * half).sum(1), 0, 1) ** 60, 0) * (direct > 0)
    shade = colour * (0.3 + 0.95 * direct)[:, None] + 0.5 * shine[:, None]
    haze = 1 - np.exp(-0.06 * np.where(sky, 0, distance))[:, None]
    clouds = fractal(ray * np.asarray((4, 9, 4), np.float32))[:, None]
    heaven = np.asarray((0.45, 0.6, 0.8)) * (1 - clouds) + 0.95 * clouds
    result = np.where(sky[:, None], heaven, shade * (1 - haze) + 0.7 * haze)
    result = np.clip(result, 0, 1) ** (1 / 1.6) + GRAIN * random.normal(size=result.shape)
    return (255 * np.clip(result, 0, 1)).astype(np.uint8).reshape(height, width, 3)
