"""The ramp filter: its kernel, its windows, its padding, on both libraries."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.recon.filters import (
    RowFilter,
    Window,
    fast_length,
    filter_response,
    ramp_kernel,
    window_profile,
)


def test_kernel_is_the_band_limited_ramp():
    kernel = ramp_kernel(16)
    assert kernel[0] == 0.25
    assert kernel[2] == kernel[4] == 0.0
    assert kernel[3] == pytest.approx(-1 / (9 * np.pi**2))
    np.testing.assert_allclose(kernel[1:], kernel[1:][::-1])


def test_response_approaches_the_ramp_and_keeps_a_small_mean():
    response = filter_response(4096)
    ramp = np.arange(2049) / 4096
    np.testing.assert_allclose(response, ramp, atol=2e-4)
    assert 0 < response[0] < 1e-3  # |w| sampled in frequency would have 0 and shift the image


@pytest.mark.parametrize(
    ("window", "at_half", "at_cutoff"),
    [
        (Window.RAM_LAK, 1.0, 1.0),
        (Window.SHEPP_LOGAN, np.sin(np.pi / 4) / (np.pi / 4), 2 / np.pi),
        (Window.COSINE, np.sqrt(0.5), 0.0),
        (Window.HAMMING, 0.54, 0.08),
        (Window.HANN, 0.5, 0.0),
    ],
)
def test_windows_have_their_textbook_gains(window, at_half, at_cutoff):
    gains = window_profile(np.array([0.0, 0.3, 0.6, 0.61]), window, 0.6)
    np.testing.assert_allclose(gains, [1.0, at_half, at_cutoff, 0.0], atol=1e-12)


@pytest.mark.parametrize("cutoff", [0.0, -0.5, 1.01])
def test_an_impossible_cutoff_is_refused(cutoff):
    with pytest.raises(UsageError, match="fraction of Nyquist"):
        filter_response(64, Window.HANN, cutoff)


@pytest.mark.parametrize(("wish", "length"), [(2, 2), (7, 8), (14, 16), (31, 32), (513, 540)])
def test_padding_is_the_next_fast_length(wish, length):
    assert fast_length(wish) == length


def test_filtering_is_the_direct_convolution():
    rows = np.random.default_rng(0).normal(size=(2, 3, 37)).astype(np.float32)
    distance = np.abs(np.subtract.outer(np.arange(37), np.arange(37)))
    expected = rows @ ramp_kernel(200)[distance]
    filtered = rows.copy()
    RowFilter(37)(filtered)
    np.testing.assert_allclose(filtered, expected, atol=2e-6)


def test_tails_take_part_outwards():
    whole = np.random.default_rng(1).normal(size=(4, 40)).astype(np.float32)
    reference = whole.copy()
    RowFilter(40, window=Window.HANN)(reference)
    part = whole[:, 10:33].copy()
    row_filter = RowFilter(23, window=Window.HANN, extension=(10, 7))
    row_filter.apply(part, whole[:, :10][:, ::-1], whole[:, 33:])
    np.testing.assert_allclose(part, reference[:, 10:33], atol=1e-4)
    short = whole[:, 10:33].copy()
    RowFilter(23, window=Window.HANN)(short)
    assert np.abs(short - part).max() > 1e-2
