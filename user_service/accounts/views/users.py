"""The user service's endpoints: signing up and in, and the administration of accounts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, ErrorDetail, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from accounts.models import AccountGone, LastAdmin, NameTaken, Session, User
from accounts.serializers import (
    CredentialsSerializer,
    RefreshSerializer,
    RegistrationSerializer,
    RowIdOnlySerializer,
    RowIdSerializer,
    UserSerializer,
)
from chassis.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated
from chassis.problems import Conflict
from chassis.tokens import Caller, InvalidToken
from chassis.views import Endpoint


@contextmanager
def conflicts_named() -> Iterator[None]:
    try:
        yield
    except NameTaken as error:
        raise Conflict({error.field: [ErrorDetail("Is taken.", code="taken")]}) from error
    except AccountGone as error:
        raise Http404 from error
    except LastAdmin as error:
        raise Conflict("The last active admin can be neither deleted, demoted nor deactivated.") from error


class Register(Endpoint):
    permission_classes = [AllowAny]
    serializer_class = RegistrationSerializer

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data["role"] == User.Role.ADMIN and not is_admin(request):
            raise PermissionDenied("Only an admin can make an admin.")
        with conflicts_named():
            user = User.objects.register(**serializer.validated_data)
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)


def is_admin(request: Request) -> bool:
    return isinstance(request.user, Caller) and request.user.is_admin


class TokenEndpoint(Endpoint):
    """Who comes for a token need not bring one: an Authorization header left over from before is not looked at."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def get_authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="tmservice"'

    def validated(self, request: Request) -> dict[str, Any]:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class ObtainToken(TokenEndpoint):
    serializer_class = CredentialsSerializer

    def post(self, request: Request) -> Response:
        credentials = self.validated(request)
        user = User.objects.signing_in(login=credentials["username"], password=credentials["password"])
        try:
            if user is None:
                raise AccountGone()
            return Response(tokens.pair(Session.objects.open(user)))
        except AccountGone as error:
            detail = "No active account has this name and password."
            raise AuthenticationFailed(detail, code="credentials_invalid") from error


class RefreshToken(TokenEndpoint):
    serializer_class = RefreshSerializer

    def post(self, request: Request) -> Response:
        try:
            return Response(tokens.refresh(self.validated(request)["refresh"]))
        except InvalidToken as error:
            raise AuthenticationFailed("The refresh token is invalid or has expired.", code="token_invalid") from error


class ChangesAccounts(Endpoint):
    """PUT, PATCH and DELETE of one account, whichever way its id is given."""

    serializer_class = UserSerializer
    queryset = User.objects.all()

    def change(self, user: User, data: Any, *, partial: bool) -> Response:
        serializer = self.get_serializer(user, data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        with conflicts_named():
            serializer.save()
        return Response(serializer.data)

    def remove(self, user: User) -> Response:
        with conflicts_named():
            user.remove()
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserList(ListModelMixin, ChangesAccounts):
    """All accounts; and, as the original documentation spells it, changes of one whose `id` is in the body."""

    permission_classes = [IsAuthenticated & IsAdmin]
    ordering_fields = ["date_joined", "username", "id"]
    default_ordering = "-date_joined"

    def get(self, request: Request) -> Response:
        return self.list(request)

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

    def get_queryset(self) -> QuerySet[User]:
        return User.objects.all() if self.caller.is_admin else User.objects.filter(pk=self.caller.id)

    def get(self, request: Request, user_id: int) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def put(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=False)

    def patch(self, request: Request, user_id: int) -> Response:
        return self.change(self.get_object(), self.body, partial=True)

    def delete(self, request: Request, user_id: int) -> Response:
        return self.remove(self.get_object())
