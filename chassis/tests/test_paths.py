import pytest
from django.urls import NoReverseMatch, reverse


@pytest.mark.parametrize("row_id", [1, 7, 10, 2**31, 2**63 - 1])
def test_an_id_in_a_path_finds_its_row(client, row_id):
    answer = client.get(f"/rows/{row_id}/")

    assert (answer.status_code, answer.json()) == (200, {"id": row_id})


@pytest.mark.parametrize(
    "spelling",
    [
        *("0", "-1", "-0", "+1", "01", "1.0", "1e5", "0x1", "1_000", "null", "me", "2**63", "1;x", "1,2", "1/../2"),
        *("1%20", "%201", "1%0a", "1%00", "%D9%A1", "%EF%BC%91", "%C2%B2", "1%252e", "..%2f1"),
        *(str(2**63), "9" * 19, "9" * 20, "1" * 5_000),
    ],
    ids=lambda value: value[:20],
)
def test_any_other_spelling_of_an_id_is_404(client, spelling):
    answer = client.get(f"/rows/{spelling}/")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("row_id", [0, -1, 2**64])
def test_only_a_valid_id_has_a_url(row_id):
    assert reverse("row", args=[7]) == "/rows/7/"
    with pytest.raises(NoReverseMatch):
        reverse("row", args=[row_id])
