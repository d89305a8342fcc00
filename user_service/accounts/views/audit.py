"""The audit trail, for admins."""

from drf_yasg.utils import swagger_auto_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.filters import AuditEventFilter
from accounts.models import AuditEvent
from accounts.openapi import AUDIT
from accounts.serializers import AuditEventSerializer
from chassis.api import pagination
from chassis.api.views import Endpoint
from chassis.auth.permissions import IsAdmin, IsAuthenticated


class AuditTrail(ListModelMixin, Endpoint):
    tag = AUDIT
    permission_classes = [IsAuthenticated & IsAdmin]
    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    filterset_class = AuditEventFilter
    repeatable_parameters = frozenset({"event"})
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["at"]
    default_ordering = "-at"

    @swagger_auto_schema(
        operation_id="listAuditEvents",
        operation_summary="List the events of accounts and sessions",
        operation_description="Successful and failed sign-ins and every change of an account, newest first.",
    )
    def get(self, request: Request) -> Response:
        return self.list(request)
