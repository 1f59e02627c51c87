"""Compiled loops of the search: errors of blocks, and patterns around candidates.

They run in the encoder alone, so their rounding decides nothing that a decoder must repeat. A block of 4 x 4 nodes
moves as one: its place in the reference follows from its middle's (see `halo.bend`), so a candidate costs one cubic
interpolation in rows and one in columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")


@compiled
def _cubic(t, weights):
    """Keys' kernel at -1, 0, 1, 2 for a point at t in [0, 1)."""
    t2 = t * t
    t3 = t2 * t
    weights[0] = -0.5 * t + t2 - 0.5 * t3
    weights[1] = 1.0 - 2.5 * t2 + 1.5 * t3
    weights[2] = 0.5 * t + 2.0 * t2 - 1.5 * t3
    weights[3] = -0.5 * t2 + 0.5 * t3


@compiled
def _sample(plane, y, x, out, rows, wx, wy):
    """The 4 x 4 nodes that begin at (y, x) of an image, [4, 4]."""
    height, width = plane.shape
    y = min(max(y, 1.0), height - 7.0)
    x = min(max(x, 1.0), width - 7.0)
    iy = int(y)
    ix = int(x)
    _cubic(np.float32(x - ix), wx)
    _cubic(np.float32(y - iy), wy)
    for r in range(7):
        line = plane[iy - 1 + r]
        for c in range(4):
            rows[r, c] = (
                wx[0] * line[ix - 1 + c] + wx[1] * line[ix + c] + wx[2] * line[ix + 1 + c] + wx[3] * line[ix + 2 + c]
            )
    for r in range(4):
        for c in range(4):
            out[r, c] = wy[0] * rows[r, c] + wy[1] * rows[r + 1, c] + wy[2] * rows[r + 2, c] + wy[3] * rows[r + 3, c]


@compiled
def _across_crease(c, va, vb, place):
    """Find where a vector leads within its polar face, by way of the sphere; False where it leaves the face.

    Args:
        c: As `halo.bend` has it.
        place: Filled in: x and y in nodes.
    """
    vx = va * c[10] + vb * c[13]
    vy = va * c[11] + vb * c[14]
    vz = va * c[12] + vb * c[15]
    angle = np.sqrt(vx * vx + vy * vy + vz * vz) + 1e-9
    along, across = np.cos(angle), np.sin(angle) / angle
    qx = along * c[7] + across * vx
    qy = along * c[8] + across * vy
    z = along * c[9] + across * vz
    face, nside = int(c[16]), c[17]
    north = face < 4
    lon = np.arctan2(qy, qx) * (2.0 / np.pi)
    if lon < 0.0:
        lon += 4.0
    if (z > 0.0) != north or int(min(lon, 3.9999)) != face % 4:
        return False
    t = lon - face % 4
    if abs(z) * 1.5 > 1.0:
        r = np.sqrt((qx * qx + qy * qy) * 3.0 / (1.0 + abs(z)))
        u, v = (1.0 - (1.0 - t) * r, 1.0 - t * r) if north else (t * r, (1.0 - t) * r)
    else:
        rise = 0.75 * abs(z)
        u, v = (t - 0.5 + rise, 0.5 - t + rise) if north else (t + 0.5 - rise, 1.5 - t - rise)
    place[0] = u * nside - 0.5
    place[1] = v * nside - 0.5
    return True


@compiled
def _moved(planes, bend, f, by, bx, a, b, depth, out, rows, wx, wy):
    """A block of 4 x 4 nodes seen in one reference, its vector in quarter nodes."""
    va = a * 0.25
    vb = b * 0.25
    c = bend[f, by, bx]
    side = c[6]
    after = side + va + vb
    if side < 1e6 and (side * after <= 0.0 or abs(side) < 4.0) and _across_crease(c, va, vb, wx):
        x = wx[0] - c[18] + depth - 1.5
        y = wx[1] - c[19] + depth - 1.5
    else:
        x = 4 * bx + depth + va + c[0] * va * va + c[1] * va * vb + c[2] * vb * vb
        y = 4 * by + depth + vb + c[3] * va * va + c[4] * va * vb + c[5] * vb * vb
    _sample(planes[f], y, x, out, rows, wx, wy)


@compiled
def block_error(x, refs, bend, depth, f, by, bx, size, fields, stride, work):
    """Squared error of a block of size x size blocks of 4 nodes.

    Args:
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        fields: Of the leaf.
        stride: Only every so many-th block of 4 nodes in rows and columns is looked at; the error is scaled up.
        work: Scratch, [12, 8].
    """
    p0, p1, rows, wx, wy = work[0:4, 0:4], work[0:4, 4:8], work[4:11, 0:4], work[11, 0:4], work[11, 4:8]
    mode = fields[0]
    blur = fields[1]
    total = np.float32(0.0)
    for j in range(0, size, stride):
        for i in range(0, size, stride):
            y4 = by + j
            x4 = bx + i
            if mode != 1:
                _moved(refs[0, blur], bend, f, y4, x4, fields[2], fields[3], depth, p0, rows, wx, wy)
            if mode != 0:
                _moved(refs[1, blur], bend, f, y4, x4, fields[4], fields[5], depth, p1, rows, wx, wy)
            for r in range(4):
                for c in range(4):
                    if mode == 0:
                        p = p0[r, c]
                    elif mode == 1:
                        p = p1[r, c]
                    else:
                        p = np.float32(0.5) * (p0[r, c] + p1[r, c])
                    d = x[f, 4 * y4 + r, 4 * x4 + c] - p
                    total += d * d
    return total * stride * stride


@compiled
def errors_of(x, refs, bend, depth, image, y, x0, sizes, fields, out):
    """Errors of blocks given by image, row and column in units of 4 nodes, sizes in the same units."""
    work = np.empty((12, 8), np.float32)
    for n in range(len(image)):
        stride = 2 if sizes[n] >= 8 else 1
        out[n] = block_error(x, refs, bend, depth, image[n], y[n], x0[n], sizes[n], fields[n], stride, work)


@compiled
def coarse(f, x, ref, depth, start, radius, found):
    """Whole-node vectors of the blocks of 4 x 4 nodes of one image at a coarser resolution.

    Args:
        x, ref: Picture [images, rows, columns], and reference with its border.
        start: Vectors to begin with, of blocks of twice the width at half the resolution; not used where radius > 0.
        radius: Of a full search around zero; 0 for steps of one node around the candidates.
        found: Filled in, [images, rows / 4, columns / 4, 2].
    """
    blocks_y, blocks_x = found.shape[1], found.shape[2]
    for by in range(blocks_y):
        for bx in range(blocks_x):
            best = np.float32(1e30)
            best_a = 0
            best_b = 0
            if radius > 0:
                for b in range(-radius, radius + 1):
                    for a in range(-radius, radius + 1):
                        cost = _whole(x, ref, depth, f, by, bx, a, b, best)
                        if cost < best:
                            best, best_a, best_b = cost, a, b
            else:
                half_y, half_x = start.shape[1], start.shape[2]
                best = _whole(x, ref, depth, f, by, bx, 0, 0, best)
                for k in range(5):
                    py = min(max(by // 2 + (k == 1) - (k == 2), 0), half_y - 1)
                    px = min(max(bx // 2 + (k == 3) - (k == 4), 0), half_x - 1)
                    a = 2 * start[f, py, px, 0]
                    b = 2 * start[f, py, px, 1]
                    cost = _whole(x, ref, depth, f, by, bx, a, b, best)
                    if cost < best:
                        best, best_a, best_b = cost, a, b
                for _ in range(2):
                    at_a, at_b = best_a, best_b
                    for k in range(8):
                        a = at_a + (k in (0, 4, 5)) - (k in (1, 6, 7))
                        b = at_b + (k in (2, 4, 6)) - (k in (3, 5, 7))
                        cost = _whole(x, ref, depth, f, by, bx, a, b, best)
                        if cost < best:
                            best, best_a, best_b = cost, a, b
                    if at_a == best_a and at_b == best_b:
                        break
            found[f, by, bx, 0] = best_a
            found[f, by, bx, 1] = best_b


@compiled
def _whole(x, ref, depth, f, by, bx, a, b, best):
    """Absolute difference of a block of 4 x 4 nodes moved by whole nodes, and a little for the vector's length."""
    height, width = ref.shape[1], ref.shape[2]
    y0 = 4 * by + depth + b
    x0 = 4 * bx + depth + a
    if y0 < 0 or x0 < 0 or y0 + 4 > height or x0 + 4 > width:
        return np.float32(1e30)
    total = np.float32(0.004) * np.float32(abs(a) + abs(b))
    for r in range(4):
        for c in range(4):
            total += abs(x[f, 4 * by + r, 4 * bx + c] - ref[f, y0 + r, x0 + c])
        if total >= best:
            return total
    return total


@compiled
def _length_bits(a, b):
    """Bits of a difference of vectors, about."""
    return 2.6 + np.log2(1.0 + abs(a)) + np.log2(1.0 + abs(b))


@compiled
def fine(f, x, refs, bend, depth, start, hint, which, lmbda, vectors, costs):
    """Quarter-node vectors of the blocks of 8 nodes of one image, towards one reference.

    Args:
        start: Whole-node vectors of blocks of 8 nodes at half the resolution's blocks of 4, [images, y, x, 2].
        hint: Vectors of an earlier tree, quarter nodes, [images, y, x, 2].
        which: 0 or 1, the reference.
        lmbda: Of each block of 64 nodes, [images, y, x].
        vectors, costs: Filled in, [images, y, x, 2] and [images, y, x].
    """
    work = np.empty((12, 8), np.float32)
    fields = np.zeros(6, np.int16)
    fields[0] = which
    col = 2 + 2 * which
    rows, columns = vectors.shape[1], vectors.shape[2]
    tried = np.empty((8, 2), np.int32)
    for by in range(rows):
        for bx in range(columns):
            weight = lmbda[f, by // 8, bx // 8]
            n = 0
            for k in range(7):
                if k < 5:
                    py = min(max(by + (k == 1) - (k == 2), 0), rows - 1)
                    px = min(max(bx + (k == 3) - (k == 4), 0), columns - 1)
                    a = 8 * np.int32(start[f, py, px, 0])
                    b = 8 * np.int32(start[f, py, px, 1])
                elif k == 5:
                    a = np.int32(hint[f, by, bx, 0])
                    b = np.int32(hint[f, by, bx, 1])
                else:
                    a = np.int32(0)
                    b = np.int32(0)
                again = False
                for m in range(n):
                    if tried[m, 0] == a and tried[m, 1] == b:
                        again = True
                if not again:
                    tried[n, 0] = a
                    tried[n, 1] = b
                    n += 1
            best = np.float32(1e30)
            best_a, best_b = tried[0, 0], tried[0, 1]
            for m in range(n):
                fields[col] = tried[m, 0]
                fields[col + 1] = tried[m, 1]
                error = block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, fields, 1, work)
                bits = 0.3 * (m > 0)
                cost = np.float32(weight * error + bits)
                if cost < best:
                    best, best_a, best_b = cost, tried[m, 0], tried[m, 1]
            step = 4
            while step >= 1 and best > 0.3:
                at_a, at_b = best_a, best_b
                for k in range(8):
                    a = at_a + step * ((k in (0, 4, 5)) - (k in (1, 6, 7)))
                    b = at_b + step * ((k in (2, 4, 6)) - (k in (3, 5, 7)))
                    if abs(a) > 1000 or abs(b) > 1000:
                        continue
                    fields[col] = a
                    fields[col + 1] = b
                    error = block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, fields, 1, work)
                    cost = np.float32(weight * error + 0.3)
                    if cost < best:
                        best, best_a, best_b = cost, a, b
                step //= 2
            vectors[f, by, bx, 0] = best_a
            vectors[f, by, bx, 1] = best_b
            costs[f, by, bx] = best


@compiled
def _same(p, q):
    for i in range(6):
        if p[i] != q[i]:
            return False
    return True


@compiled
def _is_repeated(tried, m):
    """Whether candidate m is one of those before it."""
    for k in range(m):
        if _same(tried[k], tried[m]):
            return True
    return False


@compiled
def _difference_bits(p, q):
    """Bits to tell the fields p where q is expected, about."""
    if _same(p, q):
        return 0.0
    bits = 1.0
    if p[0] != q[0]:
        bits += 1.5
    if p[1] != q[1]:
        bits += 1.5
    if p[0] != 1:
        bits += _length_bits(p[2] - q[2], p[3] - q[3])
    if p[0] != 0:
        bits += _length_bits(p[4] - q[4], p[5] - q[5])
    return bits


@compiled
def _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, col, weight, best, step, work):
    """Steps of one of the vectors, from `step` quarter nodes down to one, while the error falls; returns it in bits."""
    while step >= 1:
        for _ in range(3):
            at_a = fields[col]
            at_b = fields[col + 1]
            best_a = at_a
            best_b = at_b
            for k in range(4):
                fields[col] = at_a + step * ((k == 0) - (k == 1))
                fields[col + 1] = at_b + step * ((k == 2) - (k == 3))
                if abs(fields[col]) > 1000 or abs(fields[col + 1]) > 1000:
                    continue
                cost = np.float32(weight * block_error(x, refs, bend, depth, f, by, bx, size, fields, stride, work))
                if cost < best - 0.1:
                    best, best_a, best_b = cost, fields[col], fields[col + 1]
            fields[col] = best_a
            fields[col + 1] = best_b
            if at_a == best_a and at_b == best_b:
                break
        step //= 2
    return best


@compiled
def _refined_both(x, refs, bend, depth, f, by, bx, size, stride, fields, weight, best, step, work):
    """The same of the vectors that the mode uses."""
    if fields[0] != 1:
        best = _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, 2, weight, best, step, work)
    if fields[0] != 0:
        best = _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, 4, weight, best, step, work)
    return best


@compiled
def choose_eighth(f, x, refs, bend, depth, vectors, lmbda, second, blurs, fields, errors):
    """Mode and blur of the blocks of 8 nodes of one image, from the vectors found towards each reference.

    Args:
        vectors: [2, images, y, x, 2].
        second: Whether there is a second reference.
        blurs: Levels to try.
        fields, errors: Filled in, [images, y, x, 6] and [images, y, x]; the errors times lmbda, in bits.
    """
    work = np.empty((12, 8), np.float32)
    trial = np.zeros(6, np.int16)
    rows, columns = errors.shape[1], errors.shape[2]
    for by in range(rows):
        for bx in range(columns):
            weight = lmbda[f, by // 8, bx // 8]
            best = np.float32(1e30)
            for mode in range(3 if second else 1):
                trial[0] = mode
                trial[1] = 0
                trial[2], trial[3] = vectors[0, f, by, bx, 0], vectors[0, f, by, bx, 1]
                trial[4], trial[5] = vectors[1, f, by, bx, 0], vectors[1, f, by, bx, 1]
                cost = np.float32(weight * block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, trial, 1, work))
                cost += np.float32(2.0 if mode == 1 else (4.0 if mode == 2 else 0.0))
                if cost < best:
                    best = cost
                    fields[f, by, bx] = trial
                    errors[f, by, bx] = cost - (2.0 if mode == 1 else (4.0 if mode == 2 else 0.0))
            if errors[f, by, bx] > 8.0:
                if fields[f, by, bx, 0] == 2:
                    trial[:] = fields[f, by, bx]
                    error = _refined_both(
                        x, refs, bend, depth, f, 2 * by, 2 * bx, 2, 1, trial, weight, errors[f, by, bx], 2, work
                    )
                    fields[f, by, bx] = trial
                    errors[f, by, bx] = error
                for blur in range(1, blurs):
                    trial[:] = fields[f, by, bx]
                    trial[1] = blur
                    error = np.float32(weight * block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, trial, 1, work))
                    if error < errors[f, by, bx] - 1.5:
                        errors[f, by, bx] = error
                        fields[f, by, bx] = trial


@compiled
def choose_above(f, x, refs, bend, depth, below, size, hint, lmbda, fields):
    """Fields of larger blocks of one image: the best of their children's, their mean and the earlier tree's, refined.

    Args:
        below: Fields of the blocks of half the width, [images, y, x, 6].
        size: Width of the blocks, in units of 4 nodes.
        fields: Filled in.
    """
    work = np.empty((12, 8), np.float32)
    rows, columns = fields.shape[1], fields.shape[2]
    eighths = size // 2
    stride = 1 if size < 8 else 2
    tried = np.empty((6, 6), np.int16)
    trial = np.zeros(6, np.int16)
    for by in range(rows):
        for bx in range(columns):
            weight = lmbda[f, by * size // 16, bx * size // 16]
            for k in range(4):
                tried[k] = below[f, 2 * by + k // 2, 2 * bx + k % 2]
            tried[4] = tried[0]
            for i in range(2, 6):
                total = 2 + int(tried[0, i]) + int(tried[1, i]) + int(tried[2, i]) + int(tried[3, i])
                tried[4, i] = total >> 2
            tried[5] = hint[f, by * eighths + eighths // 2, bx * eighths + eighths // 2]
            best = np.float32(1e30)
            for m in range(6):
                if _is_repeated(tried, m):
                    continue
                error = np.float32(
                    weight * block_error(x, refs, bend, depth, f, by * size, bx * size, size, tried[m], stride, work)
                )
                if error < best:
                    best = error
                    trial[:] = tried[m]
            if best > 1.0:
                _refined_both(x, refs, bend, depth, f, by * size, bx * size, size, stride, trial, weight, best, 4, work)
            fields[f, by, bx] = trial


@compiled
def settle(f, x, refs, bend, depth, above, costs_above, size, hint, lmbda, fields, costs):
    """Fields and costs of the blocks of one level of one image, as leaves.

    Each takes its own vector, that of the block above it, of its neighbours before it, or of the earlier tree, whatever
    costs least; bits are those of the difference from the nearest of these.

    Args:
        above: Fields of the blocks of twice the width, [images, y, x, 6]; of the coarsest level these blocks' own.
        costs_above: Their costs; a block of 4 nodes is looked at where they leave something to gain.
        size: Width of the blocks, in units of 4 nodes.
        fields: Own vectors when it begins, those chosen at the end.
        costs: Filled in: rate and error in bits.
    """
    work = np.empty((12, 8), np.float32)
    rows, columns = costs.shape[1], costs.shape[2]
    half = rows // above.shape[1]
    stride = 1 if size < 8 else 2
    tried = np.empty((5, 6), np.int16)
    trial = np.zeros(6, np.int16)
    for by in range(rows):
        for bx in range(columns):
            if size == 1 and costs_above[f, by // 2, bx // 2] < 8.0:
                fields[f, by, bx] = above[f, by // 2, bx // 2]
                costs[f, by, bx] = 1e6
                continue
            weight = lmbda[f, by * size // 16, bx * size // 16]
            y8, x8 = (by * size + size // 2) // 2, (bx * size + size // 2) // 2
            tried[0] = above[f, by // half, bx // half] if half == 2 else hint[f, y8, x8]
            tried[1] = fields[f, by, bx - 1] if bx else tried[0]
            tried[2] = fields[f, by - 1, bx] if by else tried[0]
            tried[3] = hint[f, y8, x8]
            tried[4] = fields[f, by, bx]
            best = np.float32(1e30)
            best_error = np.float32(0.0)
            for m in range(5):
                if _is_repeated(tried, m):
                    continue
                error = np.float32(
                    weight * block_error(x, refs, bend, depth, f, by * size, bx * size, size, tried[m], stride, work)
                )
                bits = 0.7 if m == 0 else 1.5
                if m == 4:
                    bits = 1.5 + min(
                        min(_difference_bits(tried[4], tried[0]), _difference_bits(tried[4], tried[1])),
                        min(_difference_bits(tried[4], tried[2]), _difference_bits(tried[4], tried[3])),
                    )
                cost = np.float32(error + bits)
                if cost < best:
                    best = cost
                    best_error = error
                    trial[:] = tried[m]
            if best_error > 3.0:
                fields[f, by, bx] = trial
                error = _refined_both(
                    x, refs, bend, depth, f, by * size, bx * size, size, stride, trial, weight, best_error, 2, work
                )
                bits = 1.5 + min(
                    min(_difference_bits(trial, tried[0]), _difference_bits(trial, tried[1])),
                    min(_difference_bits(trial, tried[2]), _difference_bits(trial, tried[3])),
                )
                if error + bits < best:
                    best = np.float32(error + bits)
                else:
                    trial[:] = fields[f, by, bx]
            fields[f, by, bx] = trial
            costs[f, by, bx] = best
