"""The administration of accounts."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.filters import UserFilter
from accounts.models import IdempotencyRecord, User
from accounts.serializers import NewUserSerializer, RowIdOnlySerializer, RowIdSerializer, UserSerializer
from accounts.views.conflicts import as_http_errors
from accounts.views.entity_tags import tagged, unless_changed
from chassis.api import pagination
from chassis.api.idempotency import idempotent
from chassis.api.views import Endpoint
from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated


class ChangesAccounts(Endpoint):
    """PUT, PATCH and DELETE of one account, whichever way its id is given."""

    serializer_class = UserSerializer
    queryset = User.objects.all()

    def change(self, user: User, data: Any, *, partial: bool) -> Response:
        with as_http_errors(), unless_changed(self, user):
            serializer = self.get_serializer(user, data=data, partial=partial)
            serializer.is_valid(raise_exception=True)
            if user.pk == self.caller.id:
                check_own_login(user, serializer.validated_data)
            serializer.save(by=self.caller)
        return tagged(serializer.data)

    def remove(self, user: User) -> Response:
        with as_http_errors(), unless_changed(self, user):
            user.remove(by=self.caller)
        return Response(status=status.HTTP_204_NO_CONTENT)


def check_own_login(user: User, values: Mapping[str, Any]) -> None:
    """Refuse an admin who would change the own username or email here, without the current password."""
    detail = ErrorDetail("Change your own at /user/me/, which asks for your password.", code="use_own_account")
    if changed := user.login_changes(values):
        raise ValidationError({name: [detail] for name in changed})


class UserList(ListModelMixin, ChangesAccounts):
    """All accounts; and, as the original documentation spells it, changes of one whose `id` is in the body."""

    permission_classes = [IsAuthenticated & IsAdmin]
    filterset_class = UserFilter
    repeatable_parameters = frozenset({"role", "invitation"})
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["date_joined", "username", "id"]
    default_ordering = "-date_joined"

    def get(self, request: Request) -> Response:
        return self.list(request)

    @idempotent(IdempotencyRecord)
    def post(self, request: Request) -> Response:
        serializer = NewUserSerializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            user = User.objects.register(**serializer.validated_data, by=self.caller)
        return Response(self.get_serializer(user).data, status=status.HTTP_201_CREATED)

    def put(self, request: Request) -> Response:
        return self.change(self.named(request), self.body, partial=False)

    def patch(self, request: Request) -> Response:
        return self.change(self.named(request), self.body, partial=True)

    def delete(self, request: Request) -> Response:
        return self.remove(self.named(request, RowIdOnlySerializer))

    def named(self, request: Request, shape: type[RowIdSerializer] = RowIdSerializer) -> User:
        serializer = shape(data=self.body)
        serializer.is_valid(raise_exception=True)
        return get_object_or_404(self.get_queryset(), pk=serializer.validated_data["id"])


class UserDetail(ChangesAccounts):
    """One account: an admin may do everything, anyone may look at their own, and no other exists for them."""

    permission_classes = [IsAuthenticated & AdminWritesOnceVisible]
    lookup_url_kwarg = "user_id"
    if_match_methods = frozenset({"PUT", "PATCH", "DELETE"})

    def get_queryset(self) -> QuerySet[User]:
        return User.objects.all() if self.caller.is_admin else User.objects.filter(pk=self.caller.id)

    def get(self, request: Request, user_id: int) -> Response:
        return tagged(self.get_serializer(self.get_object()).data)

    def put(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=False)

    def patch(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=True)

    def delete(self, request: Request, user_id: int) -> Response:
        return self.remove(self.get_object())
