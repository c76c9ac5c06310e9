"""Margins of items over a search space: a few factors that vary smoothly, by Gaussian processes.

Item i of candidate c has the margin m_ci = mu_i + L_i . z(x_c) + e_ci: how hard it is, how much it
asks of each of a few skills, and what no other item shares. The skills z are independent Gaussian
processes over the space (the intrinsic model of coregionalisation, Bonilla et al. 2008), so a
candidate that was scored on sixteen items is known on the others by what these ask of the same
skills, and by its neighbours; and so is a point that was never tried. Loadings and noise by a
few steps of expectation maximisation from a singular value decomposition, with a normal prior on
(mu_i, L_i) that all items share. Lengths of the kernel before that, by the marginal likelihood of
a process an item.

Costs (candidates x factors)^3, so of many candidates only MOST are told of each other: those that
were scored on most, then the latest; each of the others is placed by these and its own items. Of
more than MANY candidates only those that were scored on everything, if they are ENOUGH: they
change seldom, and as long as they do not the model stays as it is.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .kernel import climbed, matern

Numbers = NDArray[np.float64]

MOST = 64
"""Candidates that are told of each other."""
MANY = 256
ENOUGH = 32
_FACTORS = 6
_STEPS = 4
_NUGGET = 0.02
"""Variance of a skill that no neighbour can know, of 1."""
_NUGGETS = (0.01, 0.05)
"""The same of a single item's process, where lengths are chosen."""
_LIKELY = 4
"""An item counts for the lengths where so many candidates were scored on it."""
_PRIOR = 8
"""An item's noise counts as seen on so many candidates before any was."""


@dataclass(frozen=True, slots=True)
class Skills:
    """What is known of the skills of some candidates: means (candidates, factors), covariances."""

    means: Numbers
    covariances: Numbers


@dataclass(frozen=True, slots=True)
class Factors:
    """A fitted model.

    `members` are the candidates that it was fitted on, `known` their skills, `placed` which of
    them have a place, `own` the places of these.
    """

    members: NDArray[np.intp]
    known: Skills
    placed: NDArray[np.bool_]
    own: Numbers
    lengths: Numbers
    table: Numbers
    """Each item's mean and loadings, shape (items, 1 + factors)."""
    spread: Numbers
    """Covariance of each row of the table, shape (items, 1 + factors, 1 + factors)."""
    noise: Numbers
    """Variance that an item shares with no other, shape (items,)."""
    inverse: Numbers
    """Of the kernel between members that have a place."""

    def at(self, places: Numbers) -> Skills:
        """Skills at points of the space, by the candidates around them."""
        near = matern(places, self.own, self.lengths)
        weights = near @ self.inverse
        left = np.maximum(1.0 + _NUGGET - (weights * near).sum(axis=1), _NUGGET)
        means = self.known.means[self.placed]
        # What is not known of the neighbours, as if that were independent.
        passed = np.einsum("ic,crs->irs", weights**2, self.known.covariances[self.placed])
        free = left[:, None, None] * np.eye(means.shape[1])
        return Skills(weights @ means, passed + free)

    def told(self, skills: Skills, margins: Numbers) -> Skills:
        """Skills of candidates that were scored on items themselves; NaN where they were not."""
        seen = np.isfinite(margins)
        loadings = self.table[:, 1:]
        inverse = np.linalg.inv(skills.covariances)
        rest = np.where(seen, margins - self.table[:, 0], 0.0) / self.noise
        precision = inverse + _information(seen, loadings, self.noise)
        covariances = _inverses(precision)
        shown = rest @ loadings + np.einsum("crs,cs->cr", inverse, skills.means)
        means = np.einsum("crs,cs->cr", covariances, shown)
        return Skills(means, covariances)

    def margins(self, skills: Skills) -> tuple[Numbers, Numbers]:
        """Means and variances of margins, noise included, each of shape (candidates, items)."""
        loadings, count = self.table[:, 1:], len(skills.means)
        shown = _with_one(skills.means)
        between = (shown[:, :, None] * shown[:, None, :]).reshape(count, -1)
        squares = (loadings[:, :, None] * loadings[:, None, :]).reshape(len(loadings), -1)
        variances = skills.covariances.reshape(count, -1) @ squares.T
        variances += between @ self.spread.reshape(len(loadings), -1).T + self.noise
        return shown @ self.table.T, variances


@dataclass(slots=True)
class Memory:
    """The model fitted last, for as long as what it was fitted on stays the same."""

    margins: Numbers | None = None
    places: Numbers | None = None
    found: Factors | None = None

    def recalled(self, margins: Numbers, places: Numbers) -> Factors | None:
        """The model of exactly these numbers, if it is the last."""
        if self.margins is None or self.places is None:
            return None
        same = np.array_equal(self.margins, margins, equal_nan=True)
        return self.found if same and np.array_equal(self.places, places, equal_nan=True) else None


def fitted(margins: Numbers, places: Numbers, memory: Memory | None = None) -> Factors:
    """The model of some candidates.

    Args:
        margins: Shape (candidates, items); NaN where a candidate was not scored. Every item was
            scored at least once.
        places: Shape (candidates, axes), in the unit cube; NaN for one that has no place, which
            is as far from everybody as can be.
        memory: Keeps the model; nothing that is found depends on it.
    """
    memory = Memory() if memory is None else memory
    kept = np.sort(_most_seen(margins)[:MOST])
    margins, places = margins[kept], places[kept]
    if (known := memory.recalled(margins, places)) is None:
        known = _fitted(margins, places)
        memory.margins, memory.places, memory.found = margins, places, known
    return replace(known, members=kept)


def _fitted(margins: Numbers, places: Numbers) -> Factors:
    placed = np.array(np.isfinite(places).all(axis=1), dtype=np.bool_)
    lengths = _lengths(margins[placed], places[placed])
    kernel = np.eye(len(places)) * (1.0 + _NUGGET)
    between = matern(places[placed], places[placed], lengths)
    kernel[np.ix_(placed, placed)] = between + _NUGGET * np.eye(int(placed.sum()))
    inverse = _inverse(kernel)
    table, spread, noise, known = _maximised(margins, inverse)
    apart = inverse[np.ix_(placed, placed)]  # who has no place is tied to nobody
    own, members = places[placed], np.arange(len(places))
    return Factors(members, known, placed, own, lengths, table, spread, noise, apart)


def _most_seen(margins: Numbers) -> NDArray[np.intp]:
    """Candidates by how much is known of them, of equals the latest first."""
    seen = np.isfinite(margins).sum(axis=1)
    order = np.lexsort((-np.arange(len(margins)), -seen))
    whole = int((seen == margins.shape[1]).sum())
    return order[:whole] if len(margins) > MANY and whole >= ENOUGH else order


def _maximised(margins: Numbers, inverse: Numbers) -> tuple[Numbers, Numbers, Numbers, Skills]:
    """Table, its spread, noise and skills after some steps of expectation maximisation."""
    seen = np.isfinite(margins)
    numbers = np.where(seen, margins, 0.0)
    factors = max(1, min(_FACTORS, len(margins) // 4, margins.shape[1] - 1))
    table, pooled = _start(numbers, seen, factors)
    noise = np.full(margins.shape[1], pooled)
    for _ in range(_STEPS):
        skills = _skills(numbers, seen, table, noise, inverse)
        shown = _with_one(skills.means)
        moments = shown[:, :, None] * shown[:, None, :]
        moments[:, 1:, 1:] += skills.covariances
        sums = seen.T.astype(np.float64) @ moments.reshape(len(moments), -1)
        sums = sums.reshape(-1, factors + 1, factors + 1)
        products = numbers.T @ shown
        table, spread = _regressed(sums, products, table, noise)
        both = table[:, :, None] * table[:, None, :] + spread
        rest = (numbers**2).sum(axis=0) - 2 * (products * table).sum(axis=1)
        rest = np.maximum(rest + (sums * both).sum(axis=(1, 2)), 0.0)
        count = seen.sum(axis=0)
        pooled = max(float(rest.sum() / count.sum()), 1e-9)
        noise = np.maximum((rest + _PRIOR * pooled) / (count + _PRIOR), 0.02 * pooled)
    return table, spread, noise, skills


def _start(numbers: Numbers, seen: NDArray[np.bool_], factors: int) -> tuple[Numbers, float]:
    """Means and loadings from the largest singular values of what is seen, and a variance."""
    means = numbers.sum(axis=0) / seen.sum(axis=0)
    centred = np.where(seen, numbers - means, 0.0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    scales = np.sqrt((left[:, :factors] * sizes[:factors]).var(axis=0) + 1e-9)
    table = np.column_stack([means, right[:factors].T * scales])
    return table, max(0.5 * float(centred[seen].var()), 1e-9)


def _skills(
    numbers: Numbers, seen: NDArray[np.bool_], table: Numbers, noise: Numbers, inverse: Numbers
) -> Skills:
    """The skills of all candidates together, given the table."""
    count, factors = len(numbers), table.shape[1] - 1
    loadings = table[:, 1:]
    precision = np.zeros((count, factors, count, factors))
    for factor in range(factors):
        precision[:, factor, :, factor] = inverse
    each = np.arange(count)
    precision[each, :, each, :] += _information(seen, loadings, noise)
    shown = (np.where(seen, numbers - table[:, 0], 0.0) / noise) @ loadings
    whole = _inverse(precision.reshape(count * factors, -1))
    means = (whole @ shown.ravel()).reshape(count, factors)
    return Skills(means, whole.reshape(count, factors, count, factors)[each, :, each, :])


def _information(seen: NDArray[np.bool_], loadings: Numbers, noise: Numbers) -> Numbers:
    """What its items say of each candidate's skills, shape (candidates, factors, factors)."""
    squares = loadings[:, :, None] * loadings[:, None, :] / noise[:, None, None]
    found = seen.astype(np.float64) @ squares.reshape(len(loadings), -1)
    return found.reshape(len(seen), loadings.shape[1], loadings.shape[1])


def _regressed(
    sums: Numbers, products: Numbers, table: Numbers, noise: Numbers
) -> tuple[Numbers, Numbers]:
    """Each item's mean and loadings and their covariance, under what all items have in common."""
    centre, common = table.mean(axis=0), np.cov(table.T)
    common = common + (0.05 * np.trace(common) / len(common) + 1e-9) * np.eye(len(common))
    prior = np.linalg.inv(common)
    spread = _inverses(sums / noise[:, None, None] + prior)
    shown = products / noise[:, None] + prior @ centre
    return np.einsum("irs,is->ir", spread, shown), spread


def _lengths(margins: Numbers, places: Numbers) -> Numbers:
    """The likeliest lengths where every item is a process of its own, with a variance of its own.

    Items that the same candidates were scored on share a factorisation.
    """
    from scipy.linalg import cholesky, solve_triangular

    patterns, of_item = np.unique(np.isfinite(margins).T, axis=0, return_inverse=True)
    groups = []
    for number, pattern in enumerate(patterns):
        if pattern.sum() >= _LIKELY:
            items = np.flatnonzero(of_item.ravel() == number)
            groups.append((pattern, margins[np.ix_(pattern, items)]))

    def likelihood(lengths: Numbers, nugget: float) -> float:
        shape = matern(places, places, lengths)
        total = 0.0
        for pattern, numbers in groups:
            kernel = shape[np.ix_(pattern, pattern)] + nugget * np.eye(len(numbers))
            factor = cholesky(kernel, lower=True, check_finite=False)
            both = np.column_stack([np.ones(len(numbers)), numbers])
            white = solve_triangular(factor, both, lower=True, check_finite=False)
            one, rest = white[:, 0], white[:, 1:]
            rest = rest - np.outer(one, one @ rest / (one @ one))
            sizes = np.maximum((rest**2).mean(axis=0), 1e-12)
            total -= 0.5 * len(numbers) * float(np.log(sizes).sum())
            total -= numbers.shape[1] * float(np.log(np.diag(factor)).sum())
        return total

    return climbed(likelihood, places.shape[1], _NUGGETS)[0]


def _inverse(matrix: Numbers) -> Numbers:
    """Of a symmetric positive definite matrix."""
    from scipy.linalg.lapack import dpotrf, dpotri

    factor, _ = dpotrf(matrix, lower=1)
    found, _ = dpotri(factor, lower=1)
    lower: Numbers = np.tril(found)
    upper: Numbers = np.tril(found, -1).T
    return np.add(lower, upper)


def _inverses(matrices: Numbers) -> Numbers:
    return np.asarray(np.linalg.inv(matrices), dtype=np.float64)


def _with_one(skills: Numbers) -> Numbers:
    return np.column_stack([np.ones(len(skills)), skills])
