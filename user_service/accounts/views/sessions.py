"""The sessions of any account, for admins."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Session, User
from accounts.serializers import SessionSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api import pagination
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated


class SessionsEndpoint(Endpoint):
    permission_classes = [IsAuthenticated & IsAdmin]

    def account(self) -> User:
        return get_object_or_404(User, pk=self.kwargs["user_id"])

    def get_queryset(self) -> QuerySet[Session]:
        return Session.objects.live().select_related("user").filter(user=self.account())


class UserSessions(ListModelMixin, SessionsEndpoint):
    serializer_class = SessionSerializer
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["created_at", "id"]
    default_ordering = "-created_at"

    def get_serializer_context(self) -> dict[str, Any]:
        return {"session_id": self.caller.session_id}

    def get(self, request: Request, user_id: int) -> Response:
        return self.list(request)

    def delete(self, request: Request, user_id: int) -> Response:
        with as_http_errors():
            self.account().sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserSession(SessionsEndpoint):
    def delete(self, request: Request, user_id: int, session_id: int) -> Response:
        get_object_or_404(self.get_queryset(), pk=session_id).end(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
