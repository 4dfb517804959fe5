#!/usr/bin/env python3
"""Bootstrap of the Chinchilla parametric fit: standard errors and the correlation matrix.

Besiroglu et al. 2024 (arXiv 2404.10102) publish standard errors of the refitted constants but not
how they correlate, and without the correlations the error of a predicted loss cannot be computed.
This script obtains them; its output is the source of `besiroglu_2024`'s uncertainty in
src/scaling_law/law_table.cpp.

Data: Epoch AI's reconstruction of Figure 4 of Hoffmann et al. 2022 (arXiv 2203.15556), public with
arXiv 2404.10102. The CSV needs the columns N, D and loss, one row per run (245). As in 2404.10102
the five runs with the highest loss are dropped, which leaves 240.

Fit: minimise the *sum* over runs of Huber_1e-3(LSE(a - alpha ln N, b - beta ln D, e) - ln loss)
with A = exp a, B = exp b, E = exp e (Hoffmann 2022, approach 3). The full data start from nine
points: a grid of exponents, with E, A and B by linear least squares, because at fixed exponents the
law is linear. Each resample starts from the full-data optimum and from three such points of its
own, and the best result is kept.

Usage: python3 bootstrap_correlation.py chinchilla_points.csv [--resamples 4000] [--seed 1]
Needs numpy and scipy.
"""

import argparse
import csv

import numpy as np
from scipy.optimize import minimize

HUBER_DELTA = 1e-3
DROPPED_RUNS = 5
PARAMETER_NAMES = ("E", "ln A", "ln B", "alpha", "beta")

# Where the delta method is compared with the spread of the resampled losses: Llama-2-7B-like, and
# Chinchilla itself.
CHECK_POINTS = ((6.9e9, 2.1e11), (7e10, 1.4e12))


def read_runs(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    n_params, n_tokens, loss = (
        np.array([float(row[name]) for row in rows]) for name in ("N", "D", "loss")
    )
    kept = np.argsort(loss)[: len(loss) - DROPPED_RUNS]
    return np.log(n_params[kept]), np.log(n_tokens[kept]), np.log(loss[kept])


def objective(parameters, log_n, log_d, log_loss, weights):
    """Weighted sum of Huber losses, and its gradient in (a, b, e, alpha, beta)."""
    a, b, e, alpha, beta = parameters
    terms = np.stack((a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)))
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    shares /= total
    residual = top + np.log(total) - log_loss
    clipped = np.clip(residual, -HUBER_DELTA, HUBER_DELTA)  # derivative of the Huber loss
    value = np.sum(weights * clipped * (residual - 0.5 * clipped))
    slope = weights * clipped
    gradient = np.array(
        (
            np.sum(slope * shares[0]),
            np.sum(slope * shares[1]),
            np.sum(slope * shares[2]),
            -np.sum(slope * shares[0] * log_n),
            -np.sum(slope * shares[1] * log_d),
        )
    )
    return value, gradient


# Newton-like steps need comparable scales; the Hessian of the raw parameters is badly conditioned
# because a and alpha trade off through the mean m of ln N. Centring removes most of it:
#   a - alpha ln N = (a - alpha m) - alpha (ln N - m).
def fit(start, log_n, log_d, log_loss, weights):
    centre_n, centre_d = log_n.mean(), log_d.mean()

    def from_centred(centred):
        a, b, e, alpha, beta = centred
        return np.array((a + alpha * centre_n, b + beta * centre_d, e, alpha, beta))

    def centred_objective(centred):
        value, gradient = objective(from_centred(centred), log_n, log_d, log_loss, weights)
        gradient = gradient.copy()
        gradient[3] += gradient[0] * centre_n
        gradient[4] += gradient[1] * centre_d
        return 1e3 * value, 1e3 * gradient

    a, b, e, alpha, beta = start
    centred_start = np.array((a - alpha * centre_n, b - beta * centre_d, e, alpha, beta))
    options = {"gtol": 1e-8, "maxiter": 500}
    result = minimize(centred_objective, centred_start, jac=True, method="BFGS", options=options)
    return result.fun / 1e3, from_centred(result.x)


def linear_start(alpha, beta, log_n, log_d, log_loss, weights):
    """E, A and B by weighted least squares on the loss itself, with both exponents fixed."""
    columns = np.stack(
        (np.exp(-alpha * log_n), np.exp(-beta * log_d), np.ones_like(log_n)), axis=1
    )
    scale = np.linalg.norm(columns, axis=0)
    root = np.sqrt(weights)
    matrix = columns / scale * root[:, None]
    solution, *_ = np.linalg.lstsq(matrix, np.exp(log_loss) * root, rcond=None)
    coefficients = np.maximum(solution / scale, 1e-3)  # a logarithm follows
    return np.array((*np.log(coefficients), alpha, beta))


def best_fit(starts, *data):
    return min((fit(start, *data) for start in starts), key=lambda candidate: candidate[0])


def to_reported(parameters):
    """(a, b, e, alpha, beta) -> (E, ln A, ln B, alpha, beta)"""
    a, b, e, alpha, beta = parameters
    return np.array((np.exp(e), a, b, alpha, beta))


def loss_and_gradient(reported, n_params, n_tokens):
    e, log_a, log_b, alpha, beta = reported
    model_size = np.exp(log_a - alpha * np.log(n_params))
    data = np.exp(log_b - beta * np.log(n_tokens))
    gradient = np.array(
        (1.0, model_size, data, -model_size * np.log(n_params), -data * np.log(n_tokens))
    )
    return e + model_size + data, gradient


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv_path")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    log_n, log_d, log_loss = read_runs(arguments.csv_path)
    runs = len(log_n)
    unit_weights = np.ones(runs)

    exponents = (0.2, 0.35, 0.5)
    starts = [
        linear_start(alpha, beta, log_n, log_d, log_loss, unit_weights)
        for alpha in exponents
        for beta in exponents
    ]
    value, optimum = best_fit(starts, log_n, log_d, log_loss, unit_weights)
    reported = to_reported(optimum)
    print(f"{runs} runs, objective {value:.13f}")
    print("optimum       ", dict(zip(PARAMETER_NAMES, reported.round(7).tolist())))
    print(f"               A {np.exp(reported[1]):.3f}  B {np.exp(reported[2]):.3f}")

    # Drawing with replacement is the same as weighting each run by how often it was drawn.
    generator = np.random.default_rng(arguments.seed)
    samples = np.empty((arguments.resamples, len(PARAMETER_NAMES)))
    for index in range(arguments.resamples):
        weights = np.bincount(generator.integers(0, runs, runs), minlength=runs).astype(float)
        drawn = weights > 0
        data = (log_n[drawn], log_d[drawn], log_loss[drawn], weights[drawn])
        restarts = [optimum] + [linear_start(alpha, alpha, *data) for alpha in exponents]
        samples[index] = to_reported(best_fit(restarts, *data)[1])

    standard_error = samples.std(axis=0, ddof=1)
    correlation = np.corrcoef(samples, rowvar=False)
    print(f"\n{arguments.resamples} resamples, seed {arguments.seed}")
    print("standard error", dict(zip(PARAMETER_NAMES, standard_error.round(6).tolist())))
    spread_of_a, spread_of_b = np.exp(samples[:, 1:3]).std(axis=0, ddof=1)
    print(f"               A {spread_of_a:.2f}  B {spread_of_b:.2f}")
    print(f"ratio          ln A : alpha {standard_error[1] / standard_error[3]:.4f}", end="  ")
    print(f"ln B : beta {standard_error[2] / standard_error[4]:.4f}")
    print("correlation of", ", ".join(PARAMETER_NAMES))
    for row in correlation:
        print("    {" + ", ".join(f"{value:.6f}" for value in row) + "},")

    print("\nstandard error of the loss: delta method at the optimum | spread over the resamples")
    covariance = correlation * np.outer(standard_error, standard_error)
    for n_params, n_tokens in CHECK_POINTS:
        _, gradient = loss_and_gradient(reported, n_params, n_tokens)
        losses = np.array([loss_and_gradient(sample, n_params, n_tokens)[0] for sample in samples])
        print(
            f"  N {n_params:.3g} D {n_tokens:.3g}: {np.sqrt(gradient @ covariance @ gradient):.6f}"
            f" | {losses.std(ddof=1):.6f}"
        )


if __name__ == "__main__":
    main()
