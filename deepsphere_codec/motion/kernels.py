"""Compiled loops of the motion search: errors of blocks, and search patterns around candidates.

They run in the encoder only, so their rounding affects nothing that a decoder must reproduce. A block of 4 x 4 nodes
is displaced as a whole: its position in the reference follows from that of its centre (see `halo.bend`), so a candidate
costs one cubic interpolation along rows and one along columns.

Parameters that several kernels share: `f` is the image (face) to work on; `x` the picture's luma, [images, rows,
columns]; `refs` the luma of the references with borders, [2, blurs, images, rows, columns]; `bend` the result of
`halo.bend`; `depth` the width of the border in nodes; `lmbda` the weight of the squared error in bits, for each block
of 64 nodes, [images, y, x].
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")


F = np.float32
"""Single precision for constants: numba computes in double precision as soon as one operand is double."""
FAR = F(1e30)


@compiled
def scratch_memory():
    """Allocate the scratch memory of `block_error`: two predictions of 4 x 4 nodes, intermediate rows, and weights."""
    return np.empty((4, 4), F), np.empty((4, 4), F), np.empty((7, 4), F), np.empty(4, F)


@compiled
def _cubic(t, weights):
    """Keys' kernel at -1, 0, 1, 2 for a point at t in [0, 1)."""
    t2 = t * t
    t3 = t2 * t
    weights[0] = t2 - F(0.5) * (t + t3)
    weights[1] = F(1.0) - F(2.5) * t2 + F(1.5) * t3
    weights[2] = F(0.5) * t + F(2.0) * t2 - F(1.5) * t3
    weights[3] = F(0.5) * (t3 - t2)


@compiled
def _sample(plane, y, x, out, rows, weights):
    """Sample 4 x 4 nodes, the first at (y, x) of an image, into `out`, [4, 4]."""
    height, width = plane.shape
    y = min(max(y, F(1.0)), F(height - 7))
    x = min(max(x, F(1.0)), F(width - 7))
    iy = int(y)
    ix = int(x)
    _cubic(x - F(ix), weights)
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for r in range(7):
        line = plane[iy - 1 + r, ix - 1 : ix + 6]
        for c in range(4):
            rows[r, c] = w0 * line[c] + w1 * line[c + 1] + w2 * line[c + 2] + w3 * line[c + 3]
    _cubic(y - F(iy), weights)
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for r in range(4):
        for c in range(4):
            out[r, c] = w0 * rows[r, c] + w1 * rows[r + 1, c] + w2 * rows[r + 2, c] + w3 * rows[r + 3, c]


@compiled
def _across_crease(c, va, vb, place):
    """Compute the target of a vector within its polar face, on the sphere.

    Args:
        c: Values of the block, as returned by `halo.bend`.
        va: Steps in x.
        vb: Steps in y.
        place: Output: x and y in nodes.
    Returns:
        False if the target lies outside the face.
    """
    vx = va * c[10] + vb * c[13]
    vy = va * c[11] + vb * c[14]
    vz = va * c[12] + vb * c[15]
    angle = np.sqrt(vx * vx + vy * vy + vz * vz) + F(1e-9)
    along, across = np.cos(angle), np.sin(angle) / angle
    qx = along * c[7] + across * vx
    qy = along * c[8] + across * vy
    z = along * c[9] + across * vz
    face, nside = int(c[16]), c[17]
    north = face < 4
    lon = np.arctan2(qy, qx) * F(2.0 / np.pi)
    if lon < F(0.0):
        lon += F(4.0)
    if (z > F(0.0)) != north or int(min(lon, F(3.9999))) != face % 4:
        return False
    t = lon - F(face % 4)
    if abs(z) * F(1.5) > F(1.0):
        r = np.sqrt((qx * qx + qy * qy) * F(3.0) / (F(1.0) + abs(z)))
        u, v = (F(1.0) - (F(1.0) - t) * r, F(1.0) - t * r) if north else (t * r, (F(1.0) - t) * r)
    else:
        rise = F(0.75) * abs(z)
        u, v = (t - F(0.5) + rise, F(0.5) - t + rise) if north else (t + F(0.5) - rise, F(1.5) - t - rise)
    place[0] = u * nside - F(0.5)
    place[1] = v * nside - F(0.5)
    return True


@compiled
def _moved(plane, c, by, bx, a, b, depth, out, rows, weights):
    """Predict a block of 4 x 4 nodes from one reference; its vector (a, b) is in quarter nodes."""
    va = F(a) * F(0.25)
    vb = F(b) * F(0.25)
    side = c[6]
    side_at_target = side + va + vb
    if side < F(1e6) and (side * side_at_target <= F(0.0) or abs(side) < F(4.0)) and _across_crease(c, va, vb, weights):
        x = weights[0] - c[18] + F(depth - 1.5)
        y = weights[1] - c[19] + F(depth - 1.5)
    else:
        x = F(4 * bx + depth) + va + c[0] * va * va + c[1] * va * vb + c[2] * vb * vb
        y = F(4 * by + depth) + vb + c[3] * va * va + c[4] * va * vb + c[5] * vb * vb
    _sample(plane, y, x, out, rows, weights)


@compiled
def turn_face(f, planes, centers, rotation, out):
    """Rotate a signal: sample x(R p) at the nodes p of one face, as `layers.Warp` does, but faster.

    Args:
        f: The face.
        planes: All faces with a border of two nodes, [12, nside + 4, nside + 4].
        centers: Directions of the nodes, [12, nside, nside, 3].
        rotation: R, [3, 3], float64.
        out: Output, [12, nside, nside]; the face's part is written.
    """
    nside = out.shape[1]
    wx, wy = np.empty(4, F), np.empty(4, F)
    for row in range(nside):
        for column in range(nside):
            p = centers[f, row, column]
            qx = rotation[0, 0] * p[0] + rotation[0, 1] * p[1] + rotation[0, 2] * p[2]
            qy = rotation[1, 0] * p[0] + rotation[1, 1] * p[1] + rotation[1, 2] * p[2]
            z = rotation[2, 0] * p[0] + rotation[2, 1] * p[1] + rotation[2, 2] * p[2]
            lon = np.arctan2(qy, qx) * (2.0 / np.pi)
            if lon < 0.0:
                lon += 4.0
            if abs(z) * 1.5 <= 1.0:
                down, up = 0.5 + lon + 0.75 * z, 0.5 + lon - 0.75 * z
                fx, fy = int(np.floor(down)), int(np.floor(up))
                face = fy % 4 + 4 if fx == fy else (fy % 4 if fy < fx else fx % 4 + 8)
                u, v = down - fx, 1.0 - (up - fy)
            else:
                quarter = min(int(lon), 3)
                t = lon - quarter
                r = np.sqrt((qx * qx + qy * qy) * 3.0 / (1.0 + abs(z)))
                face = quarter if z > 0.0 else quarter + 8
                u, v = (1.0 - (1.0 - t) * r, 1.0 - t * r) if z > 0.0 else (t * r, (1.0 - t) * r)
            # Positions reach half a node beyond the face's border, plus a rounding error.
            x, y = u * nside - 0.5, v * nside - 0.5
            ix = min(max(int(np.floor(x)), -1), nside - 1)
            iy = min(max(int(np.floor(y)), -1), nside - 1)
            _cubic(F(x - ix), wx)
            _cubic(F(y - iy), wy)
            total = F(0.0)
            for j in range(4):
                line = planes[face, iy + 1 + j, ix + 1 : ix + 5]
                total += wy[j] * (wx[0] * line[0] + wx[1] * line[1] + wx[2] * line[2] + wx[3] * line[3])
            out[f, row, column] = total


@compiled
def block_error(x, refs, bend, depth, f, by, bx, size, fields, stride, limit, scratch):
    """Compute the squared prediction error of a block of size x size blocks of 4 nodes.

    Args:
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        f: Image (face).
        by: First row of the block, in units of 4 nodes.
        bx: First column of the block, in units of 4 nodes.
        size: Width of the block, in units of 4 nodes.
        fields: Fields of the leaf, [6].
        stride: Only every stride-th block of 4 nodes along rows and columns is evaluated; the error is scaled up.
        limit: Threshold for an early exit: once the error reaches it, the partial sum is returned.
        scratch: Result of `scratch_memory`.
    Returns:
        The error, or a value of at least `limit`.
    """
    p0, p1, rows, weights = scratch
    mode, blur = fields[0], fields[1]
    scale = F(stride * stride)
    total = F(0.0)
    picture = x[f]
    for y4 in range(by, by + size, stride):
        for x4 in range(bx, bx + size, stride):
            c = bend[f, y4, x4]
            if mode != 1:
                _moved(refs[0, blur, f], c, y4, x4, fields[2], fields[3], depth, p0, rows, weights)
            if mode != 0:
                _moved(refs[1, blur, f], c, y4, x4, fields[4], fields[5], depth, p1, rows, weights)
            if mode == 2:
                for r in range(4):
                    for k in range(4):
                        p0[r, k] = F(0.5) * (p0[r, k] + p1[r, k])
            p = p1 if mode == 1 else p0
            for r in range(4):
                for k in range(4):
                    d = picture[4 * y4 + r, 4 * x4 + k] - p[r, k]
                    total += d * d
            if total * scale >= limit:
                return total * scale
    return total * scale


@compiled
def coarse(f, x, ref, depth, start, radius, vectors):
    """Search whole-node vectors of the blocks of 4 x 4 nodes of one image at a coarser resolution.

    Args:
        f: Image (face).
        x: Picture, [images, rows, columns].
        ref: Reference with its border, [images, rows + 2 depth, columns + 2 depth].
        depth: Width of the reference's border, nodes.
        start: Initial vectors, from the blocks of twice the width at half the resolution; unused if radius > 0.
        radius: Radius of a full search around zero, nodes; 0 for steps of one node around the candidates.
        vectors: Output, [images, rows / 4, columns / 4, 2].
    """
    blocks_y, blocks_x = vectors.shape[1], vectors.shape[2]
    for by in range(blocks_y):
        for bx in range(blocks_x):
            best = FAR
            best_a = 0
            best_b = 0
            if radius > 0:
                for b in range(-radius, radius + 1):
                    for a in range(-radius, radius + 1):
                        cost = _whole_node_cost(x, ref, depth, f, by, bx, a, b, best)
                        if cost < best:
                            best, best_a, best_b = cost, a, b
            else:
                half_y, half_x = start.shape[1], start.shape[2]
                best = _whole_node_cost(x, ref, depth, f, by, bx, 0, 0, best)
                for k in range(5):
                    py = min(max(by // 2 + (k == 1) - (k == 2), 0), half_y - 1)
                    px = min(max(bx // 2 + (k == 3) - (k == 4), 0), half_x - 1)
                    a = 2 * start[f, py, px, 0]
                    b = 2 * start[f, py, px, 1]
                    cost = _whole_node_cost(x, ref, depth, f, by, bx, a, b, best)
                    if cost < best:
                        best, best_a, best_b = cost, a, b
                for _ in range(2):
                    at_a, at_b = best_a, best_b
                    for k in range(8):
                        a = at_a + (k in (0, 4, 5)) - (k in (1, 6, 7))
                        b = at_b + (k in (2, 4, 6)) - (k in (3, 5, 7))
                        cost = _whole_node_cost(x, ref, depth, f, by, bx, a, b, best)
                        if cost < best:
                            best, best_a, best_b = cost, a, b
                    if at_a == best_a and at_b == best_b:
                        break
            vectors[f, by, bx, 0] = best_a
            vectors[f, by, bx, 1] = best_b


@compiled
def _whole_node_cost(x, ref, depth, f, by, bx, a, b, best):
    """Absolute difference of a block of 4 x 4 nodes displaced by whole nodes, plus a small cost of the vector."""
    height, width = ref.shape[1], ref.shape[2]
    y0 = 4 * by + depth + b
    x0 = 4 * bx + depth + a
    if y0 < 0 or x0 < 0 or y0 + 4 > height or x0 + 4 > width:
        return FAR
    total = F(0.004) * F(abs(a) + abs(b))
    for r in range(4):
        for c in range(4):
            total += abs(x[f, 4 * by + r, 4 * bx + c] - ref[f, y0 + r, x0 + c])
        if total >= best:
            return total
    return total


@compiled
def _length_bits(a, b):
    """Estimate the bits of a vector difference."""
    return 2.6 + np.log2(1.0 + abs(a)) + np.log2(1.0 + abs(b))


@compiled
def fine(f, x, refs, bend, depth, start, hint, which, lmbda, vectors, costs):
    """Search quarter-node vectors of the blocks of 8 nodes of one image, towards one reference.

    Args:
        f: Image (face).
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        start: Whole-node vectors of the same blocks at half the resolution, [images, y, x, 2].
        hint: Vectors of an earlier tree, quarter nodes, [images, y, x, 2].
        which: Index of the reference, 0 or 1.
        lmbda: Weight of the squared error, for each block of 64 nodes, [images, y, x].
        vectors: Output, quarter nodes, [images, y, x, 2].
        costs: Output, bits, [images, y, x].
    """
    scratch = scratch_memory()
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
            best = FAR
            best_a, best_b = tried[0, 0], tried[0, 1]
            for m in range(n):
                fields[col] = tried[m, 0]
                fields[col + 1] = tried[m, 1]
                bits = F(0.3) if m else F(0.0)
                limit = (best - bits) / weight
                error = block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, fields, 1, limit, scratch)
                cost = weight * error + bits
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
                    limit = (best - F(0.3)) / weight
                    error = block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, fields, 1, limit, scratch)
                    cost = weight * error + F(0.3)
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
    """Return whether candidate m equals one before it."""
    for k in range(m):
        if _same(tried[k], tried[m]):
            return True
    return False


@compiled
def _difference_bits(p, q):
    """Estimate the bits of the fields p, predicted from q."""
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
def _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, col, weight, best, step, scratch):
    """Refine one of the vectors in steps from `step` quarter nodes down to one; returns the error in bits."""
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
                limit = (best - F(0.1)) / weight
                cost = weight * block_error(x, refs, bend, depth, f, by, bx, size, fields, stride, limit, scratch)
                if cost < best - F(0.1):
                    best, best_a, best_b = cost, fields[col], fields[col + 1]
            fields[col] = best_a
            fields[col + 1] = best_b
            if at_a == best_a and at_b == best_b:
                break
        step //= 2
    return best


@compiled
def _refined_both(x, refs, bend, depth, f, by, bx, size, stride, fields, weight, best, step, scratch):
    """Refine the vectors that the mode uses, as `_refined` does; returns the error in bits."""
    if fields[0] != 1:
        best = _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, 2, weight, best, step, scratch)
    if fields[0] != 0:
        best = _refined(x, refs, bend, depth, f, by, bx, size, stride, fields, 4, weight, best, step, scratch)
    return best


@compiled
def choose_eighth(f, x, refs, bend, depth, vectors, lmbda, second, blurs, fields, errors):
    """Choose mode and blur of the blocks of 8 nodes of one image, given the vectors towards each reference.

    Args:
        f: Image (face).
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        vectors: Vectors towards each reference, quarter nodes, [2, images, y, x, 2].
        lmbda: Weight of the squared error, for each block of 64 nodes, [images, y, x].
        second: Whether there is a second reference.
        blurs: Number of blur levels to try.
        fields: Output, [images, y, x, 6].
        errors: Output, errors times lmbda in bits, [images, y, x].
    """
    scratch = scratch_memory()
    trial = np.zeros(6, np.int16)
    rows, columns = errors.shape[1], errors.shape[2]
    for by in range(rows):
        for bx in range(columns):
            weight = lmbda[f, by // 8, bx // 8]
            best = FAR
            for mode in range(3 if second else 1):
                trial[0] = mode
                trial[1] = 0
                trial[2], trial[3] = vectors[0, f, by, bx, 0], vectors[0, f, by, bx, 1]
                trial[4], trial[5] = vectors[1, f, by, bx, 0], vectors[1, f, by, bx, 1]
                bits = F(2.0) if mode == 1 else (F(4.0) if mode == 2 else F(0.0))
                limit = (best - bits) / weight
                error = weight * block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, trial, 1, limit, scratch)
                if error + bits < best:
                    best = error + bits
                    fields[f, by, bx] = trial
                    errors[f, by, bx] = error
            if errors[f, by, bx] > 8.0:
                if fields[f, by, bx, 0] == 2:
                    trial[:] = fields[f, by, bx]
                    error = _refined_both(
                        x, refs, bend, depth, f, 2 * by, 2 * bx, 2, 1, trial, weight, errors[f, by, bx], 2, scratch
                    )
                    fields[f, by, bx] = trial
                    errors[f, by, bx] = error
                for blur in range(1, blurs):
                    trial[:] = fields[f, by, bx]
                    trial[1] = blur
                    limit = (errors[f, by, bx] - F(1.5)) / weight
                    error = weight * block_error(x, refs, bend, depth, f, 2 * by, 2 * bx, 2, trial, 1, limit, scratch)
                    if error < errors[f, by, bx] - F(1.5):
                        errors[f, by, bx] = error
                        fields[f, by, bx] = trial


@compiled
def choose_above(f, x, refs, bend, depth, below, size, hint, lmbda, fields):
    """Choose the fields of larger blocks of one image: the best of their children's, their mean and the earlier tree's.

    The chosen vectors are refined.

    Args:
        f: Image (face).
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        below: Fields of the blocks of half the width, [images, y, x, 6].
        size: Width of the blocks, in units of 4 nodes.
        hint: Fields of an earlier tree at the blocks of 8 nodes, [images, y, x, 6].
        lmbda: Weight of the squared error, for each block of 64 nodes, [images, y, x].
        fields: Output, [images, y, x, 6].
    """
    scratch = scratch_memory()
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
            best = FAR
            for m in range(6):
                if _is_repeated(tried, m):
                    continue
                limit = best / weight
                error = weight * block_error(
                    x, refs, bend, depth, f, by * size, bx * size, size, tried[m], stride, limit, scratch
                )
                if error < best:
                    best = error
                    trial[:] = tried[m]
            if best > 1.0:
                _refined_both(
                    x, refs, bend, depth, f, by * size, bx * size, size, stride, trial, weight, best, 4, scratch
                )
            fields[f, by, bx] = trial


@compiled
def settle(f, x, refs, bend, depth, above, costs_above, size, hint, lmbda, fields, costs):
    """Choose fields and compute costs of the blocks of one level of one image, as if they were leaves.

    Each block takes the cheapest of its own fields and those of the block above it, of its previous neighbours and of
    the earlier tree; the rate is estimated from the difference to the nearest of these.

    Args:
        f: Image (face).
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        above: Fields of the blocks of twice the width, [images, y, x, 6]; at the coarsest level the blocks' own.
        costs_above: Costs of the blocks of twice the width; a block of 4 nodes below a low cost is not evaluated.
        size: Width of the blocks, in units of 4 nodes.
        hint: Fields of an earlier tree at the blocks of 8 nodes, [images, y, x, 6].
        lmbda: Weight of the squared error, for each block of 64 nodes, [images, y, x].
        fields: Input and output, [images, y, x, 6]: the blocks' own fields, replaced by the chosen ones.
        costs: Output, rate plus weighted error in bits, [images, y, x].
    """
    scratch = scratch_memory()
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
            best = FAR
            best_error = F(0.0)
            for m in range(5):
                if _is_repeated(tried, m):
                    continue
                bits = 0.7 if m == 0 else 1.5
                if m == 4:
                    bits = 1.5 + min(
                        min(_difference_bits(tried[4], tried[0]), _difference_bits(tried[4], tried[1])),
                        min(_difference_bits(tried[4], tried[2]), _difference_bits(tried[4], tried[3])),
                    )
                limit = F(best - bits) / weight
                error = weight * block_error(
                    x, refs, bend, depth, f, by * size, bx * size, size, tried[m], stride, limit, scratch
                )
                cost = F(error + bits)
                if cost < best:
                    best = cost
                    best_error = error
                    trial[:] = tried[m]
            if best_error > 3.0:
                fields[f, by, bx] = trial
                error = _refined_both(
                    x, refs, bend, depth, f, by * size, bx * size, size, stride, trial, weight, best_error, 2, scratch
                )
                bits = 1.5 + min(
                    min(_difference_bits(trial, tried[0]), _difference_bits(trial, tried[1])),
                    min(_difference_bits(trial, tried[2]), _difference_bits(trial, tried[3])),
                )
                if error + bits < best:
                    best = F(error + bits)
                else:
                    trial[:] = fields[f, by, bx]
            fields[f, by, bx] = trial
            costs[f, by, bx] = best


@compiled
def symbol_bits(p, first, second, base, merge, delta, two, tables, rows):
    """Compute the bits of a leaf's fields, as `syntax.choices` codes them.

    Args:
        p: Fields of the leaf, [6].
        first: Fields of the first candidate, [6].
        second: Fields of the second candidate, [6].
        base: Prediction of new fields, [6].
        merge: Row of the merge symbol.
        delta: Row of a difference's first component.
        two: Whether there are two references.
        tables: Bits of each symbol, `MotionTables.bits`.
        rows: First row of the modes, first row of the blur levels, and column of a difference of 0.
    Returns:
        The bits.
    """
    for k in range(2):
        q = second if k else first
        if p[0] == q[0] and p[1] == q[1]:
            is_same = True
            if p[0] != 1:
                is_same = p[2] == q[2] and p[3] == q[3]
            if p[0] != 0:
                is_same = is_same and p[4] == q[4] and p[5] == q[5]
            if is_same:
                return tables[merge, k]
    bits = tables[merge, 2] + tables[rows[1] + base[1], p[1]]
    if two:
        bits += tables[rows[0] + base[0], p[0]]
    zero = rows[2]
    for column in (2, 4):
        if p[0] == 2 or column == 2 + 2 * p[0]:
            a = abs(int(p[column]) - int(base[column]))
            size = 1 if a < 1 else (2 if a < 3 else 3)
            bits += tables[delta, _column(int(p[column]) - int(base[column]), zero)]
            bits += tables[delta + size, _column(int(p[column + 1]) - int(base[column + 1]), zero)]
    return bits


@compiled
def _column(difference, zero):
    """Column of a difference in its row; beyond the row, the column of the escape symbol."""
    return difference + zero if abs(difference) <= zero else 2 * zero + 1


@compiled
def choose_leaves(
    x, refs, bend, depth, lmbda, place, sizes, offers, merge, delta, two, tables, rows, steps, fields, moved
):
    """Choose the fields of some leaves: the cheapest of the offers, then refine its vectors while the cost falls.

    Args:
        x: Picture, [images, rows, columns].
        refs: References with borders, [2, blurs, images, rows, columns].
        bend: Result of `halo.bend`.
        depth: Width of the references' border, nodes.
        lmbda: Weight of the squared error, for each block of 64 nodes, [images, y, x].
        place: Image, row and column of each leaf, in units of 4 nodes, [n, 3].
        sizes: Width of each leaf, in units of 4 nodes, [n].
        offers: The two candidates, the leaf's own fields, and the prediction of new fields, [n, 4, 6].
        merge: Row of each merge symbol, [n].
        delta: Row of each difference's first component, [n].
        two: Whether there are two references.
        tables: Bits of each symbol, `MotionTables.bits`.
        rows: See `symbol_bits`.
        steps: Sizes of the refinement steps, quarter nodes.
        fields: Output, chosen fields, [n, 6].
        moved: Output, whether the choice is none of the offers, [n].
    """
    scratch = scratch_memory()
    trial = np.empty(6, np.int16)
    for n in range(len(sizes)):
        f, by, bx = place[n]
        size = sizes[n]
        stride = 2 if size >= 8 else 1
        weight = lmbda[f, by // 16, bx // 16]
        first, second, base = offers[n, 0], offers[n, 1], offers[n, 3]
        best = FAR
        for k in range(4):
            if k and _is_repeated(offers[n], k):
                continue
            bits = F(symbol_bits(offers[n, k], first, second, base, merge[n], delta[n], two, tables, rows))
            limit = (best - bits) / weight
            cost = bits + weight * block_error(
                x, refs, bend, depth, f, by, bx, size, offers[n, k], stride, limit, scratch
            )
            if cost < best:
                best = cost
                fields[n] = offers[n, k]
        for step in steps:
            for k in range(8):
                column = 2 if k < 4 else 4
                if fields[n, 0] != 2 and column != 2 + 2 * fields[n, 0]:
                    continue
                trial[:] = fields[n]
                trial[column + (k % 4) // 2] += step if k % 2 == 0 else -step
                if abs(trial[column]) > 1000 or abs(trial[column + 1]) > 1000:
                    continue
                bits = F(symbol_bits(trial, first, second, base, merge[n], delta[n], two, tables, rows))
                limit = (best - bits) / weight
                if limit <= F(0.0):
                    continue
                cost = bits + weight * block_error(x, refs, bend, depth, f, by, bx, size, trial, stride, limit, scratch)
                if cost < best:
                    best = cost
                    fields[n] = trial
                    moved[n] = True
