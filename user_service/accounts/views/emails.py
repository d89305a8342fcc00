"""Confirming an address by a token that was mailed there."""

from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AccountGone, EmailToken, EmailTokenInvalid
from accounts.serializers import EmailTokenSerializer
from accounts.views.conflicts import as_http_errors
from chassis.api.views import Endpoint


class ConfirmEmail(Endpoint):
    authentication_classes = []
    permission_classes = [AllowAny]
    serializer_class = EmailTokenSerializer

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=self.body)
        serializer.is_valid(raise_exception=True)
        with as_http_errors():
            try:
                EmailToken.objects.use(serializer.validated_data["token"])
            except (EmailTokenInvalid, AccountGone) as error:
                detail = ErrorDetail("Is unknown, used or expired; ask for another.", code="token_invalid")
                raise ValidationError({"token": [detail]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)
