import pytest

from accounts.models import User
from tests.conftest import read_pages, status_and_fields

pytestmark = pytest.mark.django_db

URL = "/user/users/"


@pytest.fixture
def people(person, ada, alice, bob, ivan):
    """These four, Grace, who is a deactivated admin, and names with wildcards of LIKE."""
    person("Grace", role=User.Role.ADMIN, is_active=False)
    person("under_score", email="per%cent@elsewhere.example")
    person("underXscore", email="perXcent@elsewhere.example")


@pytest.fixture
def found(client_of, ada, people):
    def names(query):
        answer = client_of(ada).get(URL, query)
        assert answer.status_code == 200
        return {user["username"] for user in answer.json()["results"]}

    return names


ALL = {"Ada", "Alice", "Bob", "Ivan", "Grace", "under_score", "underXscore"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"role": "admin"}, {"Ada", "Grace"}),
        ({"role": "ADMIN"}, {"Ada", "Grace"}),
        ({"role": "user"}, ALL - {"Ada", "Grace"}),
        ({"role": "admin,user"}, ALL),
        ({"role": ["admin", "user"]}, ALL),
        ({"is_active": "True"}, ALL - {"Ivan", "Grace"}),
        ({"is_active": "false"}, {"Ivan", "Grace"}),
        ({"role": "admin", "is_active": "true"}, {"Ada"}),
        ({"role": "user", "is_active": "true", "search": "ali"}, {"Alice"}),
        ({"role": "admin", "search": "ali"}, set()),
        ({"is_active": "false", "search": "a"}, {"Ivan", "Grace"}),
    ],
)
def test_filters_select_accounts(found, query, expected):
    assert found(query) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALICE", {"Alice"}),
        ("lic", {"Alice"}),
        ("IVAN@EXAMPLE", {"Ivan"}),
        ("elsewhere", {"under_score", "underXscore"}),
        ("nobody", set()),
        ("\uff21\uff4c\uff49\uff43\uff45", {"Alice"}),
        ("", ALL),
        # Wildcards and escapes of LIKE, SQL and regular expressions.
        ("_", {"under_score"}),
        ("r_s", {"under_score"}),
        ("%", {"under_score"}),
        ("r%c", {"under_score"}),
        ("a%e", set()),
        ("\\", set()),
        ("\\_", set()),
        (".*", set()),
        ("' OR 1=1 --", set()),
        # Surrounding whitespace is trimmed.
        ("\u00a0alice@\r\n", {"Alice"}),
        (" ", set()),
        ("alice@example.com,bob", set()),
        ("x" * 200, set()),
        ("\u0130", set()),
    ],
)
def test_search_matches_literal_text_in_names_and_addresses(found, text, expected):
    assert found({"search": text}) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("role", value) for value in ("root", "", "admin,", "admin,root", ["admin", "root"], "admin\0", "x" * 2049)),
        *(("is_active", value) for value in ("maybe", "", "1", "true,false", ["true", "true"])),
        *(("search", value) for value in ("x" * 201, ["a", "b"], "a\0b")),
        *((name, "a") for name in ("rol", "username", "email__contains", "search__password")),
    ],
)
def test_an_unknown_value_or_filter_is_refused(client_of, ada, name, value):
    assert status_and_fields(client_of(ada).get(URL, {name: value})) == (400, [name])


def test_all_errors_are_reported_at_once(client_of, ada):
    answer = client_of(ada).get(URL, {"role": "root", "is_active": "maybe", "search": "x"})

    assert status_and_fields(answer) == (400, ["role", "is_active"])


@pytest.mark.parametrize(("role", "numbers"), [(["user"], [2, 4, 8]), (["admin", "user"], [0, 2, 4, 6, 8])])
def test_pages_keep_the_filters(client_of, ada, person, role, numbers):
    for number in range(9):
        person(f"Wanted{number}", role="admin" if number % 3 == 0 else "user", is_active=number % 2 == 0)
    query = {"role": role, "is_active": "true", "search": "WANTED", "page_size": 1, "ordering": "username"}

    pages, _ = read_pages(client_of(ada), URL, query)

    assert [[user["username"] for user in page] for page in pages] == [[f"Wanted{number}"] for number in numbers]


def test_a_filtered_list_costs_at_most_three_statements(client_of, people, ada, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        client.get(URL, {"role": "user", "is_active": "true", "search": "e"})
