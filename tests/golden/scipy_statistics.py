"""Means, errors, intervals, tests, quantiles and fits of some samples, by scipy."""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

LEVELS = [0.9, 0.95, 0.99]


def compared(first, second):
    """Welch's test of the second mean against the first, and its interval."""
    a, b = np.array(first), np.array(second)
    test = stats.ttest_ind(b, a, equal_var=False, alternative="less")
    both = stats.ttest_ind(b, a, equal_var=False)
    shifted = stats.ttest_ind(b + 0.5, a, equal_var=False, alternative="less")
    intervals = [list(both.confidence_interval(level)) for level in LEVELS]
    return {
        "first": first,
        "second": second,
        "difference": b.mean() - a.mean(),
        "freedom": test.df,
        "below_0": test.pvalue,
        "below_minus_half": shifted.pvalue,
        "intervals": intervals,
    }


def sample(values):
    x = np.array(values)
    interval = [stats.t.interval(level, len(x) - 1, x.mean(), stats.sem(x)) for level in LEVELS]
    return {
        "values": values,
        "mean": x.mean(),
        "standard_error": stats.sem(x),
        "median": np.median(x),
        "mad": stats.median_abs_deviation(x),
        "geometric_mean": stats.gmean(x),
        "half_widths": [(high - low) / 2 for low, high in interval],
        "quantiles": [[q, np.quantile(x, q)] for q in (0.0, 0.005, 0.25, 0.5, 0.9, 1.0)],
    }


def resampled(values):
    """Percentile intervals of the mean, from draws that leave little chance in them."""
    intervals = []
    for level in LEVELS:
        found = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=level,
            n_resamples=1_000_000,
            batch=100_000,
            method="percentile",
            rng=np.random.default_rng(5),
        )
        intervals.append([found.confidence_interval.low, found.confidence_interval.high])
    return {"values": values, "intervals": intervals}


def fitted(xs, ys):
    return {"x": xs, "y": ys, "exponent": stats.linregress(np.log(xs), np.log(ys)).slope}


def main():
    rng = np.random.default_rng(3)
    normal = lambda n, mean, std: [float(x) for x in np.float32(rng.normal(mean, std, n))]
    samples = [[36.1, 37.4], normal(3, 36, 0.4), normal(10, 5, 1), normal(101, 1e-3, 1e-4)]
    pairs = [
        (normal(2, 36, 0.4), normal(2, 35, 0.4)),
        (normal(5, 36, 0.4), normal(3, 36, 1.5)),
        (normal(10, 36, 0.4), normal(10, 35, 0.4)),
        (normal(30, 60, 2), normal(4, 61, 0.1)),
    ]
    lengths = [1024.0, 2048.0, 4096.0, 16384.0]
    seconds = [n**1.7 * 1e-6 * float(noise) for n, noise in zip(lengths, rng.normal(1, 0.1, 4))]
    found = {
        "scipy": scipy.__version__,
        "levels": LEVELS,
        "samples": [sample(values) for values in samples],
        "pairs": [compared(*pair) for pair in pairs],
        "bootstrap": [resampled(normal(5, 1, 0.05)), resampled(normal(20, 1, 0.2))],
        "fits": [fitted(lengths, seconds), fitted([64.0, 128.0], [3.0, 5.0])],
    }
    path = Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps(found, indent=1, default=float) + "\n")
    print(f"{path.name}: scipy {scipy.__version__}, {path.stat().st_size} bytes")


main()
