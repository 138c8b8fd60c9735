"""Each target of the fuzzer comes back from its seeds, and from what hypothesis makes of them."""

from __future__ import annotations

import pytest
from fuzz_targets import TARGETS, Target
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_target_comes_back(target: Target, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(target.seeds))
    at = data.draw(st.integers(0, len(seed)))
    cut = data.draw(st.integers(0, 8))
    target.run(seed[:at] + data.draw(st.binary(max_size=40)) + seed[at + cut :])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_target_takes_its_seeds(target: Target) -> None:
    for seed in target.seeds:
        target.run(seed)
