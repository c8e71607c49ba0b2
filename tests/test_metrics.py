"""Metrics against closed forms, scipy and scikit-learn, and on made-up runs whose answers are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats
from sklearn.metrics import accuracy_score

from bench import metrics
from bench.metrics import agreement, exact, resample, tables
from bench.metrics.curves import round_grid
from bench.metrics.distribution import quantiles
from bench.norms import Norm
from bench.specs import Kind, Suite

INF = np.inf
DISTANCES = hnp.arrays(
    np.float64, st.integers(1, 40), elements=st.one_of(st.floats(0, 100, width=32), st.just(float("inf")))
)


@given(DISTANCES, st.floats(0, 1))
def test_quantile_is_numpys_where_all_is_finite_and_never_nan(values: np.ndarray, q: float) -> None:
    mine = metrics.quantile(values, q)
    assert not np.isnan(mine)
    if np.isfinite(values).all():
        assert mine == pytest.approx(np.quantile(values, q), rel=1e-9, abs=1e-12)
    else:
        # Replacing infinity by something huge gives the same finite quantiles, and a huge one instead of infinity.
        huge = np.where(np.isinf(values), 1e30, values)
        assert mine == pytest.approx(np.quantile(huge, q)) or (mine == INF and np.quantile(huge, q) > 1e10)


def test_median_of_censored_values() -> None:
    assert metrics.median([1, 2, 3, INF]) == 2.5
    assert metrics.median([1, 2, INF, INF]) == INF
    assert metrics.median([1, INF, INF]) == INF
    assert metrics.median([0, 2, INF]) == 2
    assert np.isnan(metrics.median([]))


def test_a_distance_is_not_negative_and_not_nan() -> None:
    for bad in ([-1.0], [float("nan")]):
        with pytest.raises(ValueError, match="distance"):
            metrics.median(bad)
    with pytest.raises(ValueError, match="fraction"):
        metrics.quantile([1.0], 1.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.robust_accuracy([0.1], float("nan")), "eps is the size of a change"),
        (lambda: metrics.robust_accuracy([0.1], -1), "eps is the size of a change"),
        (lambda: metrics.wilson(0, 0), "n >= 1 trials"),
        (lambda: metrics.wilson(5, 3), "0 to n successes"),
        (lambda: metrics.wilson(1, 3, level=95), "between 0 and 1"),
        (lambda: metrics.median_interval([1, 2], level=95), "between 0 and 1"),
        (lambda: metrics.median_interval([1, 2], resamples=0), "at least one resample"),
        (lambda: metrics.paired([1], [2], level=0), "between 0 and 1"),
        (lambda: metrics.robust_accuracy_interval([1], 0.5, resamples=0), "at least one resample"),
    ],
)
def test_what_cannot_be_asked_is_answered_in_a_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_mean_and_rate_of_found() -> None:
    assert metrics.mean_found([1, 3, INF]) == 2
    assert np.isnan(metrics.mean_found([INF]))
    assert metrics.found_rate([1, 3, INF, INF]) == 0.5


@given(DISTANCES, st.floats(0, 50))
def test_robust_accuracy_is_scikit_learns_accuracy_of_what_stays_right(values: np.ndarray, eps: float) -> None:
    true = np.zeros(len(values))
    under_attack = (values <= eps).astype(float)
    assert float(metrics.robust_accuracy(values, eps)) == pytest.approx(accuracy_score(true, under_attack))


def test_robust_accuracy_at_the_distance_itself_counts_as_wrong() -> None:
    assert metrics.robust_accuracy([0, 1, 2, INF], [0, 0.5, 1, 2, 1e9]).tolist() == [0.75, 0.75, 0.5, 0.25, 0.25]
    with pytest.raises(ValueError, match="no images"):
        metrics.robust_accuracy([], 1)


@given(DISTANCES)
def test_the_curve_is_the_ecdf_of_scipy_upside_down(values: np.ndarray) -> None:
    eps, accuracy = metrics.curve(values)
    assert eps[0] == 0
    finite = values[np.isfinite(values)]
    if len(finite) == len(values):
        ecdf = stats.ecdf(values).sf
        np.testing.assert_allclose(accuracy, ecdf.evaluate(eps), atol=1e-12)
    np.testing.assert_allclose(accuracy, metrics.robust_accuracy(values, eps))
    assert (np.diff(accuracy) <= 0).all()


def test_a_long_curve_is_thinned_but_true() -> None:
    values = np.random.default_rng(0).exponential(size=5000)
    eps, accuracy = metrics.curve(values, points=100)
    assert len(eps) <= 101
    np.testing.assert_allclose(accuracy, metrics.robust_accuracy(values, eps))
    assert eps[-1] == values.max()


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (7, 7), (50, 1000)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    low, high = metrics.wilson(successes, n)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def area(distances: np.ndarray, limit: float) -> float:
    """The area under the robust accuracy up to a limit, by adding up its steps."""
    steps = np.unique(np.concatenate([[0.0, limit], distances[distances < limit]]))
    return float((metrics.robust_accuracy(distances, steps[:-1]) * np.diff(steps)).sum())


@given(
    hnp.arrays(np.float64, 12, elements=st.floats(0, 5, width=32)),
    hnp.arrays(np.float64, 12, elements=st.one_of(st.floats(0, 3, width=32), st.just(float("inf")))),
)
def test_optimality_is_the_ratio_of_areas_under_the_curves(best: np.ndarray, excess: np.ndarray) -> None:
    distances = np.where(best > 0, best + excess, 0.0)  # a misclassified image is at distance 0 for every attack
    limit = best.max()
    nothing = np.where(best > 0, INF, 0.0)
    whole = area(nothing, limit) - area(best, limit) if limit > 0 else 0.0
    value = metrics.optimality(distances, best)
    if whole <= 1e-9 * limit or limit == 0:
        return
    assert value == pytest.approx((area(nothing, limit) - area(distances, limit)) / whole, abs=1e-7)
    assert -1e-9 <= value <= 1 + 1e-9


def test_optimality_of_doing_nothing_and_of_the_optimum() -> None:
    best = np.array([0.0, 1.0, 2.0, 4.0])
    assert metrics.optimality(np.where(best > 0, INF, 0.0), best) == pytest.approx(0)
    assert metrics.optimality(best, best) == pytest.approx(1)
    # By hand: eps0 = 4, rho0 = 3/4; nothing 3, optimum 7/4, this attack (0 + 2 + 2 + 4)/4 = 2: (3 - 2)/(3 - 7/4).
    assert metrics.optimality([0, 2, 2, 4], best) == pytest.approx(0.8)


def test_optimality_agrees_with_numerical_integration_on_healthy_data() -> None:
    """AttackBench integrates robust accuracy curves; with fine steps and the right end that is the closed form."""
    rng = np.random.default_rng(1)
    best = rng.lognormal(size=2000)
    distances = best * (1 + rng.exponential(0.1, 2000))
    grid = np.linspace(0, best.max(), 20_001)
    areas = [
        integrate.trapezoid(metrics.robust_accuracy(values, grid), grid)
        for values in (np.full(2000, INF), distances, best)
    ]
    expected = (areas[0] - areas[1]) / (areas[0] - areas[2])
    assert metrics.optimality(distances, best) == pytest.approx(expected, abs=0.002)


def test_optimality_has_no_noise_at_its_ends() -> None:
    best = np.random.default_rng(0).lognormal(size=33)
    assert metrics.optimality(np.full(33, INF), best) == 0
    assert str(metrics.optimality(np.full(33, INF), best)) == "0.0"
    assert metrics.optimality(best, best) == 1


def test_optimality_says_where_it_is_not_defined() -> None:
    assert np.isnan(metrics.optimality([], []))
    assert np.isnan(metrics.optimality([1, INF], [1, INF]))
    assert np.isnan(metrics.optimality([2, 3], [2, 2]))
    assert np.isnan(metrics.optimality([0, 0], [0, 0]))
    with pytest.raises(ValueError, match="below the best"):
        metrics.optimality([1, 1], [1, 2])
    with pytest.raises(ValueError, match="one of each"):
        metrics.optimality([1], [1, 2])
    assert np.isnan(metrics.global_optimality([0.5, np.nan]))
    assert metrics.global_optimality([0.5, 1.0]) == 0.75


@pytest.mark.parametrize("n", [7, 8, 51])
def test_the_median_interval_is_the_ordinary_bootstraps(n: int) -> None:
    values = np.random.default_rng(n).lognormal(size=n)
    drawn = np.random.default_rng(0).choice(values, (40_000, n))
    expected = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    assert metrics.median_interval(values, resamples=40_000) == pytest.approx(tuple(expected), rel=0.05)


def test_the_median_interval_covers_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    truth = np.log(2)
    samples = rng.exponential(size=(300, 41))
    covered = [low <= truth <= high for low, high in map(metrics.median_interval, samples)]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_intervals_of_censored_and_degenerate_distances() -> None:
    assert metrics.median_interval([INF, INF, INF]) == (INF, INF)
    low, high = metrics.median_interval([1, 2, 3, INF, INF])
    assert low == 1
    assert high == INF
    assert metrics.median_interval([2.0]) == (2.0, 2.0)
    assert np.isnan(metrics.median_interval([])).all()


def test_the_robust_accuracy_interval_is_binomial() -> None:
    values = np.r_[np.zeros(30), np.full(70, 2.0)]
    low, high = metrics.robust_accuracy_interval(values, 1.0, resamples=20_000)
    expected = stats.binom(100, 0.7).ppf([0.025, 0.975]) / 100
    assert (low, high) == pytest.approx(tuple(expected), abs=0.011)


@given(
    hnp.arrays(np.float64, 15, elements=st.floats(0, 9, width=32), unique=True),
    hnp.arrays(np.float64, 15, elements=st.floats(10, 19, width=32), unique=True),
)
@settings(max_examples=25)
def test_signed_ranks_are_scipys_wilcoxon(a: np.ndarray, b: np.ndarray) -> None:
    mixed = np.where(np.arange(15) % 3 == 0, b, a)
    other = np.where(np.arange(15) % 3 == 0, a, b)
    effect, p = resample.signed_ranks(mixed, other)
    difference = mixed - other
    ties = len(np.unique(np.abs(difference))) < 15
    if not ties:
        assert p == pytest.approx(stats.wilcoxon(difference, method="exact").pvalue)
    ranks = stats.rankdata(np.abs(difference))
    positive, negative = ranks[difference > 0].sum(), ranks[difference < 0].sum()
    assert effect == pytest.approx((positive - negative) / (positive + negative))


def test_signed_ranks_of_equal_and_infinite_pairs() -> None:
    assert resample.signed_ranks(np.array([1.0, INF]), np.array([1.0, INF])) == (0.0, 1.0)
    effect, p = resample.signed_ranks(np.array([1, 2, INF, INF, 5.0]), np.array([0, 1, 2, 3, 4.0]))
    assert effect == 1
    assert p < 0.07


def test_paired_finds_a_shift_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(5)
    easy = rng.lognormal(size=200)
    result = metrics.paired(easy + 0.5, easy)
    assert result.wins == 1
    assert result.effect == 1
    assert result.p < 1e-6
    assert result.low <= 0.5 <= result.high
    assert result.high - result.low < 0.2, "pairing keeps the images' own spread out"
    nothing = metrics.paired(easy, easy)
    assert (nothing.difference, nothing.low, nothing.high, nothing.p) == (0, 0, 0, 1)


def test_paired_with_undefined_difference() -> None:
    result = metrics.paired([INF, INF, 1], [INF, INF, 2])
    assert np.isnan(result.difference)
    with pytest.raises(ValueError, match="pair"):
        metrics.paired([1], [1, 2])


def test_resampled_medians_keep_images_together() -> None:
    values = np.random.default_rng(0).lognormal(size=(60, 1)) * np.array([[1.0, 2.0]])
    medians = resample.resampled_medians(values, resamples=300)
    np.testing.assert_allclose(medians[:, 1], 2 * medians[:, 0])


def test_signed_ranks_of_few_tied_pairs_are_those_of_all_signs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(0, 4, 7).astype(np.float64) for _ in range(2))
        kept = (a - b)[a != b]
        if not len(kept):
            continue
        ranks = stats.rankdata(np.abs(kept))
        signs = np.array(list(itertools.product([0, 1], repeat=len(kept))))
        sums = signs @ ranks
        smaller = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
        expected = min(1.0, 2 * (sums <= smaller + 1e-9).mean())
        assert resample.signed_ranks(a, b)[1] == pytest.approx(expected)


def test_the_smallest_p_is_that_of_a_clear_order() -> None:
    for pairs in (1, 4, 6, 20):
        a = np.linspace(1, pairs, pairs)
        assert resample.signed_ranks(a, np.zeros(pairs))[1] == pytest.approx(resample.smallest_p(pairs))


def test_holm_leaves_out_what_is_no_test() -> None:
    adjusted = metrics.holm([0.01, np.nan, 0.04, 0.03])
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.06, 0.06])


def test_holm_by_hand() -> None:
    assert metrics.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert metrics.holm([]).tolist() == []


def test_front_by_hand() -> None:
    cost = [1, 2, 3, 2, np.nan]
    quality = [5, 3, 3, 4, 1]
    assert metrics.front(cost, quality).tolist() == [True, True, False, False, False]
    assert metrics.front([1, 1], [1, 1]).tolist() == [True, True], "equal points do not beat one another"


def test_round_grid() -> None:
    assert round_grid(np.linspace(0, 1, 101), 5) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert round_grid(np.array([1.0, 2, 3, 4, 5, 6]), 5, whole=True) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert round_grid(np.array([INF, 0.0]), 5) == []


# On runs.


def evidence_of(run: synthetic.SyntheticRun) -> metrics.Evidence:
    return metrics.evidence(run.records(), run.manifest)


@pytest.fixture(scope="module")
def healthy() -> metrics.Evidence:
    return evidence_of(synthetic.run(samples=40, seed=2))


def small(*records: dict[str, object], samples: int = 3) -> metrics.Evidence:
    """A run of DDN in both libraries, HopSkipJump and exact L2 distances, with these records."""
    rows = (
        synthetic.attack(synthetic.REFERENCE, Norm.L2),
        synthetic.attack(synthetic.REFERENCE, Norm.L2, "art"),
        synthetic.attack(synthetic.DEEPFOOL, Norm.LINF),
        synthetic.attack(synthetic.HSJ, Norm.L2),
        synthetic.verifier(Norm.L2),
    )
    suite = Suite(name="small", description="", rows=rows, samples=samples)
    content = synthetic.manifest(suite, ["MLP"], samples)
    return metrics.evidence(synthetic.frame(records), content)


def found(image: int, l2: float, linf: float = 0.5, **other: object) -> dict[str, object]:
    return {"image": image, "l0": 1.0, "l1": 1.0, "l2": l2, "linf": linf} | other


def test_best_takes_every_candidate_in_every_norm() -> None:
    evidence = small(
        found(0, 2.0),
        found(0, 1.5, 0.1, attack="foolbox-deepfool-linf", norm="linf"),
        {"image": 1, "status": "not_found"},
        found(1, 3.0, 0.2, attack="foolbox-deepfool-linf", norm="linf"),
        {"image": 2, "status": "misclassified", "l0": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0},
    )
    best = evidence.best[evidence.best["norm"] == "l2"].set_index("image")
    assert best["distance"].tolist() == [1.5, 3.0, 0.0]
    assert best["attack"].astype(str).tolist()[:2] == ["foolbox-deepfool-linf"] * 2
    assert best["misclassified"].tolist() == [False, False, True]


def test_of_equal_distances_the_attack_of_that_norm_is_named() -> None:
    evidence = small(
        found(0, 2.0, attack="foolbox-deepfool-linf", norm="linf"), found(0, 2.0, attack="art-reference-l2")
    )
    best = evidence.best.set_index("norm")["attack"].astype(str)
    assert best["l2"] == "art-reference-l2"
    assert best["linf"] == "foolbox-deepfool-linf"


def test_exact_where_the_bounds_meet() -> None:
    exact_row: dict[str, Any] = {"attack": "certify-exact-l2", "library": "certify", "kind": "exact"}
    evidence = small(
        found(0, 2.0),
        found(0, 1.0, **exact_row, lower=0.99995),
        found(1, 2.0),
        {"image": 1, "status": "not_found", "lower": 1.0} | exact_row,
        found(2, 2.0),
        {"image": 2, "status": "unsupported", "message": "no verifier"} | exact_row,
    )
    best = evidence.best[evidence.best["norm"] == "l2"].set_index("image")
    assert best["exact"].tolist() == [True, False, False]
    assert best["lower"].tolist() == [0.99995, 1.0, 0.0]
    ratios = exact.ratios(evidence).set_index("image")
    assert ratios["ratio"].tolist() == [2.0, 1.0]
    assert ratios["most"].tolist() == [2.0, 2.0]
    table = exact.table(evidence).iloc[0]
    assert (table["solved"], table["open"], table["median"], table["open_most"]) == (1, 1, 2.0, 2.0)


def test_a_bound_where_an_exact_search_stops_is_exact() -> None:
    row: dict[str, Any] = {"attack": "certify-exact-l2", "library": "certify", "kind": "exact"}
    distances = np.random.default_rng(0).lognormal(size=30)
    lines = [found(i, float(d), **row, lower=float(d) * (1 - 1e-4)) for i, d in enumerate(distances)]
    lines += [found(40, 1.0, **row, lower=1 - 1.01e-4)]
    best = small(*lines, samples=41).best
    assert best.loc[best["norm"] == "l2", "exact"].tolist() == [True] * 30 + [False]


def test_several_channels_count_values_and_pixels() -> None:
    table = metrics.METRICS["networks"](evidence_of(synthetic.run(samples=10, domain=synthetic.COLOURS)))
    l0 = table[table["norm"] == "l0"]
    assert (l0["pixels"] <= l0["median"]).all()
    assert table.loc[table["norm"] != "l0", "pixels"].isna().all()
    grey = metrics.METRICS["networks"](evidence_of(synthetic.run(samples=5)))
    assert grey["pixels"].isna().all()


def test_summary_counts_every_record_once_and_censors() -> None:
    evidence = small(
        found(0, 2.0, seconds=1.0),
        {"image": 1, "status": "timeout", "message": "too long", "seconds": 3.0},
        {"image": 2, "status": "misclassified", "l0": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0, "seconds": 0.0},
        found(1, 4.0, attack="art-reference-l2", library="art"),
    )
    table = metrics.METRICS["summary"](evidence).set_index("attack")
    line = table.loc["foolbox-reference-l2"]
    assert (line["images"], line["found"], line["failed"], line["misclassified"], line["not_found"]) == (3, 1, 1, 1, 0)
    assert line["found_rate"] == 0.5
    assert line["median"] == 2.0
    assert line["q3"] == INF
    assert line["seconds"] == 2.0
    assert line["ratio"] == INF, "of two images the attack found nothing on one: the middle is infinite"


def test_an_attack_adds_what_cheaper_ones_do_not_find() -> None:
    evidence = small(
        *(found(i, l2, seconds=1.0) for i, l2 in enumerate((2.0, 3.0))),
        {"image": 2, "status": "not_found", "seconds": 1.0},
        *(
            found(i, l2, seconds=2.0, attack="art-reference-l2", library="art")
            for i, l2 in enumerate((1.0, 2.999, 4.0))
        ),
        found(0, 9.0, linf=0.1, attack="foolbox-deepfool-linf", norm="linf", seconds=9.0),
    )
    adds = metrics.METRICS["summary"](evidence).set_index("attack")["adds"]
    assert adds["foolbox-reference-l2"] == pytest.approx(2 / 3), "the cheapest adds all that it finds"
    assert adds["art-reference-l2"] == pytest.approx(2 / 3), "the image on which it is nearer by less is not added"
    assert adds["foolbox-deepfool-linf"] == 1.0, "attacks of other norms are no rivals"


def test_what_adds_nothing_is_nearer_on_no_image() -> None:
    evidence = small(
        *(found(i, 1.0, seconds=1.0) for i in range(3)),
        *(found(i, 1.0 + i, seconds=2.0, attack="art-reference-l2", library="art") for i in range(3)),
    )
    assert metrics.METRICS["summary"](evidence).set_index("attack")["adds"]["art-reference-l2"] == 0.0


def test_summary_of_a_healthy_run(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["summary"](healthy)
    attacks = [row for row in synthetic.SUITE.rows if row.kind is Kind.UPPER]
    assert len(table) == 4 * len(attacks)
    assert (table["ratio"].dropna() >= 1).all()
    assert table["optimality"].dropna().between(0, 1).all()
    reference = table[table["title"] == "DDN"]
    assert (reference["ratio"] < 1.01).all()
    assert (table["median_low"] <= table["median"]).all()
    assert (table["median"] <= table["median_high"]).all()


def test_summary_agrees_with_plain_pandas(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["summary"](healthy)
    for line in table[table["norm"] == "l2"].to_dict("records"):
        records = healthy.records
        own = records[(records["network"] == line["network"]) & (records["attack"] == line["attack"])]
        if np.isfinite(own["l2"]).all():
            assert line["median"] == pytest.approx(own["l2"].median())
        assert line["images"] == len(own)


def test_networks_rank_as_they_were_made(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["networks"](healthy)
    for _, group in table.groupby("norm"):
        assert group["network"].tolist() == ["MLP", "MLP_d", "CNN", "CNN_d"], "in the manifest's order"
        assert group["first"].sum() == pytest.approx(1)
        assert (group["certified"] <= group["median"]).all()
        assert group.set_index("network")["first"].idxmax() == "CNN_d"


def test_differences_are_paired_and_adjusted(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["differences"](healthy)
    assert len(table) == 3 * 6
    assert (table["p_holm"] >= table["p"]).all()
    assert (table["median_a"] >= table["median_b"]).all()
    strong = table[(table["network_a"] == "CNN_d") & (table["network_b"] == "MLP")]
    assert (strong["p_holm"] < 1e-4).all()
    assert (strong["low"] > 0).all()


def test_no_difference_is_claimed_between_networks_that_are_alike() -> None:
    run = synthetic.run(networks=("one", "two"), samples=60, seed=4)
    table = metrics.METRICS["differences"](evidence_of(run))
    assert ((table["low"] <= 0) & (table["high"] >= 0) | (table["p_holm"] > 0.01)).all()


def library_run(factor: float, queries: tuple[float, float] = (100, 100)) -> metrics.Evidence:
    rng = np.random.default_rng(0)
    lines = []
    for image in range(30):
        distance = float(rng.lognormal())
        lines.append(found(image, distance, forwards=queries[1], backwards=0))
        other = distance * factor * float(np.exp(rng.normal(0, 0.01)))
        lines.append(found(image, other, attack="art-reference-l2", library="art", forwards=queries[0], backwards=0))
    return small(*lines, samples=30)


def test_agreement_names_the_worse_library() -> None:
    line = metrics.METRICS["agreement"](library_run(1.5)).iloc[0]
    assert (line["library_a"], line["library_b"], line["worse"]) == ("art", "foolbox", "art")
    assert line["ratio"] == pytest.approx(1.5, rel=0.02)
    assert line["low"] <= 1.5 <= line["high"]
    assert (line["wins_a"], line["wins_b"]) == (0, 1)


@pytest.mark.parametrize(("queries", "worse"), [((79, 100), ""), ((81, 100), "art"), ((1000, 100), "art")])
def test_no_verdict_on_a_library_that_had_fewer_queries(queries: tuple[float, float], worse: str) -> None:
    evidence = library_run(1.5, queries)
    line = metrics.METRICS["agreement"](evidence).iloc[0]
    assert (line["queries_a"], line["queries_b"]) == queries
    assert (line["larger"], line["worse"]) == ("art", worse)
    choice = metrics.library_choice(evidence)
    assert choice.unequal == (not worse)
    assert choice.best == (("foolbox",) if worse else ("art", "foolbox"))


def test_agreement_stays_silent_within_chance() -> None:
    line = metrics.METRICS["agreement"](library_run(1.0)).iloc[0]
    assert line["worse"] == ""
    assert line["ratio"] == pytest.approx(1, abs=0.01)


def test_agreement_compares_the_libraries_own_code_alone() -> None:
    table = metrics.METRICS["agreement"](evidence_of(synthetic.run(samples=12)))
    attacks = {*table["attack_a"], *table["attack_b"]}
    assert "paper-deepfool-linf" not in attacks, "a port is ours"
    assert "art-cw-repaired-l2" not in attacks, "a variant is another attack"
    assert {"art-deepfool-l2", "foolbox-deepfool-l2", "art-cw-l2"} <= attacks
    capped = table[(table["attack_a"] == "art-cw-l2") & (table["network"] == "CNN")]
    assert capped["images"].item() <= 10, "on the images that both were run on"


def test_the_library_to_use_is_the_one_that_is_least_often_worse() -> None:
    choice = metrics.library_choice(library_run(1.5))
    assert (choice.methods, choice.best, choice.worse) == (1, ("foolbox",), {"art": 1, "foolbox": 0})
    assert choice.settled
    assert metrics.library_choice(library_run(1.0)).best == ("art", "foolbox")


def test_no_library_is_named_where_no_test_could_reject() -> None:
    few = [found(image, 1.0) for image in range(4)]
    few += [found(image, 5.0, attack="art-reference-l2", library="art") for image in range(4)]
    choice = metrics.library_choice(small(*few, samples=4))
    assert choice.reachable == 0.125
    assert not choice.settled
    assert choice.best == ()
    assert np.isnan(metrics.library_choice(small(found(0, 1.0))).reachable)


def test_leaders_lead_and_the_distrusted_do_not(healthy: metrics.Evidence) -> None:
    leaders = metrics.leaders(healthy)
    assert [(leader.norm, leader.network, leader.other) for leader in leaders] == [
        (norm, "CNN_d", "CNN") for norm in (Norm.L0, Norm.L2, Norm.LINF)
    ]
    for leader in leaders:
        best = healthy.best[(healthy.best["norm"] == leader.norm.value) & (healthy.best["network"] == "CNN_d")]
        assert leader.median == pytest.approx(best["distance"].median())
    others = metrics.leaders(healthy, ["CNN_d"])
    assert [leader.network for leader in others] == ["CNN"] * 3
    assert not metrics.leaders(healthy, healthy.networks)


def test_pairs_are_compared_on_the_images_that_the_two_have() -> None:
    run = synthetic.run(samples=20, seed=3, networks=("one", "two", "three"), clean_errors=0)
    frame = run.records()
    few = frame[(frame["network"] != "three") | (frame["image"] < 6)]
    table = metrics.METRICS["differences"](metrics.evidence(few, run.manifest))
    images = {frozenset((line.network_a, line.network_b)): line.images for line in table.itertuples()}
    assert images == {
        frozenset(("one", "two")): 20, frozenset(("one", "three")): 6, frozenset(("two", "three")): 6
    }  # fmt: skip


def test_the_recommended_attack_is_the_nearest_to_the_best_known(healthy: metrics.Evidence) -> None:
    scores = metrics.attack_scores(healthy).set_index("attack")
    assert not scores.loc["art-cw-l2", "complete"]
    for one in metrics.recommended(healthy):
        complete = scores[(scores["norm"] == one.norm.value) & scores["complete"]]
        assert one.ratio == complete["ratio"].min()
        assert one.among == len(complete)


def test_agreement_of_failures() -> None:
    ratios = agreement.relative(np.array([INF, INF, 1.0]), np.array([INF, 1.0, INF]))
    assert ratios.tolist() == [1.0, INF, 0.0]


def test_class_changes_sum_to_one(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["class_changes"](healthy)
    assert (table["label"] != table["adversarial_class"]).all()
    fractions = table.groupby(["network", "norm", "label"], observed=True)["fraction"].sum()
    assert fractions.to_numpy() == pytest.approx(1)


def test_class_medians_by_hand() -> None:
    evidence = small(found(0, 2.0, label=7), found(1, 4.0, label=7), found(2, 1.0, label=3))
    table = metrics.METRICS["class_medians"](evidence)
    medians = table[table["norm"] == "l2"].set_index("label")["median"]
    assert medians.to_dict() == {3: 1.0, 7: 3.0}


ART: dict[str, Any] = {"attack": "art-reference-l2", "library": "art"}
HSJ: dict[str, Any] = {"attack": "foolbox-hsj-l2"}


def three_attacks() -> metrics.Evidence:
    """Best known distances 1, 2, 3 and 4; each attack has its own."""
    return small(
        *(found(i, l2) for i, l2 in enumerate((1.0, 2.0005, 4.5, 8.0))),
        *(found(i, l2, **ART) for i, l2 in enumerate((1.5, 2.0, 3.0, 8.0))),
        *(found(i, l2, **HSJ) for i, l2 in enumerate((2.0, 9.0, 3.0))),
        {"image": 3, "status": "not_found"} | HSJ,
        *(found(i, 9.0, linf=0.1, attack="foolbox-deepfool-linf", norm="linf") for i in range(3)),
        found(3, 4.0, linf=0.1, attack="foolbox-deepfool-linf", norm="linf"),
        samples=4,
    )


def test_profiles_are_the_distribution_of_the_ratio_to_the_best() -> None:
    table = metrics.METRICS["profiles"](three_attacks())
    steps = {
        str(attack): list(zip(group["ratio"], group["fraction"], strict=True))
        for attack, group in table.groupby("attack")
    }
    assert steps["foolbox-reference-l2"] == [(1.0, 0.25), (pytest.approx(1.00025), 0.5), (1.5, 0.75), (2.0, 1.0)]
    assert steps["art-reference-l2"] == [(1.0, 0.5), (1.5, 0.75), (2.0, 1.0)]
    assert steps["foolbox-hsj-l2"] == [(1.0, 0.25), (2.0, 0.5), (4.5, 0.75)], "one image has none"
    assert (table["pairs"] == 4).all()


def test_exact_profiles_are_of_solved_images_alone() -> None:
    exact_row: dict[str, Any] = {"attack": "certify-exact-l2", "library": "certify", "kind": "exact"}
    evidence = small(
        *(found(i, l2) for i, l2 in enumerate((1.0, 3.0, 5.0))),
        *(found(i, 2.0, lower=2.0, **exact_row) for i in (1,)),
        *({"image": i, "status": "not_found", "lower": 0.5} | exact_row for i in (0, 2)),
    )
    table = metrics.METRICS["exact_profiles"](evidence)
    assert table[["pairs", "ratio", "fraction"]].to_numpy().tolist() == [[1, 1.0, 0.0], [1, 1.5, 1.0]]


def test_who_contributes_by_hand() -> None:
    table = metrics.METRICS["contributions"](three_attacks())
    own = table[table["norm"] == "l2"]
    # Image 0 is the first attack's alone, 1 of both DDNs, 2 of ART's and HopSkipJump, 3 of an attack on Linf.
    assert own["attack"].tolist() == ["art-reference-l2", "foolbox-reference-l2", "foolbox-hsj-l2"]
    assert own["reaches"].tolist() == [0.5, 0.5, 0.25]
    assert own["alone"].tolist() == [0.0, 0.25, 0.0]
    assert own["together"].tolist() == [0.5, 0.75, 0.75]
    assert own["pairs"].tolist() == [4, 4, 4]
    assert table[table["norm"] == "linf"][["reaches", "alone", "together"]].to_numpy().tolist() == [[1.0, 1.0, 1.0]]


def test_of_two_equal_attacks_neither_is_alone() -> None:
    evidence = small(*(found(i, 1.0) for i in range(3)), *(found(i, 1.0005, **ART) for i in range(3)))
    table = metrics.METRICS["contributions"](evidence)
    assert table["alone"].tolist() == [0.0, 0.0]
    assert table["reaches"].tolist() == [1.0, 1.0]


def test_attacks_are_in_order_with_methods_together_and_those_on_fewer_images_last() -> None:
    order = metrics.METRICS["attack_order"](three_attacks())
    assert order["attack"].tolist() == [
        "art-reference-l2", "foolbox-reference-l2", "foolbox-hsj-l2", "foolbox-deepfool-linf",
    ]  # fmt: skip
    assert order["number"].tolist() == [1, 2, 3, 1]
    assert order["score"].tolist() == pytest.approx([1.25, 1.250125, 3.25, 1.0])
    # The best of all, on one image, comes after what was run on all; a method stays together.
    few = small(found(0, 1.0, **ART), *(found(i, 3.0) for i in range(3)), *(found(i, 2.0, **HSJ) for i in range(3)))
    order = metrics.METRICS["attack_order"](few)
    assert order["attack"].tolist() == ["foolbox-hsj-l2", "foolbox-reference-l2", "art-reference-l2"]
    assert order["complete"].tolist() == [True, True, False]


def test_duels_pair_the_images_of_two_networks(healthy: metrics.Evidence) -> None:
    table = metrics.METRICS["duels"](healthy)
    pairs = table.groupby("norm")[["network_a", "network_b"]].apply(lambda group: len(group.drop_duplicates()))
    assert pairs.to_dict() == {"l0": 6, "l2": 6, "linf": 6}
    best = (
        healthy.best[healthy.best["norm"] == "l2"].astype({"network": str}).set_index(["network", "image"])["distance"]
    )
    own = table[table["norm"] == "l2"]
    for line in own.to_dict("records"):
        for side in "ab":
            assert line[f"distance_{side}"] == best[line[f"network_{side}"], line["image"]]
    medians = own.groupby(["network_a", "network_b"])[["distance_a", "distance_b"]].median()
    assert (medians["distance_a"] >= medians["distance_b"]).all()


def test_of_many_networks_the_most_robust_duel() -> None:
    names = tuple(f"n{place}" for place in range(9))
    evidence = evidence_of(synthetic.run(networks=names, samples=6, seed=4))
    own = metrics.METRICS["duels"](evidence)
    own = own[own["norm"] == "l2"]
    medians = evidence.best[evidence.best["norm"] == "l2"].groupby("network", observed=True)["distance"].median()
    assert {*own["network_a"], *own["network_b"]} == set(medians.sort_values().index[-6:])
    assert len(own) == 15 * 6


def test_passes_add_up_and_have_a_front_of_their_own() -> None:
    evidence = small(
        *(found(i, 1.0, seconds=2.0, forwards=5.0, backwards=1.0) for i in range(3)),
        *(found(i, 2.0, seconds=1.0, forwards=4.0, backwards=4.0, **ART) for i in range(3)),
    )
    table = metrics.METRICS["cost"](evidence).set_index("attack")
    assert table["passes"].to_dict() == {"foolbox-reference-l2": 6.0, "art-reference-l2": 8.0}
    assert table["front"].tolist() == [True, True]
    assert table["front_passes"].to_dict() == {"foolbox-reference-l2": True, "art-reference-l2": False}


def test_invariants_hold_and_break() -> None:
    run = synthetic.run(samples=10)
    assert all(rule.holds for rule in metrics.invariants(evidence_of(run), run.manifest))
    lines = [found(0, 2.0), found(1, 2.0, attack="certify-exact-l2", kind="exact", library="certify")]
    lines += [found(0, 3.0, attack="certify-exact-l2", kind="exact", library="certify", lower=2.5)]
    evidence = small(*lines, found(0, 2.0), {"image": 2, "status": "found"})
    rules = {rule.name: rule for rule in metrics.invariants(evidence, {"planned": 9, "status": "finished"})}
    assert [rules[name].holds for name in ("complete", "unique", "consistent", "bounded")] == [False] * 4
    assert "5 of 9" in rules["complete"].detail
    assert "bound 2.5" in rules["bounded"].detail
    broken = metrics.violations(evidence)
    assert broken[["image", "distance", "lower"]].to_numpy().tolist() == [[0, 2.0, 2.5]]


def test_an_interrupted_run_is_incomplete_but_breaks_nothing() -> None:
    run = synthetic.run(samples=5)
    content = run.manifest | {"status": "interrupted", "planned": 10_000}
    rules = {rule.name: rule.holds for rule in metrics.invariants(evidence_of(run), content)}
    assert rules["complete"] is None


def test_rounding_of_an_exact_bound_is_no_violation() -> None:
    evidence = small(
        found(0, 1.0), found(0, 1.0, attack="certify-exact-l2", kind="exact", library="certify", lower=1.0 + 1e-12)
    )
    assert len(metrics.violations(evidence)) == 0


def asked(image: int, distance: float, curve: tuple[float, ...] | None, queries: float) -> dict[str, Any]:
    """A record of a decision-based attack."""
    return found(image, distance, attack="foolbox-hsj-l2", curve=curve, forwards=queries)


WRONG = {"status": "misclassified", "l0": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0}


def test_query_curves_are_medians_over_all_images_with_what_was_returned_at_the_end() -> None:
    evidence = small(
        asked(0, 3.0, (9.0, 5.0, 4.0), 4.0),
        asked(1, 2.0, (INF, 6.0), 2.0),  # its queries end sooner
        asked(2, 0.0, None, 0.0) | WRONG,
    )
    table = metrics.METRICS["query_curves"](evidence)
    assert table["queries"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table["returned"].tolist() == [False, False, False, True]
    assert table["median"].tolist() == [9.0, 5.0, 2.0, 2.0]
    assert table["q1"].tolist() == [4.5, 2.5, 1.0, 1.0]
    assert table["q3"].tolist() == [INF, 5.5, 3.0, 2.5]
    assert (table["images"] == 3).all()
    assert table["best"].isna().all(), "no attack that sees gradients was run"


def test_query_curves_know_the_best_distance_where_gradients_were_used_on_the_same_images() -> None:
    gradients = [found(image, 1.0 + image) for image in range(3)]
    curves = [asked(image, 4.0, (8.0, 8.0), 2.0) for image in range(3)]
    table = metrics.METRICS["query_curves"](small(*gradients, *curves))
    assert set(table["attack"]) == {"foolbox-hsj-l2"}
    assert (table["best"] == 2.0).all()
    assert metrics.METRICS["query_curves"](small(*gradients[:2], *curves))["best"].isna().all()


def test_an_attack_that_ended_without_a_curve_counts_as_nothing_found() -> None:
    timeout = {"attack": "foolbox-hsj-l2", "image": 1, "status": "timeout", "message": "too long", "curve": None}
    table = metrics.METRICS["query_curves"](small(asked(0, 3.0, (4.0,), 1.0), timeout | {"forwards": 0.0}))
    assert table["median"].tolist() == [INF, INF]
    assert table["q1"].tolist() == [INF, INF]


def test_query_curves_of_attacks_on_other_numbers_of_images_compare_the_common_ones(healthy: metrics.Evidence) -> None:
    records = healthy.records
    few = records[~((records["attack"] == "foolbox-hsj-l2") & (records["image"] >= 7))]
    table = metrics.METRICS["query_curves"](replace(healthy, records=few))
    images = table.groupby("norm")["images"].unique()
    assert [list(images[norm]) for norm in ("l0", "l2", "linf")] == [[40], [7], [40]]
    for _, line in table.groupby(["network", "attack"]):
        way = line.loc[~line["returned"], "median"].to_numpy()
        assert (way[1:] <= way[:-1]).all()


def test_a_run_of_an_older_format_has_no_query_curves(healthy: metrics.Evidence) -> None:
    older = replace(healthy, records=healthy.records.assign(curve=None))
    assert len(metrics.METRICS["query_curves"](older)) == 0


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_every_metric_takes_a_run_with_nothing_in_it(name: str) -> None:
    records = synthetic.frame([])
    frame = metrics.METRICS[name](metrics.evidence(records, synthetic.manifest(samples=1)))
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 0


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_every_metric_takes_a_run_in_which_nothing_was_found(name: str) -> None:
    evidence = small(*({"image": i, "status": "not_found"} for i in range(3)))
    assert isinstance(metrics.METRICS[name](evidence), pd.DataFrame)


def test_quantiles_are_for_sorted_values_of_any_sign() -> None:
    assert quantiles(np.array([-2.0, 0.0, INF]), np.array([0.25, 0.5, 1.0])).tolist() == [-1.0, 0.0, INF]


def test_ratio_is_not_defined_where_the_best_is_zero_or_unknown() -> None:
    ratios = tables.ratio(np.array([1.0, 0.0, INF, INF]), np.array([0.5, 0.0, INF, 2.0]))
    np.testing.assert_array_equal(ratios, [2.0, np.nan, np.nan, INF])


def test_a_by_product_of_another_norm_leads_nowhere_and_is_compared_with_nothing() -> None:
    rows = (synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.verifier(Norm.LINF, Kind.LOWER))
    suite = Suite(name="other", description="", rows=rows, samples=20)
    evidence = evidence_of(synthetic.run(suite=suite, networks=("one", "two"), samples=20, clean_errors=0))
    assert [leader.norm for leader in metrics.leaders(evidence)] == [Norm.L2]
    assert set(metrics.METRICS["differences"](evidence)["norm"]) == {"l2"}
    table = metrics.METRICS["networks"](evidence)
    linf = table[table["norm"] == "linf"]
    assert linf["first"].isna().all()
    assert np.isfinite(linf["median"]).all(), "it still bounds the true distance"


def test_an_interrupted_run_ranks_no_network_by_images_that_no_attack_of_the_norm_reached() -> None:
    run = synthetic.run(networks=("one", "two"), samples=20, clean_errors=0)
    frame = run.records()
    kept = frame[(frame["norm"] != "linf") | (frame["image"] < 5)]
    evidence = metrics.evidence(kept, run.manifest)
    assert Norm.LINF not in [leader.norm for leader in metrics.leaders(evidence)]
    differences = metrics.METRICS["differences"](evidence).set_index("norm")
    assert differences["images"].to_dict() == {"l0": 20, "l2": 20, "linf": 5}


def test_an_exact_search_minimises_its_norm() -> None:
    rows = (synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.verifier(Norm.LINF))
    suite = Suite(name="other", description="", rows=rows, samples=20)
    evidence = evidence_of(synthetic.run(suite=suite, networks=("one", "two"), samples=20, clean_errors=0))
    assert [leader.norm for leader in metrics.leaders(evidence)] == [Norm.L2, Norm.LINF]


def test_a_network_that_is_right_on_nothing_does_not_spoil_the_choice_of_an_attack() -> None:
    run = synthetic.run(networks=("one", "two"), samples=10, clean_errors=0)
    frame = run.records()
    wrong = frame["network"] == "two"
    frame["status"] = frame["status"].astype(str).where(~wrong, "misclassified")
    frame.loc[wrong, [*(norm.value for norm in Norm), "pixels", "lower"]] = 0.0
    evidence = metrics.evidence(frame, run.manifest)
    alone = metrics.evidence(frame[~wrong], run.manifest)
    assert metrics.recommended(evidence) == metrics.recommended(alone)
    assert all(one.attack for one in metrics.recommended(evidence))
