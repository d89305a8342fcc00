"""What other services may ask. The gateway does not route it; a service token is needed besides."""

import re

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.serializers import PersonSerializer
from chassis.authentication import ServiceAuthentication
from chassis.permissions import IsService
from chassis.tokens import LARGEST_ID
from chassis.views import Endpoint

MOST_IDS = 100


class InternalUsers(Endpoint):
    """Look accounts up: ?ids=1,2,3 answers {"results": [...]} with those that exist, in any order."""

    authentication_classes = [ServiceAuthentication]
    permission_classes = [IsService]
    serializer_class = PersonSerializer

    def known_parameters(self) -> frozenset[str]:
        return frozenset({"ids"})

    def get(self, request: Request) -> Response:
        users = User.objects.filter(pk__in=ids_in(request.query_params.get("ids", "")))
        return Response({"results": self.get_serializer(users, many=True).data})


def ids_in(text: str) -> list[int]:
    words = text.split(",")
    if len(words) > MOST_IDS or not all(is_id(word) for word in words):
        detail = f"Must be 1 to {MOST_IDS} ids, separated by commas."
        raise ValidationError({"ids": [ErrorDetail(detail, code="invalid")]})
    return [int(word) for word in words]


def is_id(word: str) -> bool:
    return bool(re.fullmatch("[1-9][0-9]{0,18}", word)) and int(word) <= LARGEST_ID
