"""The sessions of any account, for admins."""

from typing import Any

from django.db.models import QuerySet
from drf_yasg.utils import swagger_auto_schema
from rest_framework import status
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Session, User
from accounts.openapi import ACCOUNTS, NO_USER
from accounts.serializers import SessionSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api import pagination
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated


class SessionsEndpoint(Endpoint):
    tag = ACCOUNTS
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

    @swagger_auto_schema(
        operation_id="listUserSessions",
        operation_summary="List the sessions of an account",
        responses=NO_USER,
    )
    def get(self, request: Request, user_id: int) -> Response:
        return self.list(request)

    @swagger_auto_schema(
        operation_id="endUserSessions",
        operation_summary="End all sessions of an account",
        operation_description="Revokes all earlier tokens of the account, in both services.",
        responses={204: "All sessions have ended."} | NO_USER,
    )
    def delete(self, request: Request, user_id: int) -> Response:
        with as_http_errors():
            self.account().sign_out_everywhere(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserSession(SessionsEndpoint):
    @swagger_auto_schema(
        operation_id="endUserSession",
        operation_summary="End one session of an account",
        operation_description="The task service accepts its access token until it expires, within five minutes.",
        responses={204: "The session has ended."},
    )
    def delete(self, request: Request, user_id: int, session_id: int) -> Response:
        get_object_or_404(self.get_queryset(), pk=session_id).end(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)
