"""The API for other services. It needs a service token, and the gateway does not route it."""

import logging
import re
from typing import Any

from django.db.models import OuterRef, Subquery
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Change, User
from accounts.serializers import InternalUserSerializer, PositionedInternalUserSerializer
from chassis.api.views import Endpoint
from chassis.auth.gate import ServiceAuthentication
from chassis.auth.permissions import IsService
from chassis.ids import MAX_ID, parse_id

log = logging.getLogger(__name__)

MAX_IDS = 100
MAX_CHANGES = 50  # the task service reads at most 64 kB of a response


class InternalUsers(Endpoint):
    """Looks up accounts: ?ids=1,2,3 returns {"results": [...]} with those that exist, in any order."""

    authentication_classes = [ServiceAuthentication]
    permission_classes = [IsService]
    throttle_classes = []
    serializer_class = PositionedInternalUserSerializer
    query_parameters = frozenset({"ids"})

    def get(self, request: Request) -> Response:
        position = Subquery(Change.objects.filter(user_id=OuterRef("pk")).values("position"))
        ids = parse_ids(request.query_params.get("ids", ""))
        service: Any = request.user
        log.info("%s looks up users %s on behalf of user %s", service.name, ids, service.on_behalf_of)
        users = User.objects.annotate(position=position).filter(pk__in=ids)
        return Response({"results": self.get_serializer(users, many=True).data})


class InternalChanges(Endpoint):
    """The feed of changed accounts: ?after=POSITION returns later changes, oldest first.

    {"results": [{"position", "id", "user": {...} or null for a deleted one}], "next_after": POSITION, "more": bool}.
    Begin with after=0. An account that changed twice appears once, at its last position, with its current values.
    """

    authentication_classes = [ServiceAuthentication]
    permission_classes = [IsService]
    throttle_classes = []
    serializer_class = InternalUserSerializer
    query_parameters = frozenset({"after"})

    def get(self, request: Request) -> Response:
        after = parse_position(request.query_params.get("after", "0"))
        changes = Change.objects.after(after, limit=MAX_CHANGES + 1)
        more, changes = len(changes) > MAX_CHANGES, changes[:MAX_CHANGES]
        users = User.objects.in_bulk([change.user_id for change in changes])
        return Response(
            {
                "results": [self.row(change, users.get(change.user_id)) for change in changes],
                "next_after": changes[-1].position if changes else after,
                "more": more,
            }
        )

    def row(self, change: Change, user: User | None) -> dict[str, Any]:
        person = self.get_serializer(user).data if user else None
        return {"position": change.position, "id": change.user_id, "user": person}


def parse_position(text: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > MAX_ID:
        raise ValidationError({"after": [ErrorDetail("Must be a position in the feed, or 0.", code="invalid")]})
    return int(text)


def parse_ids(text: str) -> list[int]:
    parts = text.split(",")
    ids = [id_ for part in parts[:MAX_IDS] if (id_ := parse_id(part))]
    if len(ids) != len(parts):
        detail = f"Must be 1 to {MAX_IDS} ids, separated by commas."
        raise ValidationError({"ids": [ErrorDetail(detail, code="invalid")]})
    return ids
