"""Rules for all input."""

import pytest

from chassis.testing import input_walk


def test_every_text_has_a_maximum_length():
    assert list(input_walk.uncapped_texts("tasks", "notifications")) == []


@pytest.mark.django_db
def test_responses_quote_at_most_one_line_of_input(ada, alice):
    assert list(input_walk.echoes(ada, alice)) == []
