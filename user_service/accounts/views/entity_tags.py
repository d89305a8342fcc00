"""Entity tags of accounts. Accounts have no version, so the tag is a digest of the representation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from rest_framework.response import Response

from accounts.models import User
from chassis.api import etags
from chassis.api.problems import PreconditionFailed
from chassis.api.views import Endpoint


def with_etag(data: Any) -> Response:
    return Response(data, headers={"ETag": etags.content_etag(data)})


def check_if_match(view: Endpoint, user: User) -> None:
    """Raise PreconditionFailed unless the account matches If-Match."""
    tags = etags.if_match_tags(view.request)
    if tags is not None and etags.content_etag(view.get_serializer(user).data) not in tags:
        raise PreconditionFailed(changed_fields=None)


@contextmanager
def lock_if_match(view: Endpoint, user: User) -> Iterator[None]:
    """If the request has If-Match, lock the account for this block and check it.

    Raises PreconditionFailed and AccountGone.
    """
    if etags.if_match_tags(view.request) is None:
        yield
        return
    with transaction.atomic():
        user.lock_with_admins()
        check_if_match(view, user)
        yield
