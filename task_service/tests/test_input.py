"""What holds for everything that takes input."""

import pytest

from chassis.testing import input_walk


def test_every_text_has_a_longest_length():
    assert list(input_walk.uncapped_texts("tasks", "notifications")) == []


@pytest.mark.django_db
def test_no_answer_repeats_more_than_a_line_of_what_was_sent(ada, alice):
    assert list(input_walk.echoes(ada, alice)) == []
